"""The drain: what fits is finished, the rest is handed back, and the process ends in any case."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from archiver.worker import drain as module
from archiver.worker.drain import EXIT_SECONDS, POLL_GRACE, TICK_SECONDS, Drain
from archiver.worker.envelope import BUILD_TASK, CHUNK_TASK
from tests.support.jobs import logged

SOFT = 90


@dataclass(eq=False)
class FakeChannel:
    """So many unsettled messages, some of them chunks, and perhaps a poll."""

    unsettled: int = 0
    chunks: int = 0
    polling: bool = False
    draining: bool = False
    wait_time_seconds: int = 20

    def hand_back(self, *, chunks_only: bool = False) -> int:
        count = self.chunks if chunks_only else self.unsettled
        self.unsettled, self.chunks = self.unsettled - count, 0
        return count


@dataclass(eq=False)
class FakeRequest:
    """A job that runs, on the channel that its message came by."""

    id: str
    channel: FakeChannel
    type: str = BUILD_TASK
    cancelled: list[Any] = field(default_factory=list)

    @property
    def message(self) -> Any:
        return self

    def cancel(self, pool: object, *, signal: signal.Signals, emit_retry: bool) -> None:
        self.cancelled.append((pool, signal, emit_retry))


class Worker:
    """The worker's inside, as far as the drain sees it; its clock is the test's."""

    def __init__(self) -> None:
        self.channel = FakeChannel()
        self.now = 1000.0
        self.consuming = True
        self.exits = 0
        self.pool = object()
        self.app = SimpleNamespace(conf=SimpleNamespace(worker_soft_shutdown_timeout=SOFT))
        self.consumer = SimpleNamespace(task_consumer=SimpleNamespace(channel=self.channel, cancel=self._cancel))
        self.drain = Drain(self)

    def _cancel(self) -> None:
        self.consuming = False

    def call_repeatedly(self, seconds: float, tick: Any, *arguments: Any) -> None:
        """As the hub of the event loop."""
        assert seconds == TICK_SECONDS
        self._tick = lambda: tick(*arguments)

    def tick(self, *, after: float = 0) -> None:
        self.now += after
        self._tick()

    def running(self, number: int, *, channel: FakeChannel | None = None) -> FakeRequest:
        """A job that has begun."""
        request = FakeRequest(f"job-{number}", channel or self.channel)
        request.channel.unsettled += 1
        state.active_requests.add(request)
        state.reserved_requests.add(request)
        return request

    @property
    def ended(self) -> str | None:
        """How the worker was told to end."""
        if state.should_stop is not None:
            return "stop"
        return "terminate" if state.should_terminate is not None else None


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    for name in ("should_stop", "should_terminate"):
        monkeypatch.setattr(state, name, None)
    for name in ("active_requests", "reserved_requests"):
        monkeypatch.setattr(state, name, set())
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    worker = Worker()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: worker.now))

    def exit_soon() -> None:
        worker.exits += 1

    monkeypatch.setattr(module, "_exit_soon", exit_soon)
    worker.drain.start(worker)
    worker.drain.register_with_event_loop(worker, worker)
    yield worker
    for number, handler in before.items():
        signal.signal(number, handler)


def test_without_a_signal_nothing_happens(worker: Worker) -> None:
    worker.tick(after=1000)
    assert worker.consuming
    assert worker.ended is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_job_has_its_time_and_no_other_begins(worker: Worker, number: signal.Signals) -> None:
    job = worker.running(1)
    signal.raise_signal(number)
    with logged() as lines:
        worker.tick()
        worker.tick(after=SOFT)
    assert (worker.consuming, worker.channel.draining, worker.ended) == (False, True, None)
    (line,) = lines
    assert (line["event"], line["unfinished"], line["seconds"]) == ("stopping: no new messages", 1, SOFT)
    # and when it has ended and is acked, the worker ends
    worker.channel.unsettled = 0
    worker.tick()
    assert worker.ended == "stop"
    assert worker.exits == 1
    assert job.cancelled == []


def test_a_job_that_does_not_fit_is_killed_and_handed_back(worker: Worker) -> None:
    jobs = [worker.running(1), worker.running(2)]
    signal.raise_signal(signal.SIGTERM)
    worker.tick()
    with logged() as lines:
        worker.tick(after=SOFT + 0.1)
    assert worker.ended == "terminate"
    assert worker.exits == 1
    # hard, so that it leaves its upload to the next attempt, and without an event that says it is tried again
    assert all(job.cancelled == [(worker.pool, signal.SIGKILL, False)] for job in jobs)
    assert worker.channel.unsettled == 0
    assert lines[-1]["messages"] == 2


def test_a_job_that_can_not_be_killed_is_handed_back_all_the_same(worker: Worker) -> None:
    job = worker.running(1)
    job.cancel = None  # type: ignore[method-assign,assignment]  # any failure will do
    signal.raise_signal(signal.SIGTERM)
    worker.tick()
    worker.tick(after=SOFT + 0.1)
    assert worker.channel.unsettled == 0
    assert worker.ended == "terminate"


def test_a_second_signal_ends_the_patience(worker: Worker) -> None:
    worker.running(1)
    signal.raise_signal(signal.SIGTERM)
    worker.tick()
    signal.raise_signal(signal.SIGINT)
    worker.tick()
    assert worker.ended == "terminate"


def test_sigquit_hands_back_at_once(worker: Worker) -> None:
    worker.running(1)
    signal.raise_signal(signal.SIGQUIT)
    worker.tick()
    assert worker.ended == "terminate"


@pytest.mark.parametrize(("wait", "most"), [(20, 20 + POLL_GRACE), (20 * SOFT, SOFT)])
def test_an_idle_worker_awaits_its_poll_but_not_one_that_does_not_end(worker: Worker, wait: int, most: float) -> None:
    worker.channel.polling, worker.channel.wait_time_seconds = True, wait
    signal.raise_signal(signal.SIGTERM)
    worker.tick()
    worker.tick(after=most)
    assert worker.ended is None
    worker.tick(after=0.1)
    assert worker.ended == "stop"


def test_a_second_signal_ends_the_wait_for_a_poll(worker: Worker) -> None:
    worker.channel.polling = True
    signal.raise_signal(signal.SIGINT)
    worker.tick()
    signal.raise_signal(signal.SIGINT)
    worker.tick()
    assert worker.ended == "stop"


@pytest.mark.parametrize(("number", "polling"), [(signal.SIGTERM, False), (signal.SIGQUIT, True)])
def test_an_idle_worker_that_need_not_wait_stops_at_once(worker: Worker, number: signal.Signals, polling: bool) -> None:
    worker.channel.polling = polling
    signal.raise_signal(number)
    worker.tick()
    assert worker.ended == "stop"


def test_the_jobs_of_a_lost_connection_are_waited_for_and_handed_back(worker: Worker) -> None:
    former = FakeChannel()
    worker.running(1, channel=former)
    signal.raise_signal(signal.SIGTERM)
    worker.tick()
    assert worker.ended is None
    assert former.draining
    worker.tick(after=SOFT + 0.1)
    assert former.unsettled == 0


def test_it_ends_once(worker: Worker) -> None:
    signal.raise_signal(signal.SIGTERM)
    worker.tick()
    worker.tick(after=SOFT)
    assert worker.exits == 1


def test_the_process_ends_even_where_celerys_shutdown_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[Any] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            timers.append(self)

    monkeypatch.setattr(threading, "Timer", Timer)
    module._exit_soon()
    (timer,) = timers
    assert (timer.interval, timer.function, timer.args) == (EXIT_SECONDS, os._exit, (0,))
    assert timer.daemon


def test_chunks_are_handed_back_at_once_and_jobs_have_their_time(worker: Worker) -> None:
    job, chunk = worker.running(1), worker.running(2)
    chunk.type = CHUNK_TASK
    worker.channel.chunks = 1

    os.kill(os.getpid(), signal.SIGTERM)
    worker.tick()

    assert chunk.cancelled == [(worker.pool, signal.SIGKILL, False)]
    assert job.cancelled == []
    assert (worker.channel.unsettled, worker.ended) == (1, None)
