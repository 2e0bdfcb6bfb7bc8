"""The Celery tasks: one builds an archive, the other refuses what is no job. Thin: the pipeline does the work."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from archiver import wiring
from archiver.archive import pipeline
from archiver.archive.cancellation import Cancellation
from archiver.archive.pipeline import Delivery
from archiver.archive.progress import OnProgress, Progress
from archiver.aws.clients import process_sqs_client
from archiver.aws.dead_letters import NO_POLICY, DeadLetters, delete, send_dead_letter
from archiver.aws.letters import Letter
from archiver.aws.queues import RedrivePolicy
from archiver.celery import app
from archiver.errors import (
    ArchiverError,
    AttemptsExhausted,
    Cancelled,
    PermanentError,
    ProcessLost,
    QueueUnavailable,
    TimeLimitExceeded,
    TransientError,
)
from archiver.logs import bound_contextvars, get_logger
from archiver.monitoring.jobs import FAILED, PROGRESS, SendEvent, job_events, send_nothing
from archiver.settings import Settings, load_settings
from archiver.text import presentable
from archiver.worker.account import Account, open_account
from archiver.worker.attempts import is_last, is_over, last_attempt_failed
from archiver.worker.decode import payload_of
from archiver.worker.envelope import BUILD_TASK, LETTER_HEADER, REFUSE_TASK
from archiver.worker.heartbeat import hiding, kept_hidden
from archiver.worker.job_span import job_span
from archiver.worker.progress import ProgressReport

log = get_logger(__name__)

#: The longest reason in an event, in characters.
MAX_REASON = 1_000
#: So many times MAX_ATTEMPTS is a consumer that can't be reached told of a failure: each time leaves a dead letter.
TELLING = 2
#: Codes of what ends a job at any moment, be it after its archive stands and the consumer knows.
ENDED_FROM_OUTSIDE = frozenset({TimeLimitExceeded.code, Cancelled.code, ProcessLost.code})


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
    try:
        return _build(self.request, payload)
    except SoftTimeLimitExceeded:
        # It struck around the job: before it, in what follows a failure, or at the end of one that has succeeded.
        with _delivery(self.request) as (delivery, letter, _):
            return _overdue(self.request, letter, delivery, payload=payload)


def _build(request: Any, payload: Any) -> dict[str, Any]:
    with _delivery(request) as (delivery, letter, account):
        try:
            # Before anything else, since whatever fails then is told with the payload's metadata.
            payload = wiring.services().payloads.open(payload)
            if exhausted := _exhausted(letter):
                if summary := _finished(letter, delivery, payload=payload):
                    return summary
                raise exhausted
            report = ProgressReport(partial(_events(request), PROGRESS, attempt=delivery.attempt))
            with _followed(delivery, report) as (on_progress, cancellation):
                result = pipeline.build_archive(
                    payload,
                    delivery=delivery,
                    services=wiring.services(),
                    on_progress=on_progress,
                    traffic=account.traffic,
                    cancellation=cancellation,
                )
            account.archive = {name: result.summary()[name] for name in ("archive", "files", "size")}
        except Cancelled as error:
            _cancel(letter, delivery, payload=payload, error=error)
            raise
        except PermanentError as error:
            _dead_letter(letter, delivery, payload=payload, error=error, abandon=isinstance(error, AttemptsExhausted))
            raise
        except SoftTimeLimitExceeded:
            return _overdue(request, letter, delivery, payload=payload)
        except MemoryError as error:
            # Celery would take the worker down with it.
            lacking = TransientError("The job ran out of memory")
            account.given_up = _give_up_after_the_last(letter, delivery, payload=payload, error=lacking)
            raise lacking from error
        except Exception as error:
            account.given_up = _give_up_after_the_last(letter, delivery, payload=payload, error=error)
            raise
        return result.summary()


@app.task(name=REFUSE_TASK, bind=True, throws=(ArchiverError,))  # type: ignore[untyped-decorator]  # celery has no types
def refuse_message(self: Any, code: str, reason: str) -> None:
    """Dead-letter a message that is no job."""
    with _delivery(self.request) as (delivery, letter, _):
        error = Refused(code, reason)
        payload = None if letter is None else _opened(payload_of(letter))
        ended = code in ENDED_FROM_OUTSIDE
        if ended and _finished(letter, delivery, payload=payload) is not None:
            return
        _dead_letter(letter, delivery, payload=payload, error=error, abandon=ended)
        raise error


def _finished(letter: Letter | None, delivery: Delivery, *, payload: object) -> dict[str, Any] | None:
    """The summary of the archive that an attempt had finished when it was ended: the job is done, and told so again."""
    if letter is None:
        return None
    found = pipeline.find_archive(payload, delivery=delivery, services=wiring.services())
    return None if found is None else found.summary()


def _overdue(request: Any, letter: Letter | None, delivery: Delivery, *, payload: object) -> dict[str, Any]:
    """The end of a job whose soft limit has passed: done where its archive stands, else a dead letter."""
    payload = _opened(payload)
    if summary := _finished(letter, delivery, payload=payload):
        return summary
    error = TimeLimitExceeded(f"The job was ended by its soft_time_limit{_limit(request)}")
    _dead_letter(letter, delivery, payload=payload, error=error, abandon=True)
    raise error from None


def _opened(payload: object) -> object:
    """The payload, wherever it lies: what is told of a job has its metadata. As it is where that can't be read."""
    if payload is None:
        return None
    try:
        return wiring.services().payloads.open(payload)
    except ArchiverError as error:
        log.warning("told without metadata: the payload can't be read", reason=error.message)
        return payload


