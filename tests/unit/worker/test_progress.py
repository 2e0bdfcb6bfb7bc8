"""A running job's progress: often enough to follow it, seldom enough for a log."""

from typing import Any

from archiver.archive.progress import Progress
from archiver.worker.progress import INTERVAL_SECONDS, ProgressReport
from tests.support.jobs import logged


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Follower:
    """A report whose clock is the test's, and what it passed on."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.events: list[dict[str, Any]] = []
        self.report = ProgressReport(lambda **fields: self.events.append(fields), clock=self.clock)

    def step(self, name: str, *, done: int = 0, after: float = 0.0) -> None:
        self.clock.now += after
        self.report(Progress(name, entries=3, bytes_total=1000, bytes_done=done, parts_total=4, parts_done=done // 250))


def test_steps_between_the_first_and_the_last_are_passed_on_now_and_then() -> None:
    follower = Follower()
    follower.step("resolved")
    follower.step("uploading", done=250, after=INTERVAL_SECONDS - 0.1)
    follower.step("uploading", done=500, after=0.1)
    follower.step("uploading", done=750, after=1)
    follower.step("completed", done=1000, after=1)
    assert [(event["step"], event["bytes_done"]) for event in follower.events] == [
        ("resolved", 0),
        ("uploading", 500),
        ("completed", 1000),
    ]


def test_the_rate_is_since_the_build_began() -> None:
    follower = Follower()
    follower.clock.now += 100
    follower.step("resolved")
    follower.step("uploading", done=500, after=5)
    assert [event["rate"] for event in follower.events] == [0, 100]
    # and that of a build that starts over since it began anew
    follower.step("resolved", after=5)
    follower.step("uploading", done=250, after=5)
    assert [event["rate"] for event in follower.events] == [0, 100, 0, 50]


def test_what_is_completed_is_whole_whatever_was_counted() -> None:
    follower = Follower()
    follower.step("resolved")
    follower.step("completed", done=0, after=2)
    assert follower.events[-1] == {
        "step": "completed",
        "entries": 3,
        "bytes_done": 1000,
        "bytes_total": 1000,
        "parts_done": 4,
        "parts_total": 4,
        "rate": 500,
    }


def test_the_log_says_the_same_where_nobody_follows() -> None:
    with logged() as lines:
        ProgressReport()(Progress("resolved", entries=1, bytes_total=10))
    (line,) = lines
    assert (line["event"], line["step"], line["bytes_total"]) == ("progress", "resolved", 10)
