"""From the payload's files to what S3 has of them: each is looked at once, or found in a listing, concurrently."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import islice

from archiver.archive.access import Access
from archiver.archive.listings import find_in_listings
from archiver.archive.location import Location
from archiver.archive.parallel import ordered_map
from archiver.archive.plan import MIN_PART
from archiver.archive.request import ArchiveRequest
from archiver.archive.storage import SourceLookup, SourceMissing, SourceObject
from archiver.errors import LimitExceeded, MissingSources, UnsafeName
from archiver.zipformat.crc import crc32_of_parts
from archiver.zipformat.names import UnsafeNameError, archive_path, safe_path, unique_names

#: Objects up to this size, in bytes, come along with the look itself: one request in place of two.
SMALL = 64 * 1024
#: What all bodies that came along may take together, in bytes.
SMALL_BUDGET = 24 * 1024 * 1024
#: Listed objects that need no look of their own are taken so many at a time.
BATCH = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may ask for."""

    max_files: int
    max_archive_bytes: int
    access: Access = field(default_factory=Access)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The archive's entries, ``names[i]`` being the path of ``sources[i]``, and which of the ``files`` do not exist."""

    names: list[str]
    sources: list[SourceObject]
    missing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    index: int
    location: Location
    relative: str | None = None
    listed: SourceObject | None = None

    @property
    def is_known(self) -> bool:
        """Whether a listing said all that there is to know: it is small, so its bytes will give its CRC32."""
        return self.listed is not None and self.listed.size <= MIN_PART


def resolve(
    request: ArchiveRequest,
    *,
    sources: SourceLookup,
    executor: Executor,
    window: int,
    limits: Limits,
) -> Resolution:
    """Look at every source of a request, ``window`` of them at a time.

    Raises ``MissingSources`` (all of them named) where ``on_missing`` is ``fail`` or nothing is left,
    ``LimitExceeded``, ``InvalidPayload``, ``UnsafeName``, and what ``sources`` raises.
    """
    look = _Look(sources, limits)
    paths: list[str] = []
    found: list[SourceObject] = []
    missing: list[int] = []
    total = 0
    wanted_files = list(_wanted(request, limits))
    known = find_in_listings(
        (wanted.location for wanted in wanted_files), sources=sources, executor=executor, window=window
    )
    prefixes = (wanted for wanted in wanted_files if wanted.location.is_prefix)
    listings = ordered_map(executor, look.below, prefixes, window=window)
    objects = (
        item
        for wanted in wanted_files
        for item in (
            next(listings) if wanted.location.is_prefix else (replace(wanted, listed=known.get(wanted.location)),)
        )
    )
    looks = ordered_map(executor, look.at_all, _batches(objects), window=window)
    for wanted, source in (seen for batch in looks for seen in batch):
        if source is None:
            missing.append(wanted.index)
            continue
        paths.append(_path(request, wanted, source))
        found.append(source)
        total += source.size
        if len(found) > limits.max_files:
            raise LimitExceeded(f"the sources are more than MAX_FILES={limits.max_files} objects")
        if total > limits.max_archive_bytes:
            raise LimitExceeded(f"the sources are larger than MAX_ARCHIVE_BYTES={limits.max_archive_bytes} bytes")
    if missing and (request.on_missing == "fail" or not found):
        raise MissingSources([request.files[index].source for index in missing])
    keep = _worth_an_entry(paths)
    return Resolution(unique_names([paths[i] for i in keep]), [found[i] for i in keep], tuple(missing))


class _Look:
    """Looks at sources, and learns from their sizes whether to ask for the content at once."""

    def __init__(self, sources: SourceLookup, limits: Limits) -> None:
        self._sources = sources
        self._most = limits.max_files
        self._access = limits.access
        self._lock = threading.Lock()
        self._budget = SMALL_BUDGET
        self._small = 0
        self._large = 0

    def below(self, wanted: _Wanted) -> list[_Wanted]:
        """What lies below a prefix, to one object more than a job may have; the prefix itself where nothing does."""
        prefix = wanted.location
        listing = (
            item
            for item in self._sources.below(prefix)
            if item.key != prefix.key and self._access.comes_along(item.bucket, item.key)
        )
        try:
            below = [
                replace(
                    wanted, location=Location(item.bucket, item.key), relative=item.key[len(prefix.key) :], listed=item
                )
                for item in islice(listing, self._most + 1)
            ]
        except SourceMissing:
            # There is no such bucket.
            return [wanted]
        return below or [wanted]

    def at_all(self, batch: list[_Wanted]) -> list[tuple[_Wanted, SourceObject | None]]:
        return [self.at(wanted) for wanted in batch]

    def at(self, wanted: _Wanted) -> tuple[_Wanted, SourceObject | None]:
        """The object, None if it is missing; with its CRC32 where S3 can tell and the engine won't read it anyway."""
        if wanted.location.is_prefix and wanted.listed is None:
            return wanted, None
        try:
            source = self._source(wanted)
        except SourceMissing:
            return wanted, None
        if source.composite and source.size > MIN_PART:
            parts = self._sources.part_checksums(source)
            if parts is not None:
                source = replace(source, crc32=crc32_of_parts(parts))
        return wanted, source

    def _source(self, wanted: _Wanted) -> SourceObject:
        if wanted.listed is not None and wanted.is_known:
            return wanted.listed
        with self._lock:
            fetch = wanted.listed is None and self._budget >= SMALL and self._small >= self._large
            if fetch:
                self._budget -= SMALL
        if not fetch:
            source = self._sources.head(wanted.location)
        else:
            source = self._sources.fetch_small(wanted.location, limit=SMALL)
        with self._lock:
            if fetch:
                self._budget += SMALL - len(source.body or b"")
            if source.size <= SMALL:
                self._small += 1
            else:
                self._large += 1
        return source


def _batches(items: Iterable[_Wanted]) -> Iterator[list[_Wanted]]:
    """Each asks S3 for one object at most; those before it, which a listing said all about, come along."""
    batch: list[_Wanted] = []
    for item in items:
        batch.append(item)
        if not item.is_known or len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _wanted(request: ArchiveRequest, limits: Limits) -> Iterator[_Wanted]:
    for index, file in enumerate(request.files):
        if complaint := limits.access.complaint(file.location):
            raise LimitExceeded(f"files[{index}].source: {complaint}")
        yield _Wanted(index, file.location)


def _path(request: ArchiveRequest, wanted: _Wanted, source: SourceObject) -> str:
    file = request.files[wanted.index]
    try:
        path = safe_path(
            archive_path(source_key=wanted.location.key, destination=file.destination, relative=wanted.relative)
        )
    except UnsafeNameError as error:
        field = "source" if file.destination is None else "destination"
        raise UnsafeName(f"files[{wanted.index}].{field}: {error}") from None
    # A key that ends in a slash names a directory, unless it has content.
    return path.rstrip("/") if source.size else path


def _worth_an_entry(paths: list[str]) -> list[int]:
    """Which paths stay: every file, and a directory only where nothing else implies it."""
    if not any(path.endswith("/") for path in paths):
        return list(range(len(paths)))
    implied = {path[: end + 1] for path in paths for end in range(len(path) - 1) if path[end] == "/"}
    keep = []
    for index, path in enumerate(paths):
        if path.endswith("/"):
            if path in implied:
                continue
            implied.add(path)
        keep.append(index)
    return keep
