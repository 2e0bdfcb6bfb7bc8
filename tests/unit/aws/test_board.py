"""The status of a job on its board: forward, to its end, and no trouble where S3 is."""

import json
import threading
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from archiver.archive.notification import Message
from archiver.archive.progress import Progress
from archiver.aws import board as module
from archiver.aws.board import StatusBoard
from archiver.errors import Cancelled, StorageUnavailable
from tests.support.waiting import eventually


class Objects:
    """Status objects in memory, or a bucket that is away."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []
        self.cancelled = False
        self.away = False

    def write(self, request_id: str, status: str) -> None:
        if self.away:
            raise StorageUnavailable
        assert json.loads(status)["request_id"] == request_id
        self.written.append(json.loads(status))

    def is_cancelled(self, _: str) -> bool:
        if self.away:
            raise StorageUnavailable
        return self.cancelled


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Objects:
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.01)
    return Objects()


@pytest.fixture
def board(objects: Any) -> StatusBoard:
    return StatusBoard(objects, clock=lambda: 0.0)


def progress(step: str = "uploading", done: int = 1) -> Progress:
    return Progress(step, entries=3, entries_done=1, bytes_total=10, bytes_done=done, parts_total=2, parts_done=1)


def message(status: str = "succeeded") -> Message:
    return Message(f'{{"status":"{status}","metadata":{{"price":0.10}}}}', status, "r", "news")


def test_a_status_goes_forward_and_ends_with_the_notification(board: StatusBoard, objects: Objects) -> None:
    with board.following("r", attempt=2, redelivered=True) as follower:
        assert objects.written == [
            {"request_id": "r", "state": "running", "attempt": 2, "updated_at": "1970-01-01T00:00:00Z"}
        ]
        follower(progress())
        assert eventually(lambda: len(objects.written) == 2)
        assert objects.written[1]["progress"] == {
            "step": "uploading",
            "entries": {"done": 1, "total": 3},
            "bytes": {"done": 1, "total": 10},
            "parts": {"done": 1, "total": 2},
        }
        follower(progress("completed"))
        board.send(message(), correlation_id=None)
    last = objects.written[-1]
    assert (last["state"], last["notification"]) == ("succeeded", {"status": "succeeded", "metadata": {"price": 0.10}})
    assert last["progress"]["entries"] == {"done": 3, "total": 3}


def test_nothing_is_written_over_the_end(board: StatusBoard, objects: Objects) -> None:
    with board.following("r", attempt=1, redelivered=False) as follower:
        board.send(message("failed"), correlation_id=None)
        before = len(objects.written)
        board._write("r", 1, follower)
        assert len(objects.written) == before
    assert objects.written[-1]["state"] == "failed"


def test_a_job_that_was_cancelled_before_does_not_begin(board: StatusBoard, objects: Objects) -> None:
    objects.cancelled = True
    with (
        pytest.raises(Cancelled, match="before it began"),
        board.following("r", attempt=1, redelivered=False),
    ):
        pytest.fail("it began")
    # one that has an upload is told when it builds
    with board.following("r", attempt=1, redelivered=True) as follower, pytest.raises(Cancelled):
        follower(progress("resolved"))


def test_a_running_job_is_told_at_its_next_step_unless_that_is_the_last(board: StatusBoard, objects: Objects) -> None:
    with board.following("r", attempt=1, redelivered=False) as follower:
        follower(progress())
        objects.cancelled = True
        assert eventually(lambda: follower.cancellation.asked)
        with pytest.raises(Cancelled, match="while it ran"):
            follower(progress())
        follower(progress("completed"))


def test_what_its_thread_logs_names_the_job(
    board: StatusBoard, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(module.log, "info", lambda event: told.append((event, get_contextvars())))
    with bound_contextvars(request_id="r"), board.following("r", attempt=1, redelivered=False) as follower:
        objects.cancelled = True
        assert eventually(lambda: follower.cancellation.asked)
    assert told == [("the job is to be cancelled", {"request_id": "r"})]


def test_a_bucket_that_is_away_does_not_touch_the_job(board: StatusBoard, objects: Objects) -> None:
    objects.away = True
    with board.following("r", attempt=1, redelivered=False) as follower:
        follower(progress())
        board.send(message(), correlation_id=None)
    assert objects.written == []
    assert eventually(lambda: all(thread.name != "status" for thread in threading.enumerate()))
