"""The whole story: from a payload to a notified consumer. Collaborators are passed in."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import structlog
from structlog.contextvars import bound_contextvars

from archiver.archive import notification
from archiver.archive.build import Build, Options
from archiver.archive.destination import Destination, Destinations
from archiver.archive.key import archive_key, canonical_json
from archiver.archive.manifests import Listed, names_of, read_manifests
from archiver.archive.missing import with_missing_list
from archiver.archive.parallel import Threads, open_threads
from archiver.archive.pointer import Payloads
from archiver.archive.progress import OnProgress, ignore
from archiver.archive.record import ArchiveRecord, content_disposition
from archiver.archive.request import ArchiveRequest, metadata_text, parse_request
from archiver.archive.resolve import Limits, Resolution, resolve
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
    Cancelled,
    DestinationUnavailable,
    KeyTaken,
    MissingSources,
    PermanentError,
    QueueUnavailable,
    SourceChanged,
    TransientError,
)
from archiver.text import redacted

log = structlog.get_logger(__name__)


class Notifier(Protocol):
    """What sends a notification; ``archiver.aws.notify`` has the real ones. Raises ``QueueUnavailable``."""

    def send(self, message: notification.Message, *, correlation_id: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    """What jobs work with. The stores are opened per job, so that each job counts its own traffic."""

    sources: Callable[[Traffic], SourceStore]
    archives: Callable[[str, Traffic], ArchiveStore]  # of a bucket
    link: Callable[[str, str, int | None], str]  # of bucket, key and seconds; None: as long as the settings say
    notifier: Notifier | None
    options: Options
    limits: Limits
    destinations: Destinations
    source_bucket: str | None
    file_prefix: str
    rebuilds: int = 3
    notify_failures: bool = False
    payloads: Payloads = field(default_factory=Payloads)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a request: ``sent_at`` in seconds since the epoch; ``attempt`` counts deliveries from 1."""

    request_id: str
    sent_at: float
    correlation_id: str | None = None
    message_id: str | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class ArchiveResult:
    """The archive and what it took. Sizes in bytes; ``reused``: an earlier attempt had built it already."""

    url: str
    bucket: str
    key: str
    version_id: str | None
    size: int
    files: int
    crc32: str | None
    etag: str
    missing: tuple[str, ...]
    reused: bool = False
    bytes_read: int = 0
    bytes_copied: int = 0
    bytes_uploaded: int = 0
    parts: int = 0
    seconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        """The result as Celery and Flower show it: the link without its signature."""
        return {
            "archive": self.url.partition("?")[0],
            "size": self.size,
            "files": self.files,
            "missing": len(self.missing),
            "reused": self.reused,
            "bytes_read": self.bytes_read,
            "bytes_copied": self.bytes_copied,
            "parts": self.parts,
            "seconds": round(self.seconds, 3),
        }

    def notification(self, request: ArchiveRequest, *, request_id: str) -> notification.Message:
        """The message to the consumer: a contract."""
        version = {} if self.version_id is None else {"version_id": self.version_id}
        return notification.as_message(
            notification.Succeeded(
                status="succeeded",
                metadata=None,
                substitutions=notification.Substitutions(archiver_URL=self.url),
                archive=notification.Archive(
                    url=self.url,
                    bucket=self.bucket,
                    key=self.key,
                    **version,
                    size=self.size,
                    files=self.files,
                    crc32=self.crc32,
                    etag=self.etag,
                ),
                missing=[redacted(source) for source in self.missing],
                request_id=request_id,
            ),
            metadata=request.metadata,
        )


def build_archive(
    payload: object, *, delivery: Delivery, services: Services, on_progress: OnProgress = ignore
) -> ArchiveResult:
    """Build the archive that a payload, JSON text or its value, asks for, and tell the consumer.

    Safe to repeat: a second delivery finds the finished archive, or goes on with the upload that was left.
    Raises ``PermanentError`` where repeating can't help; anything else is worth another attempt.
    """
    started = time.monotonic()
    document = services.payloads.open(payload)
    request = parse_request(document, max_files=services.limits.max_files, default_bucket=services.source_bucket)
    if request.unknown_keys:
        log.warning("unknown keys ignored", keys=request.unknown_keys)
    destination = services.destinations.choose(
        request.archive,
        generated_key=archive_key(
            document.value, request_id=delivery.request_id, sent_at=delivery.sent_at, prefix=services.file_prefix
        ),
        link_seconds=request.link_expires_seconds,
    )
    with bound_contextvars(archive_key=destination.key):
        # Equal payloads have different generated keys; a key of the payload's choice may be that of another message.
        identity = (f"{delivery.request_id}\n" if destination.named else "") + canonical_json(document.value)
        digest = hashlib.sha256(identity.encode()).hexdigest()
        job = Job(request, digest, destination, delivery, services, on_progress)
        result = replace(job.run(), seconds=time.monotonic() - started)
        log.info("archive ready", **result.summary())
        if services.notifier is not None:
            message = result.notification(request, request_id=delivery.request_id)
            services.notifier.send(message, correlation_id=delivery.correlation_id)
            log.info("consumer notified")
        return result


