"""Looking into a queue takes nothing away, and costs each message one receive."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from archiver.aws.dead_letters import reason_of
from archiver.aws.queues import Queue
from archiver.cli.look import BATCH, HIDDEN_SECONDS, Look, look_into


@dataclass
class FakeQueue:
    """One SQS queue: messages by id, and until when each is hidden."""

    messages: dict[str, str] = field(default_factory=dict)
    hidden: dict[str, float] = field(default_factory=dict)
    receives: dict[str, int] = field(default_factory=dict)
    now: float = 0.0

    def receive_message(self, **asked: Any) -> dict[str, Any]:
        assert asked["MaxNumberOfMessages"] <= BATCH
        found = [name for name in self.messages if self.hidden.get(name, 0) <= self.now][: asked["MaxNumberOfMessages"]]
        for name in found:
            self.hidden[name] = self.now + asked["VisibilityTimeout"]
            self.receives[name] = self.receives.get(name, 0) + 1
        return {"Messages": [self._item(name) for name in found]} if found else {}

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> None:  # noqa: N803 boto3's names
        assert 1 <= len(Entries) <= BATCH
        assert len({entry["Id"] for entry in Entries}) == len(Entries)
        for entry in Entries:
            self.hidden[entry["ReceiptHandle"]] = self.now + entry["VisibilityTimeout"]

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803 boto3's names
        del self.messages[ReceiptHandle]

    def _item(self, name: str) -> dict[str, Any]:
        attributes = {"SentTimestamp": "1500", "ApproximateReceiveCount": str(self.receives[name])}
        return {"MessageId": name, "ReceiptHandle": name, "Body": self.messages[name], "Attributes": attributes}

    def visible(self) -> set[str]:
        return {name for name in self.messages if self.hidden.get(name, 0) <= self.now}


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue({f"m{number}": "{}" for number in range(25)})


def look_of(queue: FakeQueue) -> Any:
    return look_into(Queue(cast(Any, queue), "https://sqs/queue"))


def test_every_message_is_seen_once_and_shown_again(queue: FakeQueue) -> None:
    with look_of(queue) as look:
        seen = [letter.message_id for letter in look.all()]
        assert not queue.visible()

    assert seen == list(queue.messages)
    assert queue.visible() == set(queue.messages)
    assert set(queue.receives.values()) == {1}


def test_a_limit_leaves_the_rest_alone(queue: FakeQueue) -> None:
    with look_of(queue) as look:
        assert len(list(look.all(limit=12))) == 12

    assert len(queue.receives) == 12


def test_what_is_deleted_stays_away(queue: FakeQueue) -> None:
    with look_of(queue) as look:
        letter = next(look.all())
        look.delete(letter)

    assert letter.message_id not in queue.messages
    assert len(queue.visible()) == 24


def test_a_failure_shows_the_messages_again(queue: FakeQueue) -> None:
    def interrupted() -> None:
        with look_of(queue) as look:
            look.receive()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert queue.visible() == set(queue.messages)


def test_a_long_look_keeps_its_messages_hidden(queue: FakeQueue) -> None:
    look = Look(cast(Any, queue), "https://sqs/queue", clock=lambda: queue.now)
    list(look.all())
    for _ in range(10):
        queue.now += HIDDEN_SECONDS * 0.6
        assert look.receive() == []

    assert not queue.visible()
    assert set(queue.receives.values()) == {1}


def test_a_body_that_is_no_json_is_none(queue: FakeQueue) -> None:
    queue.messages = {"m": "not json"}
    with look_of(queue) as look:
        (letter,) = look.receive()

    assert letter.json() is None
    assert letter.sent_at == 1.5
    assert reason_of(letter)["code"] == "no_reason"
