"""Which entries go into which of several archives, so that each is within the payload's bounds.

Entries keep their order and none is torn: one that is larger than the bound is an archive of its own. Sizes are those
of the records that the real writer makes, so that a bound is a bound.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import pairwise

from archiver.archive.deflated import may_shrink
from archiver.archive.resolve import Resolution
from archiver.archive.split import MAX_ARCHIVES, SplitSpec
from archiver.archive.storage import SourceObject
from archiver.errors import LimitExceeded
from archiver.zipformat.entry import Entry
from archiver.zipformat.layout import GrowingSize

#: What deflating may add to an entry: a thousandth and some bytes for blocks that don't shrink, and in the central
#: directory, where deflated entries come first, the longer extra of an offset beyond 4 GiB.
_DEFLATING = 1_000
_DEFLATING_BYTES = 128


@dataclass(frozen=True, slots=True)
class Portion:
    """One of the archives: entries [start, stop) of the resolution. ``number`` counts from 1."""

    number: int
    start: int
    stop: int

    def of(self, resolution: Resolution) -> Resolution:
        """The resolution of this archive alone; what is missing is missing of all."""
        if (self.start, self.stop) == (0, len(resolution.names)):
            return resolution
        return Resolution(
            resolution.names[self.start : self.stop], resolution.sources[self.start : self.stop], resolution.missing
        )


def portions(resolution: Resolution, split: SplitSpec, *, deflated: bool, zone: tzinfo = UTC) -> list[Portion]:
    """The archives in order. ``deflated``: entries may be, and come out a little larger.

    Raises ``LimitExceeded`` where there are more than ``MAX_ARCHIVES``.
    """
    starts = [0, *_cuts(resolution, split, deflated=deflated, zone=zone), len(resolution.names)]
    if len(starts) - 1 > MAX_ARCHIVES:
        raise LimitExceeded(f"split: more than {MAX_ARCHIVES} archives, got {split.model_dump(exclude_none=True)}")
    return [Portion(number, start, stop) for number, (start, stop) in enumerate(pairwise(starts), 1)]


def partition(resolution: Resolution, found: list[Portion]) -> str:
    """16 hexadecimal digits that are the same where the archives are: of the same objects, cut at the same entries."""
    digest = hashlib.sha256(repr([portion.stop for portion in found]).encode())
    for name, source in zip(resolution.names, resolution.sources, strict=True):
        digest.update(f"{name}\n{source.location}\n{source.etag}\n".encode())
    return digest.hexdigest()[:16]


def _cuts(resolution: Resolution, split: SplitSpec, *, deflated: bool, zone: tzinfo) -> Iterator[int]:
    """Where an archive begins, but for the first."""
    size, count = GrowingSize(zone), 0
    for index, (name, source) in enumerate(zip(resolution.names, resolution.sources, strict=True)):
        spare = source.size // _DEFLATING + _DEFLATING_BYTES if deflated and may_shrink(name, source.size) else 0
        entry = _entry(name, source)
        too_many = split.max_files is not None and count >= split.max_files
        too_large = split.max_bytes is not None and size.with_entry(entry, spare=spare) > split.max_bytes
        if count and (too_many or too_large):
            yield index
            size, count = GrowingSize(zone), 0
        size.add(entry, spare=spare)
        count += 1


def _entry(name: str, source: SourceObject) -> Entry:
    return Entry(name=name, size=0 if name.endswith("/") else source.size, modified=source.modified)
