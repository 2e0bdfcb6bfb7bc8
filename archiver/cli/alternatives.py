"""What the archive of a plan would take otherwise: if nothing of it were copied inside S3, or all that can be."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from archiver.archive.blueprint import Blueprint
from archiver.archive.plan import Part, PlanError, bytes_copied, plan_parts
from archiver.archive.storage import SourceObject
from archiver.archive.upload import LAST_NUMBER
from archiver.zipformat.layout import DataBytes, Layout


@dataclass(frozen=True, slots=True)
class Alternative:
    """A plan that was not chosen. ``requests`` counts S3's requests by their names, those of the looks, too.

    ``copies``: whether everything is copied that can be, or nothing.
    """

    copies: bool
    requests: dict[str, int]
    bytes_read: int
    bytes_copied: int


def alternatives(blueprints: Sequence[Blueprint], *, looks: Counter[str], part_size: int) -> tuple[Alternative, ...]:
    """The other ways to make these archives, as far as they differ; ``looks`` are the requests that all ways take.

    A way that S3's limits have no room for is left out.
    """
    copied = [bytes_copied(blueprint.parts) for blueprint in blueprints]
    found = []
    for copies in (False, True):
        try:
            plans = [_plan(blueprint, copies=copies, part_size=part_size) for blueprint in blueprints]
        except PlanError:
            continue
        if [bytes_copied(parts) for parts in plans] == copied:
            continue
        requests, bytes_read = Counter(looks), 0
        for blueprint, parts in zip(blueprints, plans, strict=True):
            taken, read = build_requests(blueprint.layout, parts, blueprint.sources)
            requests, bytes_read = requests + taken, bytes_read + read
        found.append(Alternative(copies, dict(sorted((+requests).items())), bytes_read, sum(map(bytes_copied, plans))))
    return tuple(found)


def build_requests(
    layout: Layout, parts: Sequence[Part], sources: Sequence[SourceObject | None]
) -> tuple[Counter[str], int]:
    """S3's requests that building the parts takes, by their names, and the bytes of objects that pass the worker."""
    requests: Counter[str] = Counter()
    bytes_read = literal = 0
    for part in parts:
        if part.entry is not None:
            requests["UploadPartCopy"] += 1
            continue
        literal += 1
        for segment in layout.segments(part.start, part.stop):
            if isinstance(segment, DataBytes):
                bytes_read += segment.stop - segment.start
                source = sources[segment.entry]
                # A small object came along with the look at it.
                requests["GetObject"] += source is not None and source.body is None
    if len(parts) == 1 and literal:
        requests["PutObject"] += 1
    else:
        # One more part marks the upload, so that a later attempt knows it.
        requests.update(CreateMultipartUpload=1, UploadPart=literal + 1, CompleteMultipartUpload=1)
    return requests, bytes_read


def _plan(blueprint: Blueprint, *, copies: bool, part_size: int) -> list[Part]:
    def can_be_copied(entry: int) -> bool:
        source = blueprint.sources[entry]
        return copies and source is not None and source.body is None

    return plan_parts(blueprint.layout, part_size=part_size, copyable=can_be_copied, last_number=LAST_NUMBER)
