"""Which parts of a plan one worker builds, and in what order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from archiver.archive.plan import Part
from archiver.archive.storage import UploadedPart


class Agenda(Protocol):
    """Which parts of a plan are to be built here, and which others have brought by the end of ``parts``, by number.

    Copies come before the literal parts that may wait for them, and literal parts in ascending order as far as one
    waits for another. ``parts`` may end early once ``stopped`` says so.
    """

    @property
    def brought(self) -> Mapping[int, UploadedPart]: ...
    def parts(self, stopped: Callable[[], bool]) -> Iterator[Part]: ...


@dataclass(frozen=True, slots=True)
class Alone:
    """All parts of a plan: the agenda of who builds it alone."""

    plan: Sequence[Part]
    brought: Mapping[int, UploadedPart] = field(default_factory=dict)

    def parts(self, stopped: Callable[[], bool]) -> Iterator[Part]:  # noqa: ARG002 an agenda's argument
        return copies_first(self.plan)


def copies_first(parts: Sequence[Part]) -> Iterator[Part]:
    """Copies wait for nothing, and literal parts may wait for them."""
    yield from (part for part in parts if part.entry is not None)
    yield from (part for part in parts if part.entry is None)
