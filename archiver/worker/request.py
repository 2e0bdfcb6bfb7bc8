"""A job as the worker's own process sees it: nothing that Celery ends is gone without a word.

Celery rejects the message of a job that its time limit ended, and deletes that of a revoked one. Here both are
refused instead: a task of its own dead-letters the message with the reason and tells the consumer, in the pool, where
the clients are.
"""

import signal
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from celery import exceptions
from celery.worker.request import Request as CeleryRequest

from archiver.errors import ArchiverError, Cancelled, PermanentError, ProcessLost, TimeLimitExceeded
from archiver.logs import bound_contextvars, get_logger
from archiver.settings import load_settings
from archiver.text import presentable
from archiver.worker.account import process_lost
from archiver.worker.envelope import CHUNK_TASK, REFUSE_TASK

log = get_logger(__name__)

_FAILED, _RETRIED = "task-failed", "task-retried"
#: Longest text in a field of an event, in characters.
MAX_EVENT_TEXT = 5_000


class Request(CeleryRequest):  # type: ignore[misc]  # celery has no types
    """One job. Its methods are called in the event loop."""

    acknowledged: bool
    _failure: BaseException | None = None  # of this attempt

    @property
    def _is_refusal(self) -> bool:
        return bool(self.type == REFUSE_TASK)

    @property
    def _is_chunk(self) -> bool:
        return bool(self.type == CHUNK_TASK)

    @property
    def _is_last_attempt(self) -> bool:
        return not self._is_refusal and bool(self.message.channel.is_last_attempt(self.message.delivery_tag))

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """The job's process says that it failed, or the pool that it is gone; a hard time limit comes here first."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if self._is_chunk:
            return self._on_failed_chunk(exc_info, error, *args, **kwargs)
        if isinstance(error, exceptions.TimeLimitExceeded):
            self._refuse(TimeLimitExceeded(f"The job was ended by its time_limit={error.args[0]} (seconds)"))
            return None
        if isinstance(error, exceptions.WorkerLostError):
            with bound_contextvars(request_id=self.id):
                log.error("process of a job lost", reason=str(error))
                if self._is_last_attempt:
                    self._refuse(ProcessLost(f"The job's process died in its last attempt: {error}"))
                    return None
                if not self.message.channel.draining:
                    process_lost(load_settings())
        self._failure = error
        with bound_contextvars(request_id=self.id):
            try:
                return super().on_failure(exc_info, *args, **kwargs)
            finally:
                if isinstance(error, exceptions.WorkerLostError):
                    self.send_event(_FAILED)  # Celery sends none, and monitors would see the job run on

    def _on_failed_chunk(self, exc_info: Any, error: BaseException, *args: Any, **kwargs: Any) -> Any:
        """A chunk has no attempts to count: somebody else may have it, or its job goes on without."""
        if self._already_cancelled:
            return None  # handed back
        with bound_contextvars(request_id=self.parent_id):
            log.warning("a chunk ended without a word", reason=str(error))
            return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: Any) -> None:
        """A limit has passed: Celery's log line and events."""
        with bound_contextvars(request_id=self.id):
            super().on_timeout(soft, timeout)

    def revoked(self) -> bool:
        """Whether the job is not to begin. What refuses a revoked message has its id, and begins."""
        return not self._is_refusal and bool(super().revoked())

    def terminate(self, pool: Any, signal: Any = None) -> None:  # noqa: ARG002 Celery's argument
        """End the job by remote control, by SIGKILL whatever was asked for: a job that lives on might still succeed."""
        if not self._is_refusal:
            super().terminate(pool, signal=_KILL)

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        what = "while it ran" if terminated else "before it began"
        self._refuse(Cancelled(f"The job was cancelled by remote control, {what}"))
        super()._announce_revoked(reason, terminated, signum, expired)

    def _refuse(self, error: PermanentError) -> None:
        if self.acknowledged:
            return
        self.acknowledged = True  # by what refuses it
        if self._is_chunk:
            self.message.channel.basic_ack(self.message.delivery_tag)
        else:
            self.message.channel.refuse(self.message.delivery_tag, error, task_id=self.id)

    def send_event(self, type: str, **fields: Any) -> None:
        """An event, with what it quotes made presentable.

        The failure of an attempt that is followed by another one is the event of a retry: only what failed for good
        is a failure to Flower and to whoever else listens. It tells the error's code and message.
        """
        if type == _FAILED and self._failure is not None:
            type = _FAILED if isinstance(self._failure, PermanentError) else _RETRIED
            fields["exception"] = _described(self._failure)
        super().send_event(
            type,
            **{
                name: presentable(value, limit=MAX_EVENT_TEXT, lines=True) if isinstance(value, str) else value
                for name, value in fields.items()
            },
        )

    def info(self, safe: bool = True) -> dict[str, Any]:  # noqa: ARG002 Celery's argument, which asks for the payload
        """What ``inspect active`` and its like tell of the job: no payload, which may be larger than a message."""
        described: dict[str, Any] = super().info(safe=True)
        return described


def _described(error: BaseException) -> str:
    if isinstance(error, ArchiverError):
        return f"{error.code}: {error.message}"
    return f"{error.__class__.__name__}: {error}"


_KILL = signal.SIGKILL
