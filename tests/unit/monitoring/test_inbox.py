"""The inbox: one queue from its opening to its closing, through outages, sweeps and unreadable messages."""

import threading
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from structlog.testing import capture_logs

from archiver.monitoring import inbox as module
from archiver.monitoring.inbox import RENEW_SECONDS, YOUNG_SECONDS, Inbox
from archiver.monitoring.naming import attended_at
from tests.unit.monitoring.messaging import NAMES, PATIENCE, Clock, Messaging, eventually, refuse

EVENTS, CONTROL = NAMES.topics


class Reader:
    """Whose inbox it is: wants topics, gets bodies; refuses to read "bad"."""

    def __init__(self) -> None:
        self.topics = {CONTROL}
        self.read: list[str] = []

    def on_message(self, body: str) -> None:
        if body == "bad":
            raise ValueError(body)
        self.read.append(body)


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox(messaging: Messaging, reader: Reader, clock: Clock) -> Iterator[Inbox]:
    inbox = Inbox(messaging.clients(), NAMES, topics=lambda: reader.topics, on_message=reader.on_message, clock=clock)
    yield inbox
    messaging.trouble = lambda operation: None
    inbox.close()


def publish(messaging: Messaging, topic: str, body: str) -> None:
    clients = messaging.clients()
    clients.sns.publish(TopicArn=clients.topic_arn(topic), Message=body)


def test_nothing_exists_before_it_is_opened(messaging: Messaging, inbox: Inbox) -> None:
    assert NAMES.is_inbox(inbox.name)
    assert messaging.calls == []


def test_it_receives_what_is_sent_to_the_topics_that_are_wanted(
    messaging: Messaging, inbox: Inbox, reader: Reader
) -> None:
    inbox.open()
    assert inbox.start()

    publish(messaging, EVENTS, "unwanted")
    publish(messaging, CONTROL, "wanted")

    assert eventually(lambda: reader.read == ["wanted"])
    queue = messaging.queues[inbox.name]
    assert eventually(lambda: not queue.visible and not queue.hidden)  # deleted once read


def test_a_topic_that_is_wanted_later_is_subscribed_at_the_next_opening(
    messaging: Messaging, inbox: Inbox, reader: Reader
) -> None:
    inbox.open()
    reader.topics = {CONTROL, EVENTS}

    inbox.open()

    assert messaging.subscribers == {(CONTROL, inbox.name), (EVENTS, inbox.name)}
    assert messaging.calls.count("create_queue") == 1
    assert messaging.calls.count("subscribe") == 2


def test_opening_says_what_fails(messaging: Messaging, inbox: Inbox) -> None:
    messaging.trouble = refuse

    with pytest.raises(ClientError, match="ServiceUnavailable"):
        inbox.open()


def test_a_started_inbox_opens_as_soon_as_it_can_be_done(messaging: Messaging, inbox: Inbox, reader: Reader) -> None:
    # given an outage of which one line tells
    messaging.trouble = refuse
    with capture_logs() as logs:
        inbox.start()
        assert eventually(lambda: len(messaging.calls) >= 3)

        # when it is over
        messaging.trouble = lambda operation: None

        # then
        assert eventually(lambda: messaging.subscribers == {(CONTROL, inbox.name)})
        publish(messaging, CONTROL, "hello")
        assert eventually(lambda: reader.read == ["hello"])
        assert eventually(lambda: len(logs) == 2)
    assert [line["event"] for line in logs] == [
        "monitoring can't receive, going on trying",
        "monitoring receives again",
    ]


def test_there_is_one_thread(inbox: Inbox) -> None:
    assert inbox.start()
    assert not inbox.start()


def test_a_message_that_nobody_can_read_is_taken_away(messaging: Messaging, inbox: Inbox, reader: Reader) -> None:
    inbox.open()
    inbox.start()

    publish(messaging, CONTROL, "bad")
    publish(messaging, CONTROL, "good")

    assert eventually(lambda: reader.read == ["good"])
    queue = messaging.queues[inbox.name]
    assert eventually(lambda: not queue.visible and not queue.hidden)


def test_its_owner_gives_a_sign_of_life(
    messaging: Messaging, inbox: Inbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen() -> float | None:
        return attended_at(messaging.queues[inbox.name].attributes["Policy"])

    monkeypatch.setattr("archiver.monitoring.inbox.time.time", lambda: 1_000.0)
    inbox.open()
    monkeypatch.setattr("archiver.monitoring.inbox.time.time", lambda: 2_000.0)

    # not at every turn
    clock.now += RENEW_SECONDS - 1
    inbox.open()
    assert seen() == 1_000

    # and with it comes back what a mistaken sweep has ended
    messaging.subscriptions.clear()
    clock.now += 1
    inbox.open()
    assert seen() == 2_000
    assert messaging.subscribers == {(CONTROL, inbox.name)}


def test_a_queue_that_was_swept_has_a_successor_of_another_name(
    messaging: Messaging, inbox: Inbox, reader: Reader, clock: Clock
) -> None:
    inbox.open()
    swept = inbox.name
    clock.now += YOUNG_SECONDS + 1
    inbox.start()

    messaging.clients().sqs.delete_queue(QueueUrl=f"https://sqs/{swept}")

    assert eventually(lambda: inbox.name != swept and (CONTROL, inbox.name) in messaging.subscribers)
    publish(messaging, CONTROL, "hello")
    assert eventually(lambda: reader.read == ["hello"])


def test_a_new_queue_that_is_not_known_everywhere_yet_stays(messaging: Messaging, inbox: Inbox, reader: Reader) -> None:
    # given a queue that SQS does not know for its first polls
    inbox.open()
    queue = messaging.queues.pop(inbox.name)
    inbox.start()
    polls = messaging.calls.count
    assert eventually(lambda: polls("receive_message") >= 2)

    # when it does
    messaging.queues[inbox.name] = queue
    publish(messaging, CONTROL, "hello")

    # then it was the only one
    assert eventually(lambda: reader.read == ["hello"])
    assert messaging.calls.count("create_queue") == 1


def test_closing_leaves_nothing_and_is_for_good(messaging: Messaging, inbox: Inbox) -> None:
    inbox.open()
    inbox.start()

    with capture_logs() as logs:
        inbox.close()
        inbox.open()

    assert (messaging.queues, messaging.subscriptions) == ({}, {})
    assert not inbox.start()
    assert logs == []


def test_closing_in_an_outage_is_left_to_the_sweep(messaging: Messaging, inbox: Inbox) -> None:
    inbox.open()
    messaging.trouble = refuse

    inbox.close()

    assert inbox.name in messaging.queues


def test_closing_does_not_wait_for_a_call_that_hangs(
    messaging: Messaging, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.01)
    hanging, over = threading.Event(), threading.Event()

    def hang(_: str) -> None:
        hanging.set()
        over.wait(PATIENCE)

    messaging.trouble = hang
    inbox.start()
    assert hanging.wait(PATIENCE)

    inbox.close()  # the suite's limit for a test would end it

    assert not over.is_set()
    over.set()


def test_two_inboxes_of_a_process_have_two_names(messaging: Messaging, reader: Reader) -> None:
    first, second = (
        Inbox(messaging.clients(), NAMES, topics=lambda: reader.topics, on_message=reader.on_message) for _ in range(2)
    )

    assert first.name != second.name
