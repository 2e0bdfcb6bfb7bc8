"""What Flower shows of jobs and queues; tests/integration/test_flower.py has it in a browser."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from archiver import flower
from archiver.aws.queues import Queue
from archiver.errors import QueueUnavailable
from archiver.flower import Broker, Progress, describe

MIB = 1024 * 1024
URL = "https://sqs.eu-west-1.amazonaws.com/1/input-queue"


def progress(job: str, done: int) -> dict[str, Any]:
    return {
        "type": "archive-progress",
        "uuid": job,
        "step": "uploading",
        "entries": 2,
        "bytes_done": done * MIB,
        "bytes_total": 8 * MIB,
        "parts_done": 1,
        "parts_total": 2,
        "rate": 2 * MIB,
    }


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Progress:
    """Flower's knowledge of running jobs, empty at first."""
    known = Progress()
    monkeypatch.setattr(flower, "_progress", known)
    return known


def test_a_running_job_shows_how_far_it_is(known: Progress) -> None:
    known.hear(progress("job", 2))
    known.hear(progress("job", 4))

    task = describe(SimpleNamespace(uuid="job", state="STARTED", result=None))

    assert task.result == "uploading: 50%, 4.0 MiB of 8.0 MiB, part 1 of 2, 2.0 MiB/s"


@pytest.mark.parametrize("end", ["task-succeeded", "task-failed", "task-retried", "task-revoked"])
def test_an_attempt_that_ended_is_as_far_as_nothing(known: Progress, end: str) -> None:
    known.hear(progress("job", 4))
    known.hear({"type": end, "uuid": "job"})

    assert describe(SimpleNamespace(uuid="job", state="STARTED", result=None)).result is None


def test_progress_is_that_of_a_running_job_alone(known: Progress) -> None:
    known.hear(progress("job", 4))  # of an attempt whose end was not heard

    assert describe(SimpleNamespace(uuid="job", state="RETRY", result=None)).result is None


def test_no_more_jobs_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flower, "MAX_JOBS", 2)
    known = Progress()
    for job in ("a", "b", "a", "c"):
        known.hear(progress(job, 4))

    assert [job for job in "abc" if known.of(job)] == ["a", "c"]


def test_a_result_begins_with_what_was_built(known: Progress) -> None:
    result = str({"archive": "https://cdn.example.com/key.zip", "files": 2, "size": 8 * MIB, "parts": 1})

    task = describe(SimpleNamespace(uuid="job", state="SUCCESS", result=result))

    assert task.result == "2 files, 8.0 MiB: https://cdn.example.com/key.zip"


@pytest.mark.parametrize("result", [None, "{'archive': 'https://cdn.example…", "1 file"])
def test_a_result_that_says_less_stays_as_it_is(known: Progress, result: str | None) -> None:
    assert describe(SimpleNamespace(uuid="job", state="SUCCESS", result=result)).result == result


class Sqs:
    """Counts by queue; a number in place of its counts is the status of a refusal."""

    def __init__(self, counts: dict[str, tuple[int, int, int] | None]) -> None:
        self.counts = counts

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:  # noqa: N803 boto3's
        counts = self.counts[QueueUrl]
        if counts is None:
            raise QueueUnavailable("denied")
        if AttributeNames == ["RedrivePolicy"]:
            policy = {"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:input-queue-dlq", "maxReceiveCount": 50}
            return {"Attributes": {"RedrivePolicy": json.dumps(policy)}}
        return {"Attributes": {name: str(count) for name, count in zip(AttributeNames, counts, strict=True)}}


def shown(monkeypatch: pytest.MonkeyPatch, dead_letters: tuple[int, int, int] | None) -> list[dict[str, Any]]:
    monkeypatch.setenv("SQS_SOURCE_QUEUE", URL)
    monkeypatch.setenv("S3_DESTINATION_BUCKET", "archives")
    sqs: Any = Sqs({URL: (5, 2, 1), f"{URL}-dlq": dead_letters})
    monkeypatch.setattr(flower, "open_queue", lambda url, **_: Queue(sqs, url))
    return asyncio.run(Broker("sqs://", broker_options={}).queues(["input-queue"]))


def test_the_broker_s_page_has_the_queue_and_its_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, (3, 0, 0)) == [
        {"name": "input-queue", "messages": 8, "messages_unacknowledged": 2, "messages_ready": 5},
        {"name": "input-queue-dlq", "messages": 3, "messages_unacknowledged": 0, "messages_ready": 3},
    ]


def test_who_may_not_look_at_the_dead_letters_sees_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row["name"] for row in shown(monkeypatch, None)] == ["input-queue"]