def notify_failure(payload: object, error: PermanentError, *, delivery: Delivery, services: Services) -> None:
    """Tell the consumer of a permanent failure, where the settings ask for it. Never raises: the DLQ has the reason."""
    if services.notifier is None or not services.notify_failures:
        return
    missing: dict[str, Any] = (
        {"missing": [redacted(source) for source in error.sources]} if isinstance(error, MissingSources) else {}
    )
    message = notification.as_message(
        notification.Failed(
            status="cancelled" if error.code == Cancelled.code else "failed",
            metadata=None,
            error=notification.Error(code=error.code, message=error.message[: notification.MAX_REASON_CHARACTERS]),
            request_id=delivery.request_id,
            **missing,
        ),
        metadata=metadata_text(payload),
    )
    try:
        services.notifier.send(message, correlation_id=delivery.correlation_id)
    except QueueUnavailable as failure:
        log.error("the failure could not be notified", error=str(failure))


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

    def run(self) -> ArchiveResult:
        """Find the archive or build it, again where a source changes or the upload is taken away meanwhile."""
        destination = self.destination
        archives = self.services.archives(destination.bucket, self.traffic)
        # A first delivery has no archive to find; should it have one, the completion says so. Somebody else's under a
        # key of the payload's choice is better found before the work than after it.
        first = self.delivery.attempt == 1 and (destination.overwrite or not destination.named)
        if not first and (found := self._finished_before(archives)):
            return found
        rebuilds = self.services.rebuilds
        for rebuild in range(rebuilds + 1):
            try:
                return self._built(archives, resume=self.delivery.attempt > 1 or rebuild > 0)
            except PermanentError:
                if self.delivery.attempt > 1 or rebuild > 0:
                    # Nobody will come back for what an earlier attempt has uploaded.
                    abort_uploads(archives, destination.key, owner=self._owner)
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

    @property
    def _owner(self) -> str | None:
        """Under a key of the payload's choice there may be others' uploads; under a generated one all are ours."""
        return self.digest if self.destination.named else None

    def _built(self, archives: ArchiveStore, *, resume: bool) -> ArchiveResult:
        sources = self.services.sources(self.traffic)
        options = replace(self.services.options, compression=self.request.compression)
        with open_threads(
            parts=options.parts_in_flight, reads=options.read_concurrency, copies=options.copy_concurrency
        ) as threads:
            listed = self._listed(sources)
            resolution = self._resolution(listed.request, sources, threads)
            missing = names_of(listed.request, resolution.missing)
            if missing and self.request.on_missing == "list":
                resolution = with_missing_list(resolution, missing, modified=int(self.delivery.sent_at))
            log.info("sources resolved", files=len(resolution.names), missing=len(resolution.missing))
            record = ArchiveRecord(self.digest, len(resolution.names), resolution.missing, listed.etags)
            stored = Build(
                names=resolution.names,
                sources=resolution.sources,
                archive=ArchiveObject(
                    key=self.destination.key,
                    metadata=record.as_metadata(),
                    content_disposition=content_disposition(self.request.filename) if self.request.filename else None,
                    tags=self.destination.tags,
                    storage_class=self.destination.storage_class,
                    overwrite=self.destination.overwrite,
                    owner=self._owner,
                ),
                store=sources,
                archives=archives,
                threads=threads,
                options=options,
                resume=resume,
                on_progress=self.on_progress,
            ).run()
        return self._result(archives, stored, record, missing)

    def _listed(self, sources: SourceStore) -> Listed:
        return read_manifests(
            self.request,
            store=sources,
            access=self.services.limits.access,
            max_files=self.services.limits.max_files,
            source_bucket=self.services.source_bucket,
        )

    def _resolution(self, request: ArchiveRequest, sources: SourceStore, threads: Threads) -> Resolution:
        return resolve(
            request,
            sources=sources,
            executor=threads.reads,
            window=self.services.options.read_concurrency * 2,
            limits=self.services.limits,
            source_bucket=self.services.source_bucket,
        )

    def _finished_before(self, archives: ArchiveStore) -> ArchiveResult | None:
        """What an earlier attempt completed; where that can't be seen, the completion of this one will tell."""
        try:
            return self._finished(archives)
        except ArchiveUnseen as error:
            log.warning("an earlier attempt's archive is not ours to see: building", reason=str(error))
            return None

    def _finished(self, archives: ArchiveStore) -> ArchiveResult | None:
        """The archive that an earlier attempt completed.

        Where another object has the key, None if that is to be replaced, else ``KeyTaken`` or, of a key that nobody
        chose, ``DestinationUnavailable``.
        """
        key = self.destination.key
        stored = archives.find_archive(key)
        if stored is None:
            return None
        record = ArchiveRecord.from_metadata(stored.metadata)
        if record is None or record.request != self.digest:
            if self.destination.overwrite:
                return None
            taken = f"s3://{archives.bucket}/{key} exists and is no archive of this request"
            raise KeyTaken(f"archive.key: {taken}") if self.destination.named else DestinationUnavailable(taken)
        log.info("archive found: an earlier attempt completed it")
        return replace(self._result(archives, stored, record, self._missing(record)), reused=True)

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

    def _result(
        self, archives: ArchiveStore, stored: StoredArchive, record: ArchiveRecord, missing: Sequence[str]
    ) -> ArchiveResult:
        return ArchiveResult(
            url=self.services.link(archives.bucket, self.destination.key, self.destination.link_seconds),
            bucket=archives.bucket,
            key=self.destination.key,
            version_id=stored.version_id,
            size=stored.size,
            files=record.files,
            crc32=None if stored.crc32 is None else f"{stored.crc32:08x}",
            etag=stored.etag,
            missing=tuple(missing),
            bytes_read=self.traffic.bytes_read,
            bytes_copied=self.traffic.bytes_copied,
            bytes_uploaded=self.traffic.bytes_uploaded,
            parts=self.traffic.uploads + self.traffic.copies,
        )
