"""A request on its way to its archive: found, where an earlier attempt has built it, or built."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from archiver.archive.build import Build
from archiver.archive.cancellation import CancellableSources, Cancellation
from archiver.archive.delivery import Delivery
from archiver.archive.destination import Destination
from archiver.archive.manifests import Listed, names_of, read_manifests
from archiver.archive.memory import trim
from archiver.archive.missing import with_missing_list
from archiver.archive.parallel import Threads, open_threads
from archiver.archive.plan import never_copied
from archiver.archive.portions import Portion, partition, portions
from archiver.archive.progress import OnProgress
from archiver.archive.read_ahead import ReadAhead, reading_ahead, room_for
from archiver.archive.record import ArchiveRecord, content_disposition
from archiver.archive.request import ArchiveRequest
from archiver.archive.resolve import Resolution, resolve
from archiver.archive.result import ArchiveResult, BuiltArchive
from archiver.archive.services import Services
from archiver.archive.split import MAX_ARCHIVES, numbered
from archiver.archive.storage import (
    ArchiveExists,
    ArchiveObject,
    ArchiveStore,
    ArchiveUnseen,
    SourceStore,
    StoredArchive,
    UploadGone,
)
from archiver.archive.traffic import Traffic
from archiver.archive.upload import abort_uploads
from archiver.errors import (
    DestinationUnavailable,
    KeyTaken,
    MissingSources,
    PermanentError,
    SourceChanged,
    TransientError,
)
from archiver.logs import get_logger

if TYPE_CHECKING:
    from archiver.archive.crew import Host

#: Entries from which on what they took until they are resolved is worth giving back before the parts take memory.
MANY = 10_000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A request on its way to its ``destination``.

    ``digest`` tells it from all others that may have its key: a SHA-256 of the payload, and of the message's id where
    the payload chose the key.
    """

    request: ArchiveRequest
    digest: str
    destination: Destination
    delivery: Delivery
    services: Services
    on_progress: OnProgress
    traffic: Traffic = field(default_factory=Traffic)
    cancellation: Cancellation = field(default_factory=Cancellation)

    def run(self) -> ArchiveResult:
        """Find the archive or build it, again where a source changes or the upload is taken away meanwhile."""
        archives = self.services.archives(self.destination.bucket, self.traffic)
        # A first delivery has no archive to find; should it have one, the completion says so. Somebody else's under a
        # key of the payload's choice is better found before the work than after it.
        first = not self.delivery.redelivered and (self.destination.overwrite or not self.destination.named)
        if not first and (found := self._finished_before(archives)):
            return found
        rebuilds = self.services.rebuilds
        keys: set[str] = set()
        for rebuild in range(rebuilds + 1):
            try:
                return self._built(archives, keys, resume=self.delivery.redelivered or rebuild > 0)
            except PermanentError:
                if self.delivery.redelivered or rebuild > 0:
                    # Nobody will come back for what an earlier attempt has uploaded.
                    for key in keys or {self._key(1)}:
                        abort_uploads(archives, key, owner=self._owner, shared=self.services.crew)
                raise
            except (ArchiveExists, UploadGone):
                # Another worker with the same message has completed the upload, or aborted it.
                if found := self._finished(archives):
                    return found
                log.warning("the upload is gone: building again", rebuild=rebuild + 1)
            except SourceChanged as error:
                if rebuild == rebuilds:
                    raise
                log.warning("a source changed: building again", reason=str(error), rebuild=rebuild + 1)
        raise TransientError(f"the upload was taken away {rebuilds + 1} times while it was being built")

    def abandon(self) -> None:
        """Abort what attempts have uploaded, and delete what they have shared, as far as S3 lets us: nobody comes back.

        Of several archives those before the one that was being built stand, and stay.
        """
        archives = self.services.archives(self.destination.bucket, self.traffic)
        for number in range(1, 2 if self.request.split is None else MAX_ARCHIVES + 1):
            key = self._key(number)
            abort_uploads(archives, key, owner=self._owner, shared=self.services.crew)
            if self.request.split is not None and archives.find_archive(key) is None:
                return

    def found(self) -> ArchiveResult | None:
        """The archive, where an attempt has finished it. Raises ``KeyTaken`` and ``DestinationUnavailable``."""
        return self._finished(self.services.archives(self.destination.bucket, self.traffic))

    @property
    def _host(self) -> "Host | None":
        crew, delivery = self.services.crew, self.delivery
        if crew is None:
            return None
        from archiver.archive.crew import Host

        return Host(crew, delivery.request_id, delivery.correlation_id)

    @property
    def _owner(self) -> str | None:
        """Under a key of the payload's choice there may be others' uploads; under a generated one all are ours."""
        return self.digest if self.destination.named else None

    def _key(self, number: int) -> str:
        """The key of the archive of this number, which counts where the payload splits."""
        return self.destination.key if self.request.split is None else numbered(self.destination.key, number)

    def _built(self, archives: ArchiveStore, keys: set[str], *, resume: bool) -> ArchiveResult:
        """Build what is not built yet. ``keys`` takes those that there may be uploads under."""
        sources = CancellableSources(self.services.sources(self.traffic), self.cancellation)
        options = replace(self.services.options, compression=self.request.compression)
        room = room_for(options.memory, part_size=options.part_size) if self._reads_whole(resume=resume) else 0
        with (
            open_threads(
                parts=options.parts_in_flight, reads=options.read_concurrency, copies=options.copy_concurrency
            ) as threads,
            reading_ahead(sources, threads.ahead, room=room) as ahead,
        ):
            resolution, missing, etags = self._resolved(sources, ahead, threads, resume=resume)
            if len(resolution.names) >= MANY:
                # The payload's files, and what listings and looks took on many threads.
                trim()
            if missing and self.request.on_missing == "list":
                resolution = with_missing_list(resolution, missing, modified=int(self.delivery.sent_at))
            log.info("sources resolved", files=len(resolution.names), missing=len(resolution.missing))
            record = ArchiveRecord(self.digest, len(resolution.names), resolution.missing, etags)
            built = []
            for portion, part in self._portions(resolution, record):
                key = self._key(portion.number)
                keys.add(key)
                entries = portion.of(resolution)
                build = Build(
                    names=entries.names,
                    sources=entries.sources,
                    archive=self._object(key, part, portion.number),
                    store=ahead,
                    archives=archives,
                    threads=threads,
                    options=options,
                    resume=resume,
                    on_progress=self.on_progress,
                    tracer=self.services.tracer,
                    cancellation=self.cancellation,
                    checkpoints=self.services.checkpoints,
                    host=self._host,
                )
                built.append(self._archive(archives, key, self._stored(build, part), part))
        return self._result(built, missing)

    def _resolved(
        self, sources: SourceStore, ahead: ReadAhead, threads: Threads, *, resume: bool
    ) -> tuple[Resolution, list[str], str | None]:
        """What there is, the sources that are missing, and the digest of the manifests; their files are let go."""
        with self.services.tracer.span("resolve") as span:
            listed = self._listed(sources)
            resolution = self._resolution(listed.request, sources, threads, resume=resume, ahead=ahead)
            span.tell({"archiver.files": len(resolution.names), "archiver.missing": len(resolution.missing)})
        return resolution, names_of(listed.request, resolution.missing), listed.etags

    def _portions(self, resolution: Resolution, record: ArchiveRecord) -> Iterator[tuple[Portion, ArchiveRecord]]:
        """The archives that the resolution becomes, each with its record."""
        split = self.request.split
        if split is None:
            yield Portion(1, 0, len(resolution.names)), record
            return
        options = self.services.options
        found = portions(resolution, split, deflated=self.request.compression == "auto", zone=options.zone)
        cut = partition(resolution, found)
        for portion in found:
            yield portion, replace(record, files=portion.stop - portion.start, partition=cut, archives=len(found))

    def _stored(self, build: Build, record: ArchiveRecord) -> StoredArchive:
        """The archive of this build; of several one that stands already, be it since another worker was first."""
        if record.partition is None:
            return build.run()
        key = build.archive.key
        stored, found = self._ours(build.archives, key) if build.resume else (None, None)
        if found is not None and found.partition != record.partition:
            # Of sources that have changed since, before the other archives were built: the set has to be of one cut.
            log.warning("an archive of another cut is replaced", archive_key=key)
            build, stored = replace(build, archive=replace(build.archive, overwrite=True)), None
        if stored is not None:
            log.info("archive found: an earlier attempt completed it", archive_key=key)
            return stored
        try:
            return build.run()
        except (ArchiveExists, UploadGone):
            stored, found = self._ours(build.archives, key)
            if stored is None or found is None or found.partition != record.partition:
                raise
            return stored

    def _object(self, key: str, record: ArchiveRecord, number: int) -> ArchiveObject:
        filename = self.request.filename
        if filename is not None and self.request.split is not None:
            filename = numbered(filename, number)
        return ArchiveObject(
            key=key,
            metadata=record.as_metadata(),
            content_disposition=content_disposition(filename) if filename else None,
            tags=self.destination.tags,
            storage_class=self.destination.storage_class,
            overwrite=self.destination.overwrite,
            owner=self._owner,
        )

    def _listed(self, sources: SourceStore) -> Listed:
        return read_manifests(
            self.request,
            store=sources,
            access=self.services.limits.access,
            max_files=self.services.limits.max_files,
            source_bucket=self.services.source_bucket,
        )

    def _resolution(
        self,
        request: ArchiveRequest,
        sources: SourceStore,
        threads: Threads,
        *,
        resume: bool = False,
        ahead: ReadAhead | None = None,
    ) -> Resolution:
        return resolve(
            request,
            sources=sources,
            executor=threads.reads,
            window=self.services.options.read_concurrency * 2,
            limits=self.services.limits,
            source_bucket=self.services.source_bucket,
            read_whole=never_copied(self.services.options.write_worth) if self._reads_whole(resume=resume) else 0,
            ahead=ahead,
        )

    def _reads_whole(self, *, resume: bool) -> bool:
        """Whether small objects are read in one piece: what is deflated is not, and parts that are there already are
        told by CRC32s."""
        return self.request.compression == "stored" and not resume

    def _finished_before(self, archives: ArchiveStore) -> ArchiveResult | None:
        """What an earlier attempt completed; where that can't be seen, the completion of this one will tell."""
        try:
            return self._finished(archives)
        except ArchiveUnseen as error:
            log.warning("an earlier attempt's archive is not ours to see: building", reason=str(error))
            return None

    def _finished(self, archives: ArchiveStore) -> ArchiveResult | None:
        """What an earlier attempt completed: the archive, or all of several. Raises as ``_ours`` does."""
        stored, record = self._ours(archives, self._key(1))
        if stored is None or record is None:
            return None
        found = [self._archive(archives, self._key(1), stored, record)]
        for number in range(2, record.archives + 1):
            stored, other = self._ours(archives, self._key(number))
            if stored is None or other is None or other.partition != record.partition:
                return None
            found.append(self._archive(archives, self._key(number), stored, other))
        log.info("archive found: an earlier attempt completed it", archives=len(found))
        return replace(self._result(found, self._missing(record)), reused=True)

    def _ours(self, archives: ArchiveStore, key: str) -> tuple[StoredArchive | None, ArchiveRecord | None]:
        """The request's archive under a key, and what it says of itself.

        Where another object has the key, neither if that is to be replaced, else ``KeyTaken`` or, of a key that
        nobody chose, ``DestinationUnavailable``.
        """
        stored = archives.find_archive(key)
        if stored is None:
            return None, None
        record = ArchiveRecord.from_metadata(stored.metadata)
        if record is None or record.request != self.digest:
            if self.destination.overwrite:
                return None, None
            taken = f"s3://{archives.bucket}/{key} exists and is no archive of this request"
            raise KeyTaken(f"archive.key: {taken}") if self.destination.named else DestinationUnavailable(taken)
        return stored, record

    def _missing(self, record: ArchiveRecord) -> list[str]:
        """The sources that a finished archive is without; what is missing now, where its metadata can't say."""
        if record.missing == ():
            return []
        width = self.services.options.read_concurrency
        sources = self.services.sources(self.traffic)
        try:
            listed = self._listed(sources)
            if record.missing is not None and listed.etags == record.manifests:
                return names_of(listed.request, record.missing)
            with open_threads(parts=1, reads=width, copies=1) as threads:
                return names_of(listed.request, self._resolution(listed.request, sources, threads).missing)
        except MissingSources as error:
            # By now all of them are gone; the archive is not.
            return list(error.sources)
        except PermanentError as error:
            log.warning("what is missing of the archive can't be told any more", reason=str(error))
            return [self._known_source(index) for index in record.missing or ()]

    def _known_source(self, index: int) -> str:
        """A file's source, or its number where only a manifest, which is another now, knew the source."""
        files = self.request.files
        return files[index].source if index < len(files) else f"entry {index - len(files) + 1} of the manifests"

    def _archive(self, archives: ArchiveStore, key: str, stored: StoredArchive, record: ArchiveRecord) -> BuiltArchive:
        return BuiltArchive(
            url=self.services.link(archives.bucket, key, self.destination.link_seconds),
            bucket=archives.bucket,
            key=key,
            version_id=stored.version_id,
            size=stored.size,
            files=record.files,
            crc32=None if stored.crc32 is None else f"{stored.crc32:08x}",
            etag=stored.etag,
        )

    def _result(self, built: Sequence[BuiltArchive], missing: Sequence[str]) -> ArchiveResult:
        return ArchiveResult(
            **asdict(built[0]),
            missing=tuple(missing),
            archives=tuple(built) if self.request.split is not None else (),
            bytes_read=self.traffic.bytes_read,
            bytes_copied=self.traffic.bytes_copied,
            bytes_uploaded=self.traffic.bytes_uploaded,
            parts=self.traffic.uploads + self.traffic.copies,
        )
