"""The Celery tasks: one builds an archive, the other refuses what is no job. Thin: the pipeline does the work."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import structlog

from archiver import wiring
from archiver.archive import pipeline
from archiver.archive.pipeline import Job
from archiver.aws import clients
from archiver.aws.dead_letters import NO_POLICY, DeadLetters, dead_letter
from archiver.celery import app
from archiver.errors import ArchiverError, PermanentError, TransientError
from archiver.monitoring.jobs import FAILED, PROGRESS, Tell, job_events, nobody
from archiver.settings import Settings, load_settings
from archiver.worker.decode import BUILD_TASK, REFUSE_TASK
from archiver.worker.delivery import HEADER, Delivery
from archiver.worker.heartbeat import kept_hidden
from archiver.worker.progress import ProgressReport

log = structlog.get_logger(__name__)

#: The longest reason in an event, in characters.
MAX_REASON = 1_000


class Refused(PermanentError):
    """The message is no job."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # the decoder found the reason; this carries it

    def __reduce__(self) -> tuple[type["Refused"], tuple[str, str]]:
        return type(self), (self.code, self.message)


@app.task(name=BUILD_TASK, bind=True, throws=(ArchiverError,))  # type: ignore[untyped-decorator]  # celery has no types
def build_archive(self: Any, payload: Any) -> dict[str, Any]:
    """Build the archive that ``payload`` describes; returns the archive's summary.

    ``payload`` is the payload's object, or its JSON text as the transport delivers it.
    """
    with _job(self.request) as (job, delivery):
        if isinstance(payload, str):
            payload = json.loads(payload)
        try:
            report = ProgressReport(partial(_events(self.request), PROGRESS, attempt=job.attempt))
            result = pipeline.build_archive(payload, job=job, services=wiring.services(), on_progress=report)
        except PermanentError as error:
            _dead_letter(delivery, job, payload=payload, error=error)
            raise
        except MemoryError as error:
            # Celery would take the worker down with it.
            raise TransientError("The job ran out of memory") from error
        return result.summary()


@app.task(name=REFUSE_TASK, bind=True, throws=(ArchiverError,))  # type: ignore[untyped-decorator]  # celery has no types
def refuse_message(self: Any, code: str, reason: str) -> None:
    """Dead-letter a message that is no job."""
    with _job(self.request) as (job, delivery):
        error = Refused(code, reason)
        _dead_letter(delivery, job, payload=None, error=error)
        raise error


@contextmanager
def _job(request: Any) -> Iterator[tuple[Job, Delivery | None]]:
    """The job of a task's request: its identity in every log line, its message hidden while it runs."""
    header = request.get(HEADER)
    delivery = Delivery.from_header(header) if header else None
    job = _identity(request, delivery)
    bound = {
        "request_id": job.request_id,
        "sqs_message_id": job.message_id,
        "correlation_id": job.correlation_id,
        "attempt": job.attempt,
    }
    with structlog.contextvars.bound_contextvars(**{key: value for key, value in bound.items() if value is not None}):
        log.info("job started", task=request.task)
        with kept_hidden(_hide(delivery), timeout=_settings().visibility_timeout_seconds):
            try:
                yield job, delivery
            except ArchiverError as error:
                kind = "permanent" if isinstance(error, PermanentError) else "transient"
                _failed(request, job, code=error.code, reason=error.message, kind=kind)
                raise
            except Exception as error:
                _failed(request, job, code=type(error).__name__, reason=str(error), kind="unexpected")
                raise
        log.info("job done")


def _failed(request: Any, job: Job, *, code: str, reason: str, kind: str) -> None:
    say = log.error if kind == "unexpected" else log.warning
    say("job failed", code=code, reason=reason, kind=kind)
    _events(request)(FAILED, attempt=job.attempt, code=code, reason=reason[:MAX_REASON], permanent=kind == "permanent")


def _events(request: Any) -> Tell:
    return job_events(app, request) if _settings().monitoring else nobody


def _identity(request: Any, delivery: Delivery | None) -> Job:
    if delivery is None:  # called directly: an eager app, or a caller's own process
        return Job(request_id=str(request.id or "direct"), sent_at=time.time())
    return Job(
        request_id=str(request.id),
        sent_at=delivery.sent_at,
        correlation_id=delivery.correlation_id,
        message_id=delivery.message_id,
        attempt=delivery.receive_count,
    )


def _hide(delivery: Delivery | None) -> Any:
    if delivery is None:
        return None
    call = partial(
        _client(delivery.queue_url).change_message_visibility,
        QueueUrl=delivery.queue_url,
        ReceiptHandle=delivery.receipt_handle,
    )
    return lambda seconds: call(VisibilityTimeout=seconds)


def _dead_letter(delivery: Delivery | None, job: Job, *, payload: object, error: PermanentError) -> None:
    """To the dead-letter queue, then the failure's notification; without such a queue the message stays."""
    if delivery is None:
        return
    client = _client(delivery.queue_url)
    dlq = _dead_letters().url(client, delivery.queue_url)
    if dlq is None:
        log.error(NO_POLICY, queue=delivery.queue_url, code=error.code, reason=error.message)
        return
    dead_letter(client, dlq, delivery, error)
    log.warning("message dead-lettered", code=error.code, reason=error.message, dlq=dlq)
    pipeline.notify_failure(payload, error, job=job, services=wiring.services())


def _client(queue_url: str) -> Any:
    return clients.process_client(queue_url, region=_settings().aws_region, pid=os.getpid())


@cache
def _settings() -> Settings:
    return load_settings()


@cache
def _dead_letters() -> DeadLetters:
    return DeadLetters()
