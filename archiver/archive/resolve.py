"""From the payload's files to what S3 has of them: each is looked at once, or found in a listing, concurrently."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import islice

from archiver.archive.access import Access
from archiver.archive.listings import find_in_listings
from archiver.archive.location import Location, other_writing
from archiver.archive.looks import Look, Wanted
from archiver.archive.pace import Pace
from archiver.archive.parallel import ordered_map
from archiver.archive.prefixes import Prefix, list_prefixes
from archiver.archive.request import ArchiveRequest
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
from archiver.zipformat.names import UnsafeNameError, archive_path, safe_path, unique_names

#: Objects that need no look of their own are taken so many at a time.
BATCH = 500
#: Hints on how to write a missing source that an error gives, and missing sources that a folder is sought for.
MOST_HINTS = 3

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

    names: list[str]
    sources: list[SourceObject]
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
    clock: Callable[[], float] = time.monotonic,
) -> Resolution:
    """Look at every source of a request, ``window`` of them at a time.

    Of objects below ``read_whole`` bytes nothing is asked that a listing has told, nor of those that no copy can be
    made of; but then their CRC32s are known only once they are read.
    Raises ``MissingSources`` (all of them named) where ``on_missing`` is ``fail`` or nothing is left,
    ``LimitExceeded``, ``InvalidPayload``, ``UnsafeName``, ``NoSuchBucket`` (``StorageUnavailable`` where it is the
    settings' ``source_bucket``), and what ``sources`` raises.
    """
    _check_access(request, limits)
    found = _Found(request, limits)
    look = Look(sources)
    listing, looking = Pace("listing sources", clock=clock), Pace("looking at sources", clock=clock)
    try:
        below = list_prefixes(
            ((file.location, file.selection) for file in request.files if file.location.is_prefix),
            sources=sources,
            executor=executor,
            window=window,
            most=limits.max_files,
            access=limits.access,
            on_listed=listing,
        )
        known = find_in_listings(
            (file.location for file in request.files),
            sources=sources,
            executor=executor,
            window=window,
            on_listed=listing,
        )
        wanted_objects = _once(_wanted(request, below, known, read_whole))
        for batch in ordered_map(executor, look.at_all, _batches(wanted_objects), window=window):
            for wanted, source in batch:
                found.add(wanted, source)
            looking.tell(found=len(found.sources), missing=len(found.missing))
    except BucketMissing as error:
        raise _no_such_bucket(error.bucket, request, source_bucket) from error
    if found.missing and (request.on_missing == "fail" or not found.sources):
        raise _missing(request, found.missing, sources, limits.access)
    keep = _worth_an_entry(found.paths)
    return Resolution(
        unique_names([found.paths[i] for i in keep]), [found.sources[i] for i in keep], tuple(found.missing)
    )


def _check_access(request: ArchiveRequest, limits: Limits) -> None:
    for index, file in enumerate(request.files):
        if complaint := limits.access.complaint(file.location):
            raise LimitExceeded(f"{request.field(index, 'source')}: {complaint}")


class _Found:
    """What a job has found so far, within its limits."""

    def __init__(self, request: ArchiveRequest, limits: Limits) -> None:
        self._request = request
        self._limits = limits
        self.paths: list[str] = []
        self.sources: list[SourceObject] = []
        self.missing: list[int] = []
        self._total = 0
        self._seen: dict[Location, SourceObject | None] = {}

    def add(self, wanted: Wanted, source: SourceObject | None) -> None:
        """An object that was looked at, or, where it was wanted before, what that look found."""
        if wanted.again:
            source = self._seen[wanted.location]
        elif not wanted.is_known:
            self._seen[wanted.location] = source
        if source is None:
            self.missing.append(wanted.index)
            return
        self.paths.append(_path(self._request, wanted, source))
        self.sources.append(source)
        self._total += source.size
        limits = self._limits
        if len(self.sources) > limits.max_files:
            raise LimitExceeded(f"the sources are more than MAX_FILES={limits.max_files} objects")
        if self._total > limits.max_archive_bytes:
            raise LimitExceeded(f"the sources are larger than MAX_ARCHIVE_BYTES={limits.max_archive_bytes} bytes")


def _wanted(
    request: ArchiveRequest,
    below: Mapping[Prefix, Sequence[SourceObject]],
    known: Mapping[Location, SourceObject],
    read_whole: int,
) -> Iterator[Wanted]:
    """Every object that the request names or that lies below a prefix of it, in the request's order."""
    for index, file in enumerate(request.files):
        prefix = file.location
        objects = below[prefix, file.selection] if prefix.is_prefix else ()
        if not objects:
            yield Wanted(index, prefix, listed=known.get(prefix), read_whole=read_whole)
            continue
        for item in objects:
            relative = item.key[len(prefix.key) :]
            yield Wanted(index, item.location, relative=relative, listed=item, read_whole=read_whole)


def _once(objects: Iterable[Wanted]) -> Iterator[Wanted]:
    """The same, those of them marked that were there before and took a look."""
    asked: set[Location] = set()
    for wanted in objects:
        if wanted.takes_a_request and wanted.location in asked:
            yield replace(wanted, again=True)
            continue
        if wanted.takes_a_request:
            asked.add(wanted.location)
        yield wanted


def _batches(items: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """Each asks S3 for one object at most; those before it, of which all is known, come along."""
    batch: list[Wanted] = []
    for item in items:
        batch.append(item)
        if item.takes_a_request or len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _path(request: ArchiveRequest, wanted: Wanted, source: SourceObject) -> str:
    file = request.files[wanted.index]
    try:
        path = safe_path(_asked_path(wanted, file.destination))
    except UnsafeNameError as error:
        field = "source" if file.destination is None else "destination"
        raise UnsafeName(f"{request.field(wanted.index, field)}: {source}: {error}") from None
    # A key that ends in a slash names a directory, unless it has content.
    return path.rstrip("/") if source.size else path


def _asked_path(wanted: Wanted, destination: str | None) -> str:
    if wanted.relative == "":
        # The marker of a folder that is empty otherwise.
        return f"{destination or archive_path(source_key=wanted.location.key, destination=None, relative=None)}/"
    return archive_path(source_key=wanted.location.key, destination=destination, relative=wanted.relative)


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
