"""The crew's queue beside the source queue: jobs first, and no message of it is ever in the way of a job."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from archiver.aws.hand_backs import HandBacks
from archiver.worker.envelope import CHUNK_TASK
from archiver.worker.invitations import MOST_RECEIVES
from archiver.worker.poller import BUSY_SECONDS
from archiver.worker.turns import SETTLED_SECONDS
from tests.support.jobs import logged
from tests.unit.worker.conftest import CREW, CREW_URL, NAME, Consumer, message
from tests.unit.worker.test_invitations import INVITATION

Connect = Callable[..., Consumer]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock that polls are timed by; the test moves it."""
    now = [5_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def consumer(connect: Connect, clock: list[float]) -> Consumer:
    """One with two slots, whose polls for jobs and for chunks are out."""
    return idle(connect(crew=True), clock)


def idle(consumer: Consumer, clock: list[float]) -> Consumer:
    consumer.loop.turn()
    assert (len(consumer.polls.started), consumer.chunk_polls.started) == (1, [])
    clock[0] += 2 * SETTLED_SECONDS
    consumer.loop.turn()
    assert len(consumer.chunk_polls.started) == 1
    return consumer


def invitation(number: int = 7, *, receives: int = 1, body: str | None = None) -> dict[str, Any]:
    return message(number, receives=receives) | {"Body": body or INVITATION.model_dump_json()}


def tasks(consumer: Consumer) -> list[str]:
    return [taken.headers["task"] for taken in consumer.taken]


def test_chunks_are_asked_for_once_no_job_waits(consumer: Consumer) -> None:
    (poll,) = consumer.chunk_polls.started
    assert (poll["url"], poll["count"], poll["hide_seconds"]) == (CREW_URL, 1, 120)


def test_while_a_job_may_wait_no_chunk_is_asked_for(connect: Connect, clock: list[float]) -> None:
    # given a worker of four slots whose polls bring job after job
    consumer = connect(crew=True, slots=4)
    consumer.loop.turn()
    for number in range(3):
        consumer.polls.end(message(number))
        clock[0] += SETTLED_SECONDS / 2
        consumer.loop.turn()
    assert consumer.chunk_polls.started == []
    # when none comes any more
    clock[0] += 2 * SETTLED_SECONDS
    consumer.loop.turn()
    # then one slot is left, which is for jobs or, since these are jobs that run, for a chunk
    assert [poll["count"] for poll in consumer.chunk_polls.started] == [1]


def test_a_chunk_is_a_call_of_its_own_and_leaves_a_slot_to_jobs(consumer: Consumer, clock: list[float]) -> None:
    consumer.chunk_polls.end(invitation())

    assert tasks(consumer) == [CHUNK_TASK]
    # no further chunk, however long no job comes
    for _ in range(3):
        clock[0] += 1
        consumer.loop.turn()
    assert len(consumer.chunk_polls.started) == 1
    # but a job
    consumer.polls.end(message(1))
    assert tasks(consumer) == [CHUNK_TASK, "archiver.build_archive"]


def test_a_worker_of_one_slot_takes_chunks_one_by_one(connect: Connect, clock: list[float]) -> None:
    consumer = idle(connect(crew=True, slots=1), clock)
    consumer.chunk_polls.end(invitation())
    consumer.loop.turn()
    assert len(consumer.chunk_polls.started) == 1

    # when it is done, and the poll for jobs is still out
    clock[0] += 10
    consumer.channel.basic_ack(consumer.taken[0].delivery_tag)
    consumer.loop.turn()

    # then the next one is asked for at once
    assert len(consumer.chunk_polls.started) == 2


def test_a_worker_of_one_slot_that_was_busy_looks_for_jobs_first(connect: Connect, clock: list[float]) -> None:
    # given a worker whose poll for jobs ended while its slot had a chunk
    consumer = idle(connect(crew=True, slots=1), clock)
    consumer.chunk_polls.end(invitation())
    consumer.polls.end()
    consumer.loop.turn()
    clock[0] += 10
    # when the chunk is done
    consumer.channel.basic_ack(consumer.taken[0].delivery_tag)
    consumer.loop.turn()
    # then it asks for jobs, and only a moment later for chunks
    assert (len(consumer.polls.started), len(consumer.chunk_polls.started)) == (2, 1)
    clock[0] += 2 * SETTLED_SECONDS
    consumer.loop.turn()
    assert len(consumer.chunk_polls.started) == 2


def test_a_chunk_without_a_slot_is_shown_again_at_once(consumer: Consumer) -> None:
    consumer.polls.end(message(1), message(2))

    consumer.chunk_polls.end(invitation())

    assert CHUNK_TASK not in tasks(consumer)
    assert consumer.sqs.hidden == {"handle-7": 0}


@pytest.mark.parametrize(
    "bad", [invitation(body="{}"), invitation(body="\ud800"), invitation(receives=MOST_RECEIVES + 1)],
    ids=["no invitation", "no text", "received too often"],
)  # fmt: skip
def test_what_is_no_invitation_is_taken_off_the_queue(bad: dict[str, Any], consumer: Consumer) -> None:
    with logged() as lines:
        consumer.chunk_polls.end(bad)

    assert consumer.taken == []
    assert ("delete", {"QueueUrl": CREW_URL, "ReceiptHandle": "handle-7"}) in consumer.sqs.calls
    assert [line["event"] for line in lines] == ["an invitation is dropped"]


def test_a_chunk_is_acked_on_its_own_queue(consumer: Consumer) -> None:
    consumer.chunk_polls.end(invitation())
    consumer.liveness.unlink(missing_ok=True)

    consumer.channel.basic_ack(consumer.taken[0].delivery_tag)

    assert consumer.sqs.calls[-1] == ("delete", {"QueueUrl": CREW_URL, "ReceiptHandle": "handle-7"})
    assert consumer.channel.unsettled == 0
    # of a worker that gets no jobs any more it is no sign of life
    assert not consumer.liveness.exists()


def test_a_chunk_has_no_attempts(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(*_: object) -> None:
        raise AssertionError("a chunk's hand-backs are nobody's business")

    monkeypatch.setattr(HandBacks, "of", noted)
    consumer.chunk_polls.end(invitation(receives=MOST_RECEIVES))
    tag = consumer.taken[0].delivery_tag

    assert not consumer.channel.is_last_attempt(tag)
    consumer.channel.basic_reject(tag, requeue=True)

    assert consumer.sqs.hidden == {"handle-7": 0}
    assert consumer.channel.unsettled == 0


def test_the_drain_hands_chunks_back_first(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[Any] = []
    monkeypatch.setattr(HandBacks, "note", lambda self, letters: noted.extend(letters))
    consumer.chunk_polls.end(invitation())
    consumer.polls.end(message(1))

    assert consumer.channel.hand_back(chunks_only=True) == 1
    assert (consumer.channel.unsettled, consumer.sqs.hidden, noted) == (1, {"handle-7": 0}, [])
    assert consumer.channel.hand_back() == 1
    assert [letter.message_id for letter in noted] == ["m-1"]


def test_a_missing_crew_queue_is_one_warning_and_no_matter_of_jobs(consumer: Consumer, clock: list[float]) -> None:
    with logged() as lines:
        for _ in range(4):
            consumer.chunk_polls.end(error="HTTP 400", code="QueueDoesNotExist")
            clock[0] += 60
            consumer.loop.turn()
        consumer.polls.end(message(1))

    warnings = [line["queue"] for line in lines if line["log_level"] == "warning"]
    assert warnings == [CREW]
    assert len(consumer.taken) == 1


def test_a_failing_source_queue_is_not_asked_more_often_for_the_crews_sake(
    consumer: Consumer, clock: list[float]
) -> None:
    consumer.chunk_polls.end()
    consumer.polls.end(error="HTTP 500")
    for timer in [timer for timer in consumer.loop.timers if timer.seconds > BUSY_SECONDS]:
        consumer.loop.timers.remove(timer)  # the pause

    for _ in range(5):
        consumer.loop.turn()
        clock[0] += BUSY_SECONDS

    assert len(consumer.polls.started) == 1
    assert len(consumer.chunk_polls.started) == 1


def test_events_of_a_chunk_name_its_job(consumer: Consumer) -> None:
    consumer.chunk_polls.end(invitation())

    headers = consumer.taken[0].headers
    assert (headers["root_id"], headers["parent_id"], headers["id"]) == ("job-1", "job-1", "m-7")
    assert json.loads(consumer.taken[0].body)[0] == [INVITATION.model_dump_json()]
    assert consumer.taken[0].delivery_info["routing_key"] == CREW != NAME
