"""The whole story: from a payload to a notified consumer. Collaborators are passed in."""

import hashlib
import time
from dataclasses import replace
from typing import Any

from archiver.archive.cancellation import Cancellation
from archiver.archive.delivery import Delivery
from archiver.archive.destination import Destination
from archiver.archive.job import Job
from archiver.archive.key import archive_key, canonical_json
from archiver.archive.progress import OnProgress, ignore
from archiver.archive.request import ArchiveRequest, metadata_text, parse_request
from archiver.archive.result import ArchiveResult
from archiver.archive.services import Notifier, Services
from archiver.archive.split import NUMBER_BYTES
from archiver.archive.traffic import Traffic
from archiver.archive.unknown import meant
from archiver.errors import ArchiverError, Cancelled, DestinationUnavailable, MissingSources, PermanentError
from archiver.logs import bound_contextvars, get_logger
from archiver.text import redacted

__all__ = [
    "ArchiveResult",
    "Delivery",
    "Notifier",
    "Services",
    "abandon",
    "build_archive",
    "destination_of",
    "find_archive",
    "notify_failure",
]

log = get_logger(__name__)


def build_archive(
    payload: object,
    *,
    delivery: Delivery,
    services: Services,
    on_progress: OnProgress = ignore,
    traffic: Traffic | None = None,
    cancellation: Cancellation | None = None,
) -> ArchiveResult:
    """Build the archive that a payload, JSON text or its value, asks for, and tell the consumer.

    ``traffic`` counts what the job moves, for whoever wants to know of a failure, too; ``cancellation`` ends it.
    Safe to repeat: a second delivery finds the finished archive, or goes on with the upload that was left.
    Raises ``PermanentError`` where repeating can't help; anything else is worth another attempt.
    """
    started = time.monotonic()
    job = _job(
        payload,
        delivery=delivery,
        services=services,
        on_progress=on_progress,
        traffic=traffic,
        cancellation=cancellation,
    )
    with bound_contextvars(archive_key=job.destination.key):
        result = replace(job.run(), seconds=time.monotonic() - started)
        log.info("archive ready", **result.summary())
        _notify(result, job)
        return result


def find_archive(payload: object, *, delivery: Delivery, services: Services) -> ArchiveResult | None:
    """The archive that an attempt at this payload has finished before it was ended; the consumer is told (again).

    None where there is none, or none that can be seen. Raises ``StorageUnavailable``, and ``QueueUnavailable`` where
    the consumer can't be told.
    """
    try:
        job = _job(payload, delivery=delivery, services=services)
        found = job.found()
    except (PermanentError, DestinationUnavailable) as error:
        log.warning("no archive of this request can be seen", reason=str(error))
        return None
    if found is not None:
        with bound_contextvars(archive_key=job.destination.key):
            _notify(found, job)
    return found


def abandon(payload: object, *, delivery: Delivery, services: Services) -> None:
    """Abort what attempts at this payload have uploaded: none follows. What can't be aborted now is left in place."""
    try:
        _job(payload, delivery=delivery, services=services).abandon()
    except ArchiverError as error:
        log.warning("nothing aborted: the lifecycle rule will do it", reason=str(error))


def _job(
    payload: object,
    *,
    delivery: Delivery,
    services: Services,
    on_progress: OnProgress = ignore,
    traffic: Traffic | None = None,
    cancellation: Cancellation | None = None,
) -> Job:
    document = services.payloads.open(payload)
    request = parse_request(document, max_files=services.limits.max_files, default_bucket=services.source_bucket)
    if request.unknown_keys:
        close = {key: found for key in request.unknown_keys if (found := meant(key))}
        log.warning("unknown keys ignored", keys=request.unknown_keys, **({"did_you_mean": close} if close else {}))
    canonical = canonical_json(document.value)
    destination = destination_of(request, canonical, delivery=delivery, services=services)
    # Equal payloads have different generated keys; a key of the payload's choice may be that of another message.
    identity = (f"{delivery.request_id}\n" if destination.named else "") + canonical
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return Job(
        request,
        digest,
        destination,
        delivery,
        services,
        on_progress,
        traffic or Traffic(),
        cancellation or Cancellation(),
    )


def destination_of(request: ArchiveRequest, canonical: str, *, delivery: Delivery, services: Services) -> Destination:
    """Where the archive of a request goes, ``canonical`` being its payload's ``canonical_json``.

    Raises as ``Destinations.choose`` does.
    """
    return services.destinations.choose(
        request.archive,
        generated_key=archive_key(
            canonical, request_id=delivery.request_id, sent_at=delivery.sent_at, prefix=services.file_prefix
        ),
        link_seconds=request.link_expires_seconds,
        room=NUMBER_BYTES if request.split else 0,
    )


def _notify(result: ArchiveResult, job: Job) -> None:
    if job.services.notifier is not None:
        with job.services.tracer.span("notify", {"archiver.outcome": "succeeded"}):
            message = result.notification(job.request, request_id=job.delivery.request_id)
            job.services.notifier.send(message, correlation_id=job.delivery.correlation_id)
        log.info("consumer notified")


def notify_failure(payload: object, error: PermanentError, *, delivery: Delivery, services: Services) -> None:
    """Tell the consumer of a permanent failure, where the settings ask for it. Raises ``QueueUnavailable``."""
    if services.notifier is None or not services.notify_failures:
        return
    from archiver.archive import notification  # as a result's

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
    with services.tracer.span("notify", {"archiver.outcome": message.status}):
        services.notifier.send(message, correlation_id=delivery.correlation_id)
