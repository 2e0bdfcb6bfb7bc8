"""What building an archive would take: the engine's own resolution, layout and plan, and nothing written."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from archiver.archive.blueprint import Blueprint, make_blueprint
from archiver.archive.deflated import may_shrink
from archiver.archive.location import Location
from archiver.archive.manifests import names_of, read_manifests
from archiver.archive.missing import with_missing_list
from archiver.archive.parallel import open_threads
from archiver.archive.pipeline import Services
from archiver.archive.plan import PlanError, bytes_copied, bytes_literal, never_copied
from archiver.archive.portions import portions
from archiver.archive.request import ArchiveRequest
from archiver.archive.resolve import Resolution, resolve
from archiver.archive.storage import ListedPage, SourceLookup, SourceObject
from archiver.archive.traffic import Traffic
from archiver.cli.alternatives import Alternative, alternatives, build_requests
from archiver.errors import LimitExceeded
from archiver.text import redacted
from archiver.zipformat.layout import DataBytes

#: Parts of one answer of GetObjectAttributes.
PAGE = 1000

#: Where an entry's CRC32 comes from.
ORIGINS = {
    "stored": "S3's full-object checksum",
    "parts": "combined from S3's part checksums",
    "copies": "learned from the copies",
    "read": "read",
    "empty": "nothing to check",
}


@dataclass(slots=True)
class PlannedEntry:
    """One entry; sizes in bytes. ``crc32_from`` is a key of ``ORIGINS``."""

    name: str
    source: str
    size: int
    crc32_from: str
    bytes_read: int = 0
    bytes_copied: int = 0


@dataclass(frozen=True, slots=True)
class Preview:
    """A build that was not done. ``requests`` counts S3's requests by their names.

    ``chunks`` is what others are invited to build, None where there is no SQS_CREW_QUEUE. ``archives`` has the size and
    the number of entries of each archive, of which a payload may ask for several; the rest is of all together.
    """

    entries: list[PlannedEntry]
    missing: tuple[str, ...]
    archives: tuple[tuple[int, int], ...]
    size: int
    parts_literal: int
    parts_copied: int
    bytes_read: int
    bytes_copied: int
    bytes_uploaded: int
    requests: dict[str, int]
    deflatable_files: int
    deflatable_bytes: int
    alternatives: tuple[Alternative, ...]
    chunks: int | None = None


def preview(request: ArchiveRequest, *, services: Services) -> Preview:
    """Look at the sources as a build does, and plan as it does.

    Raises what resolving raises, and ``LimitExceeded`` where no plan keeps S3's limits. With ``compression`` auto
    the plan is that of an archive in which nothing shrinks: what does is known only once it is read.
    """
    requests: Counter[str] = Counter()
    traffic = Traffic()
    store = services.sources(traffic)
    request = read_manifests(
        request,
        store=store,
        access=services.limits.access,
        max_files=services.limits.max_files,
        source_bucket=services.source_bucket,
    ).request
    requests.update(HeadObject=len(request.manifests), GetObject=len(request.manifests))
    sources = _Counted(store, requests)
    with open_threads(parts=1, reads=services.options.read_concurrency, copies=1) as threads:
        resolution = resolve(
            request,
            sources=sources,
            executor=threads.reads,
            window=services.options.read_concurrency * 2,
            limits=services.limits,
            source_bucket=services.source_bucket,
            read_whole=never_copied(services.options.write_worth) if request.compression == "stored" else 0,
        )
    missing = tuple(names_of(request, resolution.missing))
    if missing and request.on_missing == "list":
        resolution = with_missing_list(resolution, missing, modified=int(time.time()))
    options = services.options
    parted = [resolution]
    if request.split is not None:
        found = portions(resolution, request.split, deflated=request.compression == "auto", zone=options.zone)
        parted = [portion.of(resolution) for portion in found]
    looks = Counter(requests)
    entries, blueprints = [], []
    for one in parted:
        try:
            blueprint = make_blueprint(
                one.names, one.sources, part_size=options.part_size, write_worth=options.write_worth
            )
        except PlanError as error:
            raise LimitExceeded(str(error)) from error
        entries += _entries(one, blueprint, requests)
        blueprints.append(blueprint)
    parts = [part for blueprint in blueprints for part in blueprint.parts]
    tried = _deflatable(resolution) if request.compression == "auto" else []
    return Preview(
        entries=entries,
        missing=missing,
        archives=tuple((blueprint.layout.size, len(blueprint.order)) for blueprint in blueprints),
        size=sum(blueprint.layout.size for blueprint in blueprints),
        parts_literal=sum(part.entry is None for part in parts),
        parts_copied=sum(part.entry is not None for part in parts),
        bytes_read=sum(entry.bytes_read for entry in entries),
        bytes_copied=bytes_copied(parts),
        bytes_uploaded=bytes_literal(parts),
        requests=dict(sorted((+requests).items())),
        deflatable_files=len(tried),
        deflatable_bytes=sum(tried),
        chunks=_chunks(blueprints, services),
        alternatives=alternatives(blueprints, looks=looks, part_size=options.part_size),
    )


def _chunks(blueprints: Sequence[Blueprint], services: Services) -> int | None:
    if services.crew is None:
        return None
    shared = (services.crew.cut(blueprint) for blueprint in blueprints)
    return sum(len(one.chunks) for one in shared if one is not None)


def _entries(resolution: Resolution, blueprint: Blueprint, requests: Counter[str]) -> list[PlannedEntry]:
    """Each entry with what its bytes take; the build's requests are added to those of the resolution."""
    layout, parts = blueprint.layout, blueprint.parts
    entries = [
        PlannedEntry(name, str(source), entry.size, _origin(source, entry.size))
        for name, source, entry in zip(resolution.names, resolution.sources, layout.entries, strict=True)
    ]
    for part in parts:
        if part.entry is not None:
            entries[part.entry].bytes_copied += part.size
            if entries[part.entry].crc32_from == "read":
                entries[part.entry].crc32_from = "copies"
            continue
        for segment in layout.segments(part.start, part.stop):
            if isinstance(segment, DataBytes):
                entries[segment.entry].bytes_read += segment.stop - segment.start
    requests.update(build_requests(layout, parts, resolution.sources)[0])
    return entries


