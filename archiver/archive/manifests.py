"""Reading the manifests of a request: objects in S3 that list files, for lists that no message holds."""

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

from archiver.archive.access import Access
from archiver.archive.files import FileError, FileList, FileSpec, RequestedFile, requested_file
from archiver.archive.location import Location, other_writing
from archiver.archive.manifest_rows import Row, RowError, TooLong, rows
from archiver.archive.pace import Pace
from archiver.archive.reading import READS, STREAMED, BytesDiffer, VerifiedStream
from archiver.archive.request import MAX_UNKNOWN_KEYS, ArchiveRequest, ManifestLines
from archiver.archive.spelling import nearest
from archiver.archive.storage import BucketMissing, SourceMissing, SourceObject, SourceStore
from archiver.errors import InvalidPayload, LimitExceeded, MissingSources, NoSuchBucket, StorageUnavailable, shown
from archiver.logs import get_logger
from archiver.zipformat.crc import crc32_of_parts

#: Bytes of one manifest, once it is opened.
MAX_BYTES = 2 * 1024**3
#: Lines that a manifest may have beyond the files of a job: blank ones, markers of folders, quotes over several lines.
SPARE_LINES = 100_000

#: Lines after which it is told how many there are.
TOLD_AFTER = 1_000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """A request with the files of its manifests; ``etags`` is a digest of what the manifests were."""

    request: ArchiveRequest
    etags: str | None = None


def read_manifests(
    request: ArchiveRequest, *, store: SourceStore, access: Access, max_files: int, source_bucket: str | None
) -> Listed:
    """The request with the files that its manifests list, behind its own.

    Raises ``InvalidPayload`` that names manifest, line and value; ``LimitExceeded`` where files and lines together
    are more than ``max_files``, or a manifest lies where ``access`` does not let it; ``MissingSources``,
    ``NoSuchBucket``, ``SourceChanged`` where one changes while it is read; and what ``store`` raises.
    """
    if not request.manifests:
        return Listed(request)
    files = FileList(request.files)
    listed = []
    unknown: set[str] = set()
    etags = hashlib.sha256()
    for location in request.manifests:
        if complaint := access.complaint(location):
            raise LimitExceeded(f"manifest {location}: {complaint}")
        source = _found(location, store, source_bucket)
        first = len(files)
        lines = _read(source, store, files, unknown, max_files=max_files, default_bucket=source_bucket)
        listed.append(ManifestLines(location, first, lines))
        etags.update(f"{source.etag}\n".encode())
        log.info("manifest read", manifest=str(location), bytes=source.size, files=len(lines))
    if unknown:
        keys = sorted(unknown)[:MAX_UNKNOWN_KEYS]
        close = {key: found for key in keys if (found := nearest(key, FileSpec.model_fields))}
        log.warning("unknown keys of manifests ignored", keys=keys, **({"did_you_mean": close} if close else {}))
    if not files:
        raise InvalidPayload(f"manifest {request.manifests[0]}: lists no file, and there are no others")
    return Listed(replace(request, files=files, listed=tuple(listed)), etags.hexdigest()[:16])


def _found(location: Location, store: SourceStore, source_bucket: str | None) -> SourceObject:
    try:
        source = store.head(location)
        if source.composite and source.crc32 is None and (parts := store.part_checksums(source)):
            return source._replace(crc32=crc32_of_parts(parts))
        return source
    except SourceMissing:
        hint = other_writing(location.key, bucket=location.bucket)
        told = f"the manifest {location} does not exist"
        raise MissingSources([str(location)], f"{told}; {hint}" if hint else told) from None
    except BucketMissing as error:
        if error.bucket == source_bucket:
            raise StorageUnavailable(f"no such bucket: {error.bucket!r}, which S3_SOURCE_BUCKET names") from None
        raise NoSuchBucket(f"no such bucket: {error.bucket!r}, which the manifest {location} names") from None


def _read(
    source: SourceObject,
    store: SourceStore,
    files: FileList,
    unknown: set[str],
    *,
    max_files: int,
    default_bucket: str | None,
) -> "array[int]":
    """Add the files that a manifest lists; the line of each.

    What is wrong with it may be a bit that was flipped on the way. So nobody complains of bytes that are not what S3
    says, nor, where that can't be told, of bytes that came once: they are read again. Raises ``BytesDiffer`` where they
    are others each time.
    """
    first = len(files)
    # Of what is longer nobody reads the rest for a checksum.
    has_checksum = source.crc32 is not None and source.size <= MAX_BYTES
    complained: tuple[int, int] | None = None
    differs: BytesDiffer | None = None
    for _ in range(READS):
        stream, lines = VerifiedStream(store, source), array("Q")
        try:
            _add(stream, source.location, files, lines, unknown, max_files=max_files, default_bucket=default_bucket)
            return lines
        except (InvalidPayload, LimitExceeded):
            if not has_checksum and (stream.done, stream.crc32) == complained:
                raise
            complained = stream.done, stream.crc32
            differs = _difference(stream) if has_checksum else BytesDiffer(f"{source}: its bytes may be others")
            if differs is None:
                raise
        except BytesDiffer as error:
            if source.size <= STREAMED:
                raise  # it was read again already
            differs = error
        log.warning("manifest read again: bytes may not be what S3 has", reason=str(differs))
        files.cut(first)
    assert differs is not None
    raise differs


def _difference(stream: VerifiedStream) -> BytesDiffer | None:
    """In what the bytes differ from what S3 says, which the end of the stream tells."""
    try:
        for _ in stream:
            pass
    except BytesDiffer as error:
        return error
    return None


def _add(
    stream: VerifiedStream,
    manifest: Location,
    files: FileList,
    lines: "array[int]",
    unknown: set[str],
    *,
    max_files: int,
    default_bucket: str | None,
) -> None:
    """Add the files that the manifest lists, and the line of each."""
    pace = Pace("reading a manifest")
    try:
        for row in rows(stream, most_lines=max_files + SPARE_LINES, most_bytes=MAX_BYTES):
            file = _file(row, default_bucket, manifest, unknown if len(unknown) < MAX_UNKNOWN_KEYS else None)
            if len(files) >= max_files:
                raise LimitExceeded(
                    f"manifest {manifest}, line {row.line}: more files than MAX_FILES={max_files} in all"
                )
            if file.location.key == manifest.key and file.location.bucket == manifest.bucket:
                where = f"manifest {manifest}, line {row.line}"
                raise InvalidPayload(f"{where}: source: the manifest lists itself, got {shown(file.source)}")
            files.append(file)
            lines.append(row.line)
            if len(lines) % TOLD_AFTER == 0:
                pace(TOLD_AFTER)
    except RowError as error:
        where = f", line {error.line}" if error.line else ""
        raise InvalidPayload(f"manifest {manifest}{where}: {error}") from None
    except TooLong as error:
        raise LimitExceeded(f"manifest {manifest}: more than {error}") from None


def _file(row: Row, default_bucket: str | None, manifest: Location, unknown: set[str] | None) -> RequestedFile:
    if row.location is not None:
        return RequestedFile(row.location)
    try:
        return requested_file(row.file, default_bucket=default_bucket, unknown=unknown)
    except FileError as error:
        raise InvalidPayload(f"manifest {manifest}, line {row.line}: {error}") from None


def names_of(request: ArchiveRequest, missing: Sequence[int]) -> list[str]:
    """The sources of the files with these numbers."""
    return [request.files[index].source for index in missing]
