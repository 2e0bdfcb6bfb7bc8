"""The monitor: what arrives finds its local queues, what goes out finds its way or is dropped."""

import os
import threading
from queue import Empty

import pytest
from botocore.exceptions import ClientError
from structlog.testing import capture_logs

from archiver.errors import QueueUnavailable
from archiver.monitoring import monitor as module
from archiver.monitoring.monitor import MAX_BYTES, Monitor, process_monitor
from archiver.monitoring.naming import CONTROL, EVENTS, REPLIES, inbox_policy
from tests.unit.monitoring.messaging import NAMES, PATIENCE, Messaging, eventually, refuse, text


def bodies(monitor: Monitor, name: str) -> list[str]:
    """All that has arrived in a local queue."""
    found: list[str] = []
    while True:
        try:
            found.append(monitor.take(name)["body"])
        except Empty:
            return found


def arrival(monitor: Monitor, name: str) -> threading.Semaphore:
    """Released whenever something arrives in a local queue."""
    arrived = threading.Semaphore(0)
    monitor.on_arrival(name, arrived.release)
    return arrived


def test_a_broadcast_reaches_every_queue_that_is_bound_to_it(messaging: Messaging, monitor: Monitor) -> None:
    # given another process's monitor, too
    other = messaging.monitor()
    for one, name in ((monitor, "first"), (monitor, "second"), (other, "third")):
        one.bind(name, EVENTS, "#")
    monitor.bind("control", CONTROL, "")
    arrived = arrival(monitor, "second"), arrival(other, "third")
    for one in (monitor, other):
        one.open()

    # when
    monitor.publish(EVENTS, text(EVENTS, "worker.online", body="hello"))

    # then
    assert all(semaphore.acquire(timeout=PATIENCE) for semaphore in arrived)
    assert bodies(monitor, "first") == bodies(monitor, "second") == bodies(other, "third") == ["hello"]
    assert bodies(monitor, "control") == []
    other.close()


def test_a_reply_reaches_who_asked(messaging: Messaging, monitor: Monitor) -> None:
    worker = messaging.monitor()
    monitor.bind("mine", REPLIES, "me")
    monitor.bind("another", REPLIES, "somebody")
    arrived = arrival(monitor, "mine")
    monitor.open()

    worker.soon(worker.reply, monitor.inbox.name, text(REPLIES, "me", body="pong"))

    assert arrived.acquire(timeout=PATIENCE)
    assert bodies(monitor, "mine") == ["pong"]
    assert bodies(monitor, "another") == []
    assert messaging.subscriptions == {}  # replies need no topic
    worker.close()


def test_a_reply_to_who_has_gone_is_no_failure(messaging: Messaging, monitor: Monitor) -> None:
    monitor.reply(monitor.inbox.name, text(REPLIES))

    assert messaging.calls == ["get_queue_url"]


def test_a_reply_goes_to_an_inbox_and_to_no_other_queue(messaging: Messaging, monitor: Monitor) -> None:
    monitor.reply("the-source-queue", text(REPLIES))

    assert messaging.calls == []


def test_an_inbox_wants_the_topics_of_its_queues_alone(messaging: Messaging, monitor: Monitor) -> None:
    monitor.bind("control", CONTROL, "")
    monitor.open()

    assert messaging.subscribers == {(NAMES.topic(CONTROL), monitor.inbox.name)}


def test_taking_waits_as_long_as_it_is_told(monitor: Monitor) -> None:
    monitor.bind("queue", EVENTS, "#")

    for name in ("queue", "never heard of"):
        with pytest.raises(Empty):
            monitor.take(name)
    with pytest.raises(Empty):
        monitor.take("queue", seconds=0.01)


def test_a_forgotten_queue_has_nothing(messaging: Messaging, monitor: Monitor) -> None:
    monitor.bind("gone", EVENTS, "#")
    monitor.bind("here", EVENTS, "#")
    arrived = arrival(monitor, "here")
    monitor.open()
    monitor.forget("gone")

    monitor.publish(EVENTS, text(EVENTS))

    assert arrived.acquire(timeout=PATIENCE)
    assert bodies(monitor, "gone") == []


def test_a_reader_that_never_comes_costs_bounded_memory(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGES", 2)
    monitor.bind("lazy", EVENTS, "#")
    arrived = arrival(monitor, "lazy")
    monitor.open()

    for number in range(4):
        monitor.publish(EVENTS, text(EVENTS, body=str(number)))

    assert all(arrived.acquire(timeout=PATIENCE) for _ in range(4))
    assert bodies(monitor, "lazy") == ["0", "1"]


def test_a_message_that_no_service_takes_is_dropped_alone(messaging: Messaging, monitor: Monitor) -> None:
    with capture_logs() as logs:
        monitor.soon(monitor.publish, EVENTS, "x" * (MAX_BYTES + 1))
        monitor.soon(monitor.publish, EVENTS, "x" * MAX_BYTES)
        assert eventually(lambda: messaging.published)

    assert [len(body) for _, body in messaging.published] == [MAX_BYTES]
    assert [line["event"] for line in logs] == ["a monitoring message is too large and was dropped"]


def test_what_is_sent_soon_waits_for_nobody(messaging: Messaging, monitor: Monitor) -> None:
    over = threading.Event()
    messaging.trouble = lambda operation: over.wait(PATIENCE)

    monitor.soon(monitor.publish, EVENTS, text(EVENTS))  # the test would end here

    assert messaging.published == []
    over.set()
    assert eventually(lambda: messaging.published)


def test_what_is_sent_now_fails_now(messaging: Messaging, monitor: Monitor) -> None:
    messaging.trouble = refuse

    for call in (monitor.open, lambda: monitor.publish(CONTROL, text(CONTROL))):
        with pytest.raises(ClientError):
            call()


def test_an_answer_that_names_no_message_is_a_failure(messaging: Messaging, monitor: Monitor) -> None:
    monitor.open()
    messaging.answers_are_others = True

    with pytest.raises(QueueUnavailable, match="no MessageId"):
        monitor.publish(CONTROL, text(CONTROL))
    with pytest.raises(QueueUnavailable, match="no MessageId"):
        monitor.reply(monitor.inbox.name, text(REPLIES))


def test_a_worker_opens_without_waiting_and_sweeps_once(messaging: Messaging, monitor: Monitor) -> None:
    # given what a killed process has left
    sqs = messaging.clients().sqs
    left = NAMES.inbox(host="gone", pid=1, token="0" * 12)
    sqs.create_queue(QueueName=left, Attributes={"Policy": inbox_policy([], attended_at=0)})
    monitor.bind("control", CONTROL, "")

    # when
    monitor.open_soon()
    monitor.open_soon()

    # then
    assert eventually(lambda: left not in messaging.queues)
    assert eventually(lambda: messaging.subscribers == {(NAMES.topic(CONTROL), monitor.inbox.name)})
    assert messaging.calls.count("list_queues") == 1


def test_closing_lets_the_last_events_out_and_leaves_no_queue(messaging: Messaging, monitor: Monitor) -> None:
    monitor.bind("events", EVENTS, "#")
    monitor.open()
    monitor.soon(monitor.publish, EVENTS, text(EVENTS, body="bye"))

    monitor.close()

    assert len(messaging.published) == 1
    assert (messaging.queues, messaging.subscriptions) == ({}, {})


def test_a_process_has_one_monitor_and_a_forked_child_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_monitors", {})

    def make() -> Monitor:
        return process_monitor(prefix="fleet", source_queue="source", region=None)

    parents = make()
    assert make() is parents

    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert make() is not parents
    assert make().inbox.name != parents.inbox.name
