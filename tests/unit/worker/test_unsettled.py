"""The messages in hand: kept by their tags, and settled whatever SQS answers."""

from collections.abc import Sequence

import pytest
from botocore.exceptions import ClientError

from archiver.aws.hand_backs import HandBacks
from archiver.aws.letters import Letter
from archiver.worker.unsettled import Unsettled
from tests.support.jobs import logged
from tests.unit.worker.conftest import CREW, CREW_URL, NAME, URL, Sqs, message

AWAY = ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "away"}}, "Operation")


class Records(HandBacks):
    """Two hand-backs of each message; notes what it is asked, among the calls of SQS."""

    def __init__(self, sqs: Sqs) -> None:
        super().__init__(None)
        self._sqs = sqs
        self.read: list[str] = []

    def of(self, letter: Letter) -> int | None:
        self.read.append(letter.message_id)
        return 2

    def note(self, letters: Sequence[Letter]) -> None:
        self._sqs.calls.append(("note", {"ids": [letter.message_id for letter in letters]}))


@pytest.fixture
def sqs() -> Sqs:
    return Sqs()


@pytest.fixture
def records(sqs: Sqs) -> Records:
    return Records(sqs)


@pytest.fixture
def unsettled(sqs: Sqs, records: Records) -> Unsettled:
    """With a job's message and a chunk's."""
    clients = {NAME: sqs, CREW: sqs}
    unsettled = Unsettled(clients.__getitem__, hand_backs=records, crew=CREW)  # type: ignore[arg-type]  # a part of it
    unsettled.add(job())
    unsettled.add(chunk())
    return unsettled


def job(*, receives: int = 1) -> Letter:
    return Letter.from_message(message(1, receives=receives), URL)


def chunk(*, receives: int = 1) -> Letter:
    return Letter.from_message(message(7, receives=receives), CREW_URL)


def test_a_letter_is_settled_once(unsettled: Unsettled) -> None:
    assert unsettled.get(job().tag) == job()
    assert unsettled.pop(job().tag) == job()
    assert (unsettled.get(job().tag), unsettled.pop(job().tag)) == (None, None)
    assert (len(unsettled), unsettled.chunks) == (1, 1)


def test_chunks_may_be_settled_alone(unsettled: Unsettled) -> None:
    assert unsettled.pop_all(chunks_only=True) == [chunk()]
    assert unsettled.pop_all() == [job()]
    assert (len(unsettled), unsettled.chunks) == (0, 0)


def test_without_a_crew_there_are_no_chunks(sqs: Sqs, records: Records) -> None:
    unsettled = Unsettled(lambda _: sqs, hand_backs=records, crew=None)  # type: ignore[arg-type, return-value]
    assert not unsettled.is_chunk(chunk())


def test_hand_backs_are_looked_for_where_a_job_was_received_before(unsettled: Unsettled, records: Records) -> None:
    assert unsettled.counted(job(receives=1)).hand_backs == 0
    assert unsettled.counted(chunk(receives=2)).hand_backs == 0
    assert records.read == []
    assert unsettled.counted(job(receives=2)).hand_backs == 2
    assert records.read == ["m-1"]


def test_hand_backs_of_jobs_are_noted_before_anybody_can_receive_them(unsettled: Unsettled, sqs: Sqs) -> None:
    unsettled.show([job(), chunk()])

    assert sqs.calls[0] == ("note", {"ids": ["m-1"]})
    assert sqs.hidden == {"handle-1": 0, "handle-7": 0}


def test_a_letter_is_deleted_from_the_queue_that_it_came_by(unsettled: Unsettled, sqs: Sqs) -> None:
    assert unsettled.delete(chunk())
    assert sqs.calls == [("delete", {"QueueUrl": CREW_URL, "ReceiptHandle": "handle-7"})]


def test_what_sqs_refuses_raises_nothing(unsettled: Unsettled, sqs: Sqs) -> None:
    sqs.error = AWAY
    with logged() as lines:
        assert not unsettled.delete(job())
        unsettled.hide(job(), 30)
    warned = [line["event"] for line in lines if line["log_level"] != "debug"]
    assert warned == ["ack failed, the message will come back"]
    assert [name for name, _ in sqs.calls] == ["delete", "hide"]
