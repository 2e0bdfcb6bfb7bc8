"""A real ``celery -A archiver worker`` as a child process."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from devtools import polls
from devtools.localstack import CHECKOUT, LocalStack
from devtools.processes import Program, spawn, stop, tail, wait_until
from devtools.stack import Stack

#: What the worker says when it takes messages.
READY = "archiver ready"
READY_SECONDS = 60.0
STOP_SECONDS = 30.0


class WorkerError(Exception):
    """The worker did not become ready; the message shows its log's end."""


@dataclass(frozen=True, slots=True)
class Worker(Program):
    """A running worker, whose log is gone with its scratch folder."""

    environment: Mapping[str, str]  # what it was started with

    def children(self) -> list[int]:
        """The pids of the pool's processes. Linux only (proc(5), task/[tid]/children)."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    def kill(self) -> None:
        """SIGKILL to its whole group: what it has asked SQS for is given to nobody."""
        if self.process.returncode is None:
            for queue in _queues(self.environment):
                polls.left_behind(queue, seconds=float(self.environment["POLL_SECONDS"]))
        super(Worker, self).kill()  # with slots=True the class is another than the one whose body this is

    def show_stacks(self) -> None:
        """Have its processes write to the log where each of their threads is, of which they end.

        The worker first, which the end of its pool's processes would wake.
        """
        children = self.children()
        self.send_signal(signal.SIGABRT)
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGABRT)
        self.wait(STOP_SECONDS)
        # Those of a worker that has ended are nobody's whom we could ask, and leave no program behind in proc(5).
        wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children), seconds=STOP_SECONDS)

    def wait_for_log(self, text: str, *, seconds: float = READY_SECONDS) -> bool:
        """Does ``text`` appear in the log within ``seconds``? Gives up when the worker ends."""
        wait_until(lambda: text in self.output() or not self.alive(), seconds=seconds)
        return text in self.output()


def _queues(environment: Mapping[str, str]) -> list[str]:
    """Those that a worker polls."""
    return [environment[name] for name in ("SQS_SOURCE_QUEUE", "SQS_CREW_QUEUE") if name in environment]


@contextlib.contextmanager
def running_worker(
    localstack: LocalStack,
    stack: Stack,
    *,
    settings: Mapping[str, str] | None = None,
    arguments: tuple[str, ...] = (),
    endpoint: str | None = None,
    wait: bool = True,
) -> Iterator[Worker]:
    """A worker on the stack's input queue for the length of the block.

    ``settings`` are environment variables on top of the defaults here (one job at a time, short waits); ``arguments``
    follow ``celery -A archiver worker``; ``endpoint`` replaces the server's URL (a proxy in front of it). Raises
    ``WorkerError`` where it is not ready in time; ``wait=False`` does not wait for that.
    """
    scratch = Path(tempfile.mkdtemp(prefix="archiver-worker-"))
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(scratch),
        "TMPDIR": str(scratch),  # a pool that is killed leaves a folder there
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",  # for show_stacks
        "LIVENESS_FILE": str(scratch / "alive"),
        "WORKER_CONCURRENCY": "1",
        "POLL_SECONDS": "2",
        "BACKOFF_BASE_SECONDS": "1",
        "BACKOFF_CAP_SECONDS": "4",
        "SOFT_SHUTDOWN_SECONDS": "5",
        **localstack.environment,
        **({"AWS_ENDPOINT_URL": endpoint} if endpoint else {}),
        **stack.environment,
        **(settings or {}),
    }
    log = scratch / "log"
    process = None
    try:
        process = spawn(
            [sys.executable, "-m", "celery", "-A", "archiver", "worker", *arguments],
            environment=environment,
            directory=CHECKOUT,
            log=log,
        )
        worker = Worker(process, log, environment)
        if wait and not worker.wait_for_log(READY):
            raise WorkerError(f"the worker did not become ready; the end of its log:\n{tail(log)}")
        for queue in _queues(environment):
            polls.await_the_last(queue)
        yield worker
    finally:
        if process is not None:
            stop(process, patience=STOP_SECONDS)
        shutil.rmtree(scratch, ignore_errors=True)
