"""From the payload's files to what S3 has of them: each is looked at once, or found in a listing, concurrently."""

import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import islice, takewhile

from archiver.archive.access import Access
from archiver.archive.columns import TextColumn, column_of
from archiver.archive.listings import Keys, find_in_listings
from archiver.archive.location import Location, other_writing
from archiver.archive.location_table import LocationIndex, LocationTable
from archiver.archive.looks import Look, Wanted
from archiver.archive.pace import Pace
from archiver.archive.parallel import ordered_map
from archiver.archive.prefixes import Ahead, Front, Prefix, list_prefixes
from archiver.archive.request import ArchiveRequest
from archiver.archive.source_table import PickedSources, SourceTable
from archiver.archive.storage import BucketMissing, SourceLookup, SourceMissing, SourceObject
from archiver.errors import (
    ArchiverError,
    LimitExceeded,
    MissingSources,
    NoSuchBucket,
    StorageUnavailable,
    UnsafeName,
)
from archiver.logs import get_logger
from archiver.zipformat.names import UnsafeNameError, archive_path, each_unique, safe_path

#: Objects that need no look of their own are taken so many at a time.
BATCH = 100
#: Hints on how to write a missing source that an error gives, and missing sources that a folder is sought for.
MOST_HINTS = 3

_MISSING = -1

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may ask for."""

    max_files: int
    max_archive_bytes: int
    access: Access = field(default_factory=Access)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The archive's entries, ``names[i]`` being the path of ``sources[i]``, and which of the ``files`` do not exist."""

    names: Sequence[str]
    sources: Sequence[SourceObject]
    missing: tuple[int, ...]