def _exhausted(letter: Letter | None) -> AttemptsExhausted | None:
    """A job whose attempts ended without a word, with their worker: not once more, where there are dead letters."""
    if letter is None or not is_over(letter, max_attempts=_settings().max_attempts) or _policy(letter) is None:
        return None
    return AttemptsExhausted(
        f"{letter.attempt - 1} attempts were made (MAX_ATTEMPTS={_settings().max_attempts}), and the last ended "
        "without telling why: its worker was killed, or the queue could not be reached"
    )


def _give_up_after_the_last(letter: Letter | None, delivery: Delivery, *, payload: object, error: Exception) -> bool:
    """Dead-letter the message where no attempt is left; SQS, which would do it otherwise, tells nobody why.

    Returns whether it did.
    """
    if letter is None:
        return False
    try:
        policy = _policy(letter)
        most = None if policy is None else policy.max_receive_count
        if most is not None and is_last(letter, max_attempts=_settings().max_attempts, max_receive_count=most):
            last = last_attempt_failed(error, letter)
            _dead_letter(letter, delivery, payload=payload, error=last, abandon=True)
            return True
    except QueueUnavailable as failure:
        log.error("the last attempt's failure could not be told, its message will come back", error=str(failure))
    return False


@contextmanager
def _followed(delivery: Delivery, report: ProgressReport) -> Iterator[tuple[OnProgress, Cancellation]]:
    """Who follows the job: where a status is kept, its progress goes there as well, and a wish to end it is heard.

    Raises ``Cancelled``.
    """
    board = wiring.status_board()
    if board is None:
        yield report, Cancellation()
        return
    with board.following(delivery.request_id, attempt=delivery.attempt, redelivered=delivery.redelivered) as follower:

        def both(progress: Progress) -> None:
            report(progress)
            follower(progress)

        yield both, follower.cancellation


def _cancel(letter: Letter | None, delivery: Delivery, *, payload: object, error: Cancelled) -> None:
    """The consumer's notification, then the message's end: nobody has to look into a job that was cancelled."""
    pipeline.notify_failure(payload, error, delivery=delivery, services=wiring.services())
    if letter is not None:
        delete(_client(letter.queue_url), letter)
    log.warning("job cancelled", reason=error.message)


def _limit(request: Any) -> str:
    """The call's own soft limit; one that was set by remote control has no value here."""
    _, soft = request.timelimit or (None, None)
    return "" if soft is None else f"={soft} (seconds)"


