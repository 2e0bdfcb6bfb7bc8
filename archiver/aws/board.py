"""The board where a process keeps the status of its job: now and then while it runs, and how it ended."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING

from archiver.archive import status
from archiver.archive.cancellation import Cancellation
from archiver.archive.progress import Progress
from archiver.aws.status import StatusObjects
from archiver.errors import ArchiverError, Cancelled
from archiver.logs import get_logger

if TYPE_CHECKING:
    from archiver.archive.notification import Message

log = get_logger(__name__)

#: Between two writes of a status, and two looks whether the job is cancelled, in seconds.
INTERVAL_SECONDS = 2.0


class JobFollower:
    """What a running job tells its progress to; from any of its threads."""

    def __init__(self) -> None:
        self.latest: Progress | None = None
        self.cancellation = Cancellation()

    def __call__(self, progress: Progress) -> None:
        """Take it down. Raises ``Cancelled`` where somebody has asked for it, until the archive is complete."""
        self.latest = progress
        if progress.step != "completed":
            self.cancellation.check()


class StatusBoard:
    """The status of one job at a time. What S3 refuses costs a log line, never the job."""

    def __init__(self, objects: StatusObjects, *, clock: Callable[[], float] = time.time) -> None:
        self._objects = objects
        self._clock = clock
        self._lock = threading.Lock()
        self._ended: str | None = None
        self._last: JobFollower | None = None

    @contextmanager
    def following(self, request_id: str, *, attempt: int, redelivered: bool) -> Iterator[JobFollower]:
        """Keep the job's status while the block runs.

        Raises ``Cancelled`` where that was asked for before; a redelivered job is told when it begins to build, since
        it has an upload to abort.
        """
        follower = self._last = JobFollower()
        self._ended = None
        self._look(request_id, follower)
        if follower.cancellation.asked and not redelivered:
            raise Cancelled("The job was cancelled before it began")
        self._write(request_id, attempt, follower)
        stopped = threading.Event()
        thread = threading.Thread(
            target=copy_context().run,  # its log lines name the job
            args=(self._run, request_id, attempt, follower, stopped),
            name="status",
            daemon=True,
        )
        thread.start()
        try:
            yield follower
        finally:
            stopped.set()
            self._last = None  # what is told later, of a job that was ended, has no progress of another's

    def send(self, message: "Message", *, correlation_id: str | None) -> None:  # noqa: ARG002 a notifier's argument
        """Write how the job ended. Never raises."""
        with self._lock:
            self._ended = message.request_id
            progress = None if self._last is None or message.status != "succeeded" else self._last.latest
            self._put(
                message.request_id,
                status.ended(
                    message.request_id,
                    status=message.status,
                    notification=message.body,
                    progress=progress,
                    now=self._clock(),
                ),
            )

    def _run(self, request_id: str, attempt: int, follower: JobFollower, stopped: threading.Event) -> None:
        written = None
        while not stopped.wait(INTERVAL_SECONDS):
            self._look(request_id, follower)
            if follower.latest != written:
                written = follower.latest
                self._write(request_id, attempt, follower)

    def _look(self, request_id: str, follower: JobFollower) -> None:
        try:
            if not follower.cancellation.asked and self._objects.is_cancelled(request_id):
                log.info("the job is to be cancelled")
                follower.cancellation.ask()
        except ArchiverError as error:
            log.warning("whether the job is cancelled could not be read", error=str(error))

    def _write(self, request_id: str, attempt: int, follower: JobFollower) -> None:
        with self._lock:  # so that no status is written over the last one
            if self._ended != request_id:
                now = self._clock()
                self._put(request_id, status.running(request_id, attempt=attempt, progress=follower.latest, now=now))

    def _put(self, request_id: str, text: str) -> None:
        try:
            self._objects.write(request_id, text)
        except ArchiverError as error:
            log.warning("status not written", error=str(error))