def _origin(source: SourceObject, size: int) -> str:
    if size == 0:
        return "empty"
    if source.body is not None or source.crc32 is None:
        return "read"
    return "parts" if source.composite else "stored"


def _deflatable(resolution: Resolution) -> list[int]:
    """The sizes of the objects that a build would try to deflate."""
    return [
        source.size
        for name, source in zip(resolution.names, resolution.sources, strict=True)
        if may_shrink(name, source.size)
    ]


class _Counted:
    """The sources, with the requests that looking at them takes counted."""

    def __init__(self, store: SourceLookup, requests: Counter[str]) -> None:
        self._store = store
        self._requests = requests
        self._lock = threading.Lock()

    def head(self, location: Location) -> SourceObject:
        self._count("HeadObject")
        return self._store.head(location)

    def fetch_small(self, location: Location, *, limit: int) -> SourceObject:
        self._count("GetObject")
        return self._store.fetch_small(location, limit=limit)

    def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]:
        for page in self._store.below(prefix, after=after):
            self._count("ListObjectsV2")
            yield page

    def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
        self._count("ListObjectsV2")
        return self._store.page(after, prefix=prefix)

    def part_checksums(self, source: SourceObject) -> list[tuple[int, int]] | None:
        parts = self._store.part_checksums(source)
        self._count("GetObjectAttributes", max(1, -(-len(parts or ()) // PAGE)))
        return parts

    def _count(self, operation: str, times: int = 1) -> None:
        # From many threads at once.
        with self._lock:
            self._requests[operation] += times


def described(shown: Preview) -> dict[str, Any]:
    """The preview as ``archiver plan --json`` prints it, without its cost."""
    return {
        "archive": {
            "size": shown.size,
            "files": len(shown.entries),
            "missing": [redacted(source) for source in shown.missing],
        },
        "archives": [{"size": size, "files": files} for size, files in shown.archives],
        "parts": {"literal": shown.parts_literal, "copied": shown.parts_copied},
        "bytes": {"read": shown.bytes_read, "copied": shown.bytes_copied, "uploaded": shown.bytes_uploaded},
        "deflatable": {"files": shown.deflatable_files, "bytes": shown.deflatable_bytes},
        "crew": None if shown.chunks is None else {"chunks": shown.chunks},
        "requests": shown.requests,
        "entries": [
            {
                "name": entry.name,
                "source": entry.source,
                "size": entry.size,
                "crc32_from": entry.crc32_from,
                "bytes_read": entry.bytes_read,
                "bytes_copied": entry.bytes_copied,
            }
            for entry in shown.entries
        ],
    }