@contextmanager
def _delivery(request: Any) -> Iterator[tuple[Delivery, Letter | None, Account]]:
    """The job of a task's request: its identity in every log line, its message hidden while it runs."""
    header = request.get(LETTER_HEADER)
    letter = Letter.from_dict(header) if header else None
    delivery = _described(request, letter)
    bound = {
        "request_id": delivery.request_id,
        "sqs_message_id": delivery.message_id,
        "correlation_id": delivery.correlation_id,
        "attempt": delivery.attempt,
    }
    with bound_contextvars(**{key: value for key, value in bound.items() if value is not None}):
        settings = _settings()
        with job_span(wiring.tracer(), delivery, letter) as span:
            account = open_account(settings, sent_at=delivery.sent_at, first=not delivery.redelivered, span=span)
            log.info("job started", task=request.task, seconds_waited=account.seconds_waited)
            hide = None if letter is None else hiding(_client(letter.queue_url), letter)
            with account.traffic.counting(), kept_hidden(hide, timeout=settings.visibility_timeout_seconds):
                try:
                    yield delivery, letter, account
                except SoftTimeLimitExceeded:
                    raise  # to where the whole of the task is seen
                except Exception as error:
                    _failed(request, delivery, account, error)
                    if letter is not None and account.given_up:
                        # Permanent, so that nobody is told of a retry.
                        raise last_attempt_failed(error, letter) from error
                    raise
            log.info("job done", **account.archive, **account.took())
            account.succeeded()


def _failed(request: Any, delivery: Delivery, account: Account, error: Exception) -> None:
    if isinstance(error, ArchiverError):
        kind = "permanent" if isinstance(error, PermanentError) else "transient"
        code, reason = error.code, error.message
    else:
        kind, code, reason = "unexpected", type(error).__name__, str(error)
    took = account.took()
    if kind == "unexpected":
        log.error("job failed", code=code, reason=reason, kind=kind, **took, exc_info=True)
    else:
        log.warning("job failed", code=code, reason=reason, kind=kind, **took)
    account.failed("unexpected_error" if kind == "unexpected" else code, permanent=kind == "permanent", reason=reason)
    _events(request)(
        FAILED,
        attempt=delivery.attempt,
        code=code,
        reason=presentable(reason, limit=MAX_REASON),
        permanent=kind == "permanent" or account.given_up,
    )


def _events(request: Any) -> SendEvent:
    return job_events(app, request) if _settings().monitoring else send_nothing


def _described(request: Any, letter: Letter | None) -> Delivery:
    if letter is None:  # called directly: an eager app, or a caller's own process
        return Delivery(request_id=str(request.id or "direct"), sent_at=time.time())
    return Delivery(
        request_id=str(request.id),
        sent_at=letter.sent_at,
        correlation_id=letter.correlation_id,
        message_id=letter.message_id,
        attempt=letter.attempt,
        hand_backs=letter.receive_count - letter.attempt,
    )


def _dead_letter(
    letter: Letter | None, delivery: Delivery, *, payload: object, error: PermanentError, abandon: bool
) -> None:
    """To the dead-letter queue, then the failure's notification, and only then off the queue: nobody waits for ever.

    ``abandon``: the job ended where it could not clear up behind itself, so what it has uploaded is aborted here.
    Without a dead-letter queue the message stays. Raises ``QueueUnavailable``, also where the dead letter is sent and
    the consumer could not be told: the message comes back, and so may the dead letter.
    """
    if letter is None:
        return
    policy = _policy(letter)
    if policy is None:
        log.error(NO_POLICY, queue=letter.queue_url, code=error.code, reason=error.message)
        return
    send_dead_letter(policy.dead_letters, letter, error, request_id=delivery.request_id)
    log.warning("message dead-lettered", code=error.code, reason=error.message, dlq=policy.dead_letters.url)
    try:
        pipeline.notify_failure(payload, error, delivery=delivery, services=wiring.services())
    except QueueUnavailable as failure:
        most = TELLING * _settings().max_attempts
        if not is_last(letter, max_attempts=most, max_receive_count=policy.max_receive_count):
            raise
        log.error("the failure could not be notified, and is not tried again", error=str(failure))
    if abandon:
        pipeline.abandon(payload, delivery=delivery, services=wiring.services())
    delete(_client(letter.queue_url), letter)


def _policy(letter: Letter) -> RedrivePolicy | None:
    return _dead_letters().policy(_client(letter.queue_url), letter.queue_url)


def _client(queue_url: str) -> Any:
    return process_sqs_client(queue_url, region=_settings().aws_region, pid=os.getpid())


@cache
def _settings() -> Settings:
    return load_settings()


@cache
def _dead_letters() -> DeadLetters:
    return DeadLetters()
