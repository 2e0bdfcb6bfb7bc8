"""SIGTERM: no new messages, time for the running jobs, the rest handed back at once.

Celery's own soft shutdown sleeps in a signal handler: nothing is acked meanwhile, and it takes its whole time
even if the jobs end early. Here the event loop goes on: finished jobs are acked as ever, and a poll that is under
way can still hand back what arrives late. A second signal ends the patience. Jobs that are stopped are killed
hard, so that they leave their multipart upload for the next attempt to resume.
"""

import os
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from celery import bootsteps
from celery.worker import state

from archiver.logs import get_logger
from archiver.worker.envelope import CHUNK_TASK

log = get_logger(__name__)

TICK_SECONDS = 0.2
#: What a poll may take beyond its own wait. An idle worker awaits its end: the answer that nobody takes hides its
#: messages from all others, for the whole visibility timeout.
POLL_GRACE = 1.0
#: After this many seconds of Celery's own shutdown the process ends without it: nothing is left to lose.
EXIT_SECONDS = 4.0


class Drain(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """The worker's step that owns SIGTERM, SIGINT and SIGQUIT, and their consequences."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        self._signals = 0
        self._at_once = False
        self._began: float | None = None
        self._over = False
        super().__init__(parent, **kwargs)

    def start(self, _: Any) -> None:
        """Celery installs its own handlers before the steps start; these replace them."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGQUIT, self._on_quit)

    def register_with_event_loop(self, parent: Any, hub: Any) -> None:
        """Called for each new loop, also after a lost connection."""
        hub.call_repeatedly(TICK_SECONDS, self._tick, parent)

    # Handlers only take a note: they may interrupt anything, a logging lock included.

    def _on_signal(self, *_: object) -> None:
        self._signals += 1

    def _on_quit(self, *_: object) -> None:
        self._at_once = True
        self._signals += 1

    @property
    def _hurried(self) -> bool:
        return self._at_once or self._signals > 1

    def _tick(self, parent: Any) -> None:
        if not self._signals or self._over:
            return
        seconds = int(parent.app.conf.worker_soft_shutdown_timeout)
        channels = _channels(parent)
        unsettled = sum(channel.unsettled for channel in channels)
        polling = any(channel.polling for channel in channels)
        if self._began is None:
            self._began = time.monotonic()
            log.info("stopping: no new messages", unfinished=unsettled, seconds=seconds)
            for channel in channels:
                channel.draining = True
            parent.consumer.task_consumer.cancel()
            unsettled -= self._hand_back_chunks(parent, channels)
        waited = time.monotonic() - self._began
        longest = max((channel.wait_time_seconds for channel in channels), default=0) + POLL_GRACE
        if not unsettled and (self._hurried or not polling or waited > min(longest, seconds)):
            self._end()
        elif self._hurried or waited > seconds:
            self._hand_back(parent, channels)

    def _hand_back_chunks(self, parent: Any, channels: Iterable[Any]) -> int:
        """Others have them at once: what is built of a chunk is no more than seconds of work."""
        for request in tuple(state.reserved_requests):
            if request.type == CHUNK_TASK:
                with suppress(Exception):
                    request.cancel(parent.pool, signal=signal.SIGKILL, emit_retry=False)
        return sum(channel.hand_back(chunks_only=True) for channel in channels)

    def _end(self) -> None:
        log.info("stopped")
        self._over = True
        _exit_soon()
        state.should_stop = 0

    def _hand_back(self, parent: Any, channels: Iterable[Any]) -> None:
        self._over = True
        _exit_soon()
        for request in tuple(state.active_requests):
            log.warning("handed back unfinished", task_id=request.id)
            with suppress(Exception):
                request.cancel(parent.pool, signal=signal.SIGKILL, emit_retry=False)
        count = sum(channel.hand_back() for channel in channels)
        log.info("stopped, unfinished messages handed back", messages=count)
        state.should_terminate = 0


def _channels(parent: Any) -> list[Any]:
    """The consumer's channel, and those of lost connections whose jobs still run."""
    former = (request.message.channel for request in tuple(state.reserved_requests))
    return list({parent.consumer.task_consumer.channel, *former})


def _exit_soon() -> None:
    """The promise to end in time does not depend on how Celery's shutdown goes."""
    timer = threading.Timer(EXIT_SECONDS, os._exit, (0,))
    timer.daemon = True
    timer.start()
