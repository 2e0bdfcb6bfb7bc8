"""The body of a part that is sent while it comes in."""

from collections.abc import Callable, Sequence
from typing import Protocol

from zlib_ng import zlib_ng

from archiver.archive.storage import Body

#: Bytes of one object that wait to be sent on before the storage lets its connection rest. What is on its way in the
#: system's own buffers comes on top, outside this process.
WINDOW = 512 * 1024


class Incoming(Protocol):
    """Bytes that have begun to come in.

    ``take`` never waits: it returns up to ``most`` of those that have come; None where there are none yet, and then
    ``wake`` is called once there may be more. It raises ``ConnectionError`` where they broke off, and is not to be
    asked for more than there are. ``lane`` is the storage's way that they come by, and have to go out by.
    """

    @property
    def lane(self) -> int: ...

    def take(self, most: int, wake: Callable[[], None]) -> bytes | None: ...


class Arriving(Incoming, Protocol):
    """The content of an object; ``crc32`` is what the storage says of it, None where it says nothing."""

    @property
    def crc32(self) -> int | None: ...


class Stream:
    """One object's ``size`` bytes on their way through a body."""

    def __init__(self, content: Incoming, size: int) -> None:
        self.lane = content.lane
        self._content = content
        self._left = size

    def take(self, most: int, wake: Callable[[], None]) -> bytes | None:
        """As ``Incoming.take``; nothing at the end."""
        if not self._left:
            return b""
        chunk = self._content.take(min(most, self._left), wake)
        if chunk is not None:
            self._left -= len(chunk)
        return chunk


class StreamedBody:
    """Bytes in memory and streams, one behind the other, ``size`` bytes in all. It can be read once."""

    def __init__(self, pieces: Sequence[bytes | Stream], size: int) -> None:
        self._pieces = list(reversed(pieces))
        self._size = size
        self._crc32 = 0
        #: The way by which its streams come in.
        self.lane = next((piece.lane for piece in pieces if isinstance(piece, Stream)), 0)

    def __len__(self) -> int:
        return self._size

    @property
    def crc32(self) -> int:
        """The CRC32 of the bytes that have been read so far."""
        return self._crc32

    def read(self, most: int, wake: Callable[[], None]) -> bytes | None:
        """The next bytes, ``most`` of them at most, nothing at the end. None where ``wake`` will tell of some.

        Raises ``ConnectionError`` where a stream broke off.
        """
        gathered = []
        while self._pieces and most:
            piece = self._pieces[-1]
            chunk = piece.take(most, wake) if isinstance(piece, Stream) else piece[:most]
            if chunk is None:
                break
            if not chunk:
                self._pieces.pop()
                continue
            gathered.append(chunk)
            most -= len(chunk)
            if isinstance(piece, Stream):
                break  # what comes in goes out, rather than into a longer copy
            self._pieces[-1] = piece[len(chunk) :]
        if not gathered:
            return None if self._pieces else b""
        found = gathered[0] if len(gathered) == 1 else b"".join(gathered)
        self._crc32 = zlib_ng.crc32(found, self._crc32)
        return found


#: The bytes of a part, or what they are made of while they go out.
PartBody = Body | StreamedBody
