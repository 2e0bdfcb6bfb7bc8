"""The harness's patience with polls whose worker is gone."""

from types import SimpleNamespace

import pytest

from devtools import polls


def test_who_sends_waits_for_what_was_left_behind_once_and_on_that_queue_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(polls, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=slept.append))

    polls.left_behind("jobs", seconds=2)
    clock.now += 0.5
    polls.await_the_last("http://127.0.0.1:4566/queue/us-east-1/000000000000/others")
    polls.await_the_last("http://127.0.0.1:4566/queue/us-east-1/000000000000/jobs")
    polls.await_the_last("jobs")
    polls.left_behind("jobs", seconds=2)
    clock.now += 3
    polls.await_the_last("jobs")

    assert slept == [1.5]
