"""One transfer over HTTP: what is asked, where its answer goes, and the answer's headers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from archiver.archive.streamed_body import PartBody


class Sink(Protocol):
    """What takes the content of an answer while it comes in. ``archiver.aws.inlet`` documents each call."""

    def begins(self, transfer: "Transfer") -> None: ...
    def offer(self, chunk: bytes, go_on: Callable[[], None]) -> bool: ...


@dataclass(slots=True, eq=False)
class Transfer:
    """One request; once it has ended, its answer, too.

    ``headers`` are lines. ``body`` is sent with PUT and POST, which say so where they have none. It is given up after
    ``silent_seconds`` without a byte, None: after as many as usual. The content of an answer of status 2xx goes to
    ``target``, where there is one, which it must not outgrow, else to ``content``, and is hung up on where it is
    longer than ``most`` bytes: ``is_cut``. A ``sink`` is offered it piece by piece in place of both. Of any other
    answer ``content`` has the first 64 KiB. ``ended`` is called from the lane's thread and must not wait. One that is
    ``led`` takes no place of the throttle: whoever started it holds one. One that is ``early`` goes before other reads.
    What is streamed goes by one ``lane``, in and out. ``hedged``: it was asked for a second time, since its answer was
    overdue.
    """

    method: str
    url: str
    headers: Sequence[str]
    ended: Callable[["Transfer"], None]
    body: PartBody | None = None
    silent_seconds: float | None = None
    target: memoryview | None = None
    sink: Sink | None = None
    led: bool = False
    early: bool = False
    lane: int = 0
    most: int | None = None
    is_cut: bool = False
    hedged: bool = False
    status: int = 0
    lines: list[bytes] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)
    received: int = 0
    #: What libcurl says where there is no whole answer.
    error: str | None = None

    def may_hedge(self, most: int) -> bool:
        """Whether it can be asked for a second time without harm: a read of so many bytes at most, for a target."""
        target = self.target
        return target is not None and len(target) <= most and not self.led and self.sink is None and not self.hedged

    def hedge(self, ended: Callable[["Transfer"], None]) -> "Transfer":
        """The same request once more. Its content goes to itself: the target is this one's until it has ended."""
        assert self.target is not None
        self.hedged = True
        return Transfer(
            self.method,
            self.url,
            self.headers,
            ended,
            silent_seconds=self.silent_seconds,
            lane=self.lane,
            most=len(self.target),
        )

    def is_answered_by(self, hedge: "Transfer") -> bool:
        """Whether the second request brought all that was asked for; what else it got, the first may not get."""
        assert self.target is not None
        return hedge.error is None and 200 <= hedge.status < 300 and len(hedge.content) == len(self.target)

    def take_over(self, hedge: "Transfer") -> None:
        """Have the second request's answer, once nothing of the first can come any more."""
        assert self.target is not None
        self.target[:] = hedge.content
        self.received = len(hedge.content)
        self.content.clear()
        self.status, self.lines = hedge.status, hedge.lines

    def answered_headers(self) -> "Headers":
        """The answer's headers; the last answer's, where an interim one came before it."""
        return Headers(self.lines)


class Headers(Mapping[str, str]):
    """The headers of an answer, names in lower case; sought when they are asked for, since few of them ever are."""

    __slots__ = ("_lower", "_text")

    def __init__(self, lines: Sequence[bytes]) -> None:
        text = b"\n".join([*lines, b""]).decode("latin-1")
        # The status is no header.
        self._text = text[text.find("\n", max(0, text.rfind("\nHTTP/") + 1)) :]
        self._lower = self._text.lower()

    def __getitem__(self, name: str) -> str:
        value: str | None = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header, else ``default``."""
        at = self._lower.rfind(f"\n{name}:")
        if at < 0:
            return default
        start = at + len(name) + 2
        return self._text[start : self._text.index("\n", start)].strip()

    def __contains__(self, name: object) -> bool:
        return f"\n{name}:" in self._lower

    def __iter__(self) -> Iterator[str]:
        return iter({line.partition(":")[0]: None for line in self._lower.split("\n") if ":" in line})

    def __len__(self) -> int:
        return sum(1 for _ in self)