def resolve(
    request: ArchiveRequest,
    *,
    sources: SourceLookup,
    executor: Executor,
    window: int,
    limits: Limits,
    source_bucket: str | None = None,
    read_whole: int = 0,
    ahead: Ahead | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Resolution:
    """Look at every source of a request, ``window`` of them at a time.

    Of objects below ``read_whole`` bytes nothing is asked that a listing has told, nor of those that no copy can be
    made of; but then their CRC32s are known only once they are read. ``ahead`` is offered those that the archive begins
    with while pages of their listing are still to come.
    Raises ``MissingSources`` (all of them named) where ``on_missing`` is ``fail`` or nothing is left,
    ``LimitExceeded``, ``InvalidPayload``, ``UnsafeName``, ``NoSuchBucket`` (``StorageUnavailable`` where it is the
    settings' ``source_bucket``), and what ``sources`` raises.
    """
    table = SourceTable()
    found = _Found(request, limits, table)
    look = Look(sources)
    listing, looking = Pace("listing sources", clock=clock), Pace("looking at sources", clock=clock)
    prefixes, objects = _sorted(request, limits)
    try:
        below = list_prefixes(
            prefixes,
            into=table,
            sources=sources,
            executor=executor,
            window=window,
            most=limits.max_files,
            access=limits.access,
            on_listed=listing,
            front=None if ahead is None else Front(ahead, _leading(request)),
        )
        known = find_in_listings(
            objects, into=table, sources=sources, executor=executor, window=window, on_listed=listing
        )
        wanted_objects = _once(_wanted(request, below, known, table, read_whole), found.asked)
        for batch, source in ordered_map(executor, look.at_last, _batches(wanted_objects), window=window):
            for wanted in batch:
                found.add(wanted, source if wanted.look else None)
            looking.tell(found=len(found.rows), missing=len(found.missing))
    except BucketMissing as error:
        raise _no_such_bucket(error.bucket, request, source_bucket) from error
    if found.missing and (request.on_missing == "fail" or not found.rows):
        raise _missing(request, found.missing, sources, limits.access)
    return found.resolution()


def _sorted(request: ArchiveRequest, limits: Limits) -> tuple[list[Prefix], Keys]:
    """The prefixes that a request names, and the objects that listings may show. Raises ``LimitExceeded``."""
    prefixes: list[Prefix] = []
    objects = Keys()
    for index, file in enumerate(request.files):
        if complaint := limits.access.complaint(file.location):
            raise LimitExceeded(f"{request.field(index, 'source')}: {complaint}")
        if file.location.is_prefix:
            prefixes.append((file.location, file.selection))
        else:
            objects.add(file.location)
    return prefixes, objects


def _leading(request: ArchiveRequest) -> int:
    """How many prefixes the request begins with, each counted once."""
    files = takewhile(lambda file: file.location.is_prefix, request.files)
    return len({(file.location, file.selection) for file in files})


class _Asked:
    """The objects that took a look, and the number in the job's table of what it found."""

    def __init__(self) -> None:
        self._locations = LocationTable()
        self._index = LocationIndex(self._locations)
        self._rows = array("q")

    def add(self, location: Location) -> bool:
        """Note one that is to be looked at; False where it was noted before."""
        if self._index.find(location) is not None:
            return False
        number = self._locations.append(location.bucket, location.key, location.version_id)
        self._index.add(number, location)
        self._rows.append(_MISSING)
        return True

    def found(self, location: Location, row: int) -> None:
        """The look has found it."""
        self._rows[self._number(location)] = row

    def row(self, location: Location) -> int | None:
        """What the look has found; None where it is missing."""
        row = self._rows[self._number(location)]
        return None if row == _MISSING else row

    def _number(self, location: Location) -> int:
        number = self._index.find(location)
        if number is None:
            raise AssertionError(f"{location} was never looked at")
        return number


class _Found:
    """What a job has found so far, within its limits: paths, each with the number of its object in the table."""

    def __init__(self, request: ArchiveRequest, limits: Limits, table: SourceTable) -> None:
        self._request = request
        self._limits = limits
        self._table = table
        self._paths = TextColumn()
        self._directories = False
        self.rows = array("I")
        self.missing: list[int] = []
        self.asked = _Asked()
        self._total = 0

    def add(self, wanted: Wanted, looked: SourceObject | None) -> None:
        """An object that is wanted, with what a look at it has found where it took one."""
        row = self._row(wanted, looked)
        if row is None:
            self.missing.append(wanted.number)
            return
        size = self._table.size(row)
        path = _path(self._request, wanted, size)
        self._directories = self._directories or path.endswith("/")
        self._paths.append(path)
        self.rows.append(row)
        self._total += size
        limits = self._limits
        if len(self.rows) > limits.max_files:
            raise LimitExceeded(f"the sources are more than MAX_FILES={limits.max_files} objects")
        if self._total > limits.max_archive_bytes:
            raise LimitExceeded(f"the sources are larger than MAX_ARCHIVE_BYTES={limits.max_archive_bytes} bytes")

    def resolution(self) -> Resolution:
        """All of it, under names of which each is there once."""
        paths, rows = self._paths, self.rows
        if self._directories:
            keep = _worth_an_entry(paths)
            paths, rows = TextColumn(paths[index] for index in keep), array("I", (rows[index] for index in keep))
        return Resolution(column_of(each_unique(paths)), PickedSources(self._table, rows), tuple(self.missing))

    def _row(self, wanted: Wanted, looked: SourceObject | None) -> int | None:
        if not wanted.look:
            return self.asked.row(wanted.location) if wanted.again else wanted.row
        if looked is None:
            return None
        row = self._table.append(looked) if wanted.row is None else self._table.renew(wanted.row, looked)
        self.asked.found(wanted.location, row)
        return row


def _wanted(
    request: ArchiveRequest,
    below: Mapping[Prefix, Sequence[int]],
    known: LocationIndex,
    table: SourceTable,
    read_whole: int,
) -> Iterator[Wanted]:
    """Every object that the request names or that lies below a prefix of it, in the request's order."""
    for index, file in enumerate(request.files):
        location = file.location
        rows = below[location, file.selection] if location.is_prefix else ()
        if not rows:
            row = known.find(location)
            look = row is None or not table.says_enough(row, read_whole=read_whole)
            yield Wanted(index, location, file.destination, None, row, look)
            continue
        for row in rows:
            item = table.locations.at(row)
            relative = item.key[len(location.key) :]
            look = not table.says_enough(row, read_whole=read_whole)
            yield Wanted(index, item, file.destination, relative, row, look)


def _once(objects: Iterable[Wanted], asked: "_Asked") -> Iterator[Wanted]:
    """The same, those of them marked that were there before and took a look."""
    for wanted in objects:
        yield wanted if not wanted.look or asked.add(wanted.location) else wanted._replace(look=False, again=True)


def _batches(items: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """Each asks S3 for one object at most, its last; those before it, of which all is known, come along."""
    batch: list[Wanted] = []
    for item in items:
        batch.append(item)
        if item.look or len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _path(request: ArchiveRequest, wanted: Wanted, size: int) -> str:
    try:
        path = safe_path(_asked_path(wanted, wanted.destination))
    except UnsafeNameError as error:
        field = "source" if wanted.destination is None else "destination"
        raise UnsafeName(f"{request.field(wanted.number, field)}: {wanted.location}: {error}") from None
    # A key that ends in a slash names a directory, unless it has content.
    return path.rstrip("/") if size else path


def _asked_path(wanted: Wanted, destination: str | None) -> str:
    if wanted.relative == "":
        # The marker of a folder that is empty otherwise.
        return f"{destination or archive_path(source_key=wanted.location.key, destination=None, relative=None)}/"
    return archive_path(source_key=wanted.location.key, destination=destination, relative=wanted.relative)


def _worth_an_entry(paths: Iterable[str]) -> list[int]:
    """Which paths stay: every file, and a directory only where nothing else implies it."""
    implied = {path[: end + 1] for path in paths for end in range(len(path) - 1) if path[end] == "/"}
    keep = []
    for index, path in enumerate(paths):
        if path.endswith("/"):
            if path in implied:
                continue
            implied.add(path)
        keep.append(index)
    return keep


def _no_such_bucket(bucket: str, request: ArchiveRequest, source_bucket: str | None) -> ArchiverError:
    """The service's fault where the settings name the bucket, else the payload's."""
    if bucket == source_bucket:
        log.error("no such bucket", setting="S3_SOURCE_BUCKET", bucket=bucket)
        return StorageUnavailable(f"no such bucket: {bucket!r}, which S3_SOURCE_BUCKET names")
    index = next((index for index, file in enumerate(request.files) if file.location.bucket == bucket), 0)
    # The name of a bucket's host in place of the bucket's.
    hint = other_writing(f"https://{bucket}/{request.files[index].location.key}") if "amazonaws.com" in bucket else None
    told = f"no such bucket: {bucket!r}, which {request.field(index, 'source')} names"
    return NoSuchBucket(f"{told}; {hint}" if hint else told)


def _missing(request: ArchiveRequest, missing: Sequence[int], sources: SourceLookup, access: Access) -> MissingSources:
    names = [request.files[index].source for index in missing]
    hints = list(islice(_hints(request, missing, sources, access), MOST_HINTS))
    return MissingSources(names, "; ".join([MissingSources(names).message, *hints]) if hints else None)


def _hints(request: ArchiveRequest, missing: Sequence[int], sources: SourceLookup, access: Access) -> Iterator[str]:
    """How to write the first few of the missing sources that look like something else than a key."""
    folders_sought = 0
    for index in missing:
        file = request.files[index]
        hint = other_writing(file.source, bucket=file.location.bucket)
        if hint is None and _may_be_folder(file.location) and folders_sought < MOST_HINTS:
            folders_sought += 1
            if _is_folder(file.location, sources, access):
                hint = "there are objects below it: end it in a slash to take them"
        if hint is not None:
            yield f"{request.field(index, 'source')}: {hint}"


def _may_be_folder(location: Location) -> bool:
    return not location.is_prefix and location.version_id is None


def _is_folder(location: Location, sources: SourceLookup, access: Access) -> bool:
    try:
        page = sources.page(location, prefix=f"{location.key}/")
        return any(access.comes_along(item.bucket, item.key) for item in page)
    except (ArchiverError, SourceMissing, BucketMissing):
        return False
