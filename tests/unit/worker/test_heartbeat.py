"""A running job's message stays hidden: in time, in spite of failures, and no longer than SQS allows."""

import threading

import pytest

from archiver.worker.backoff import MAX_VISIBILITY_SECONDS
from archiver.worker.heartbeat import Heartbeat, kept_hidden


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Queue:
    """Notes for how long it was asked to hide the message; fails while ``failing``."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.failing = False
        self.beaten = threading.Event()

    def hide(self, seconds: int) -> None:
        self.asked.append(seconds)
        self.beaten.set()
        if self.failing:
            raise ConnectionError("SQS is away")


def test_a_beat_hides_the_message_for_the_whole_timeout_thrice_in_its_length() -> None:
    queue = Queue()
    heartbeat = Heartbeat(queue.hide, timeout=120, clock=Clock())
    assert heartbeat.interval == 40
    assert heartbeat.beat()
    assert queue.asked == [120]


def test_a_failing_call_is_for_the_next_beat() -> None:
    queue = Queue()
    heartbeat = Heartbeat(queue.hide, timeout=120, clock=Clock())
    queue.failing = True
    assert heartbeat.beat()
    queue.failing = False
    assert heartbeat.beat()
    assert len(queue.asked) == 2


def test_it_ends_at_the_twelve_hours_that_sqs_allows() -> None:
    queue, clock = Queue(), Clock()
    heartbeat = Heartbeat(queue.hide, timeout=120, clock=clock)
    # a minute before the end it asks for no more than is left
    clock.now += MAX_VISIBILITY_SECONDS - 60
    assert heartbeat.beat()
    assert queue.asked == [60]
    # at the end it gives up
    clock.now += 60
    assert not heartbeat.beat()
    assert queue.asked == [60]


def test_it_beats_while_the_block_runs_and_stops_with_it() -> None:
    queue = Queue()
    with kept_hidden(queue.hide, timeout=0):
        assert queue.beaten.wait(5)
    asked = len(queue.asked)
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}
    assert len(queue.asked) == asked


def test_it_stops_with_a_job_that_fails() -> None:
    queue = Queue()
    with pytest.raises(ValueError, match="job"), kept_hidden(queue.hide, timeout=60):
        raise ValueError("job")
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_without_a_message_there_is_nothing_to_keep() -> None:
    with kept_hidden(None, timeout=60):
        assert "heartbeat" not in {thread.name for thread in threading.enumerate()}
