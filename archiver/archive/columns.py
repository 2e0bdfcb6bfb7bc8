"""Values in columns: what they say, one behind the other, and Python's objects only as they are asked for."""

import sys
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class Made(Sequence[T]):
    """A sequence whose items are made as they are asked for."""

    __slots__ = ()

    @abstractmethod
    def at(self, number: int) -> T:
        """The item of this number, from 0 on. Raises ``IndexError`` where there are not so many."""

    def picked(self, numbers: range) -> Sequence[T]:
        """The items of these numbers."""
        return [self.at(number) for number in numbers]

    def __iter__(self) -> Iterator[T]:
        return map(self.at, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return self.picked(range(len(self))[index])
        return self.at(index if index >= 0 else range(len(self))[index])


class TextColumn(Made[str]):
    """Texts, one behind the other as UTF-8."""

    __slots__ = ("_bytes", "_ends")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        # Whether halves of pairs may stand in a text is for others to say.
        self._bytes += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._bytes))

    def cut(self, length: int) -> None:
        """Drop all but the first ``length`` texts."""
        del self._bytes[self._ends[length] :]
        del self._ends[length + 1 :]

    def at(self, number: int) -> str:
        """The text of this number, from 0 on."""
        ends = self._ends
        return self._bytes[ends[number] : ends[number + 1]].decode("utf-8", "surrogatepass")

    def encoded(self, number: int) -> bytearray:
        """The UTF-8 of the text of this number, from 0 on."""
        ends = self._ends
        return self._bytes[ends[number] : ends[number + 1]]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def picked(self, numbers: range) -> "TextColumn":
        """The texts of these numbers."""
        return TextColumn(map(self.at, numbers))


def column_of(texts: Iterable[str]) -> TextColumn:
    """The texts as a column: the same where they are one."""
    return texts if isinstance(texts, TextColumn) else TextColumn(texts)


def framed(texts: Iterable[bytes | bytearray]) -> bytes:
    """The lengths of the texts, 8 bytes each, and the texts: as many others give other bytes."""
    kept = list(texts)
    return little_endian(array("Q", map(len, kept))) + b"".join(kept)


def little_endian(column: "array[int]") -> bytes:
    """The bytes of a column, the same on every machine."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


def from_little_endian(code: str, data: bytes) -> "array[int]":
    """The column of this type code that has these bytes. Raises ``ValueError`` for a part of an item."""
    column = array(code, data)
    if sys.byteorder == "big":
        column.byteswap()
    return column
