"""kombu's view of monitoring: commands, replies and events between processes, over the fake."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from kombu.asynchronous import Hub
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.messaging import Consumer, Producer
from structlog.testing import capture_logs

from archiver.monitoring import channel as module
from archiver.monitoring.channel import Transport
from archiver.monitoring.control import Mailbox
from archiver.monitoring.monitor import Monitor
from archiver.monitoring.naming import CONTROL, EVENTS
from tests.unit.monitoring.messaging import PATIENCE, Messaging, eventually, refuse, text

SOURCE = "https://sqs.eu-central-1.amazonaws.com/123456789012/source"
CELERYS_EVENTS = Exchange(EVENTS, type="topic")


class Processes:
    """Connections of several processes, each with a monitor of its own."""

    def __init__(self, messaging: Messaging) -> None:
        self._messaging = messaging
        self.monitors: dict[str, Monitor] = {}
        self._connections: list[Connection] = []

    def connect(self, name: str, *, hub: Hub | None = None) -> Connection:
        """A process's connection; one with a hub is a worker's."""
        self.monitors[name] = self._messaging.monitor()
        options = {"predefined_queues": {"source": {"url": SOURCE}}, "monitoring_prefix": name}
        connection = Connection("sqs://key:secret@", transport=Transport, transport_options=options)
        channel: Any = connection.default_channel
        channel.hub = hub
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        self._messaging.trouble = lambda operation: None
        for connection in self._connections:
            connection.close()
        for monitor in self.monitors.values():
            monitor.close()


@pytest.fixture
def processes(messaging: Messaging, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    processes = Processes(messaging)
    monkeypatch.setattr(module, "process_monitor", lambda prefix, **_: processes.monitors[prefix])
    yield processes
    processes.close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def answering(worker: Connection, **handlers: Callable[..., Any]) -> None:
    """A worker that takes commands."""
    node = Mailbox("celery", type="fanout")(worker).Node("celery@worker", channel=worker.default_channel)
    for name, handler in handlers.items():
        node.handlers[name] = lambda state, handler=handler, **arguments: handler(**arguments)
    node.listen()


def ask(asker: Connection, command: str, **arguments: Any) -> list[Any]:
    """What one worker replies."""
    mailbox = Mailbox("celery", type="fanout")(asker)
    found: list[Any] = mailbox.multi_call(command, arguments, timeout=PATIENCE, limit=1)
    return found


def run(hub: Hub, until: Callable[[], bool]) -> bool:
    """Turn the worker's event loop."""

    def turn() -> bool:
        hub.run_once()
        return until()

    return eventually(turn)


def asked(hub: Hub, question: "Future[list[Any]]") -> list[Any]:
    assert run(hub, question.done)
    return question.result()


def test_a_worker_replies_to_a_command(
    processes: Processes, messaging: Messaging, hub: Hub, background: ThreadPoolExecutor
) -> None:
    worker, asker = processes.connect("worker", hub=hub), processes.connect("asker")
    answering(worker, ping=lambda: "pong", echo=lambda text: text)
    assert run(hub, lambda: bool(messaging.subscriptions))

    assert asked(hub, background.submit(ask, asker, "ping")) == [{"celery@worker": "pong"}]
    assert asked(hub, background.submit(ask, asker, "echo", text="ü")) == [{"celery@worker": "ü"}]

    # and what was declared for the replies is forgotten
    assert not processes.monitors["asker"]._queues

    # over one queue a process, however many Celery declares
    assert set(messaging.queues) == {monitor.inbox.name for monitor in processes.monitors.values()}


def test_two_who_ask_at_once_have_their_own_replies(
    processes: Processes, messaging: Messaging, hub: Hub, background: ThreadPoolExecutor
) -> None:
    answering(processes.connect("worker", hub=hub), echo=lambda text: text)
    assert run(hub, lambda: bool(messaging.subscriptions))

    questions = [background.submit(ask, processes.connect(name), "echo", text=name) for name in ("one", "two")]

    assert [asked(hub, question) for question in questions] == [[{"celery@worker": name}] for name in ("one", "two")]


def test_a_worker_survives_what_it_can_not_handle(
    processes: Processes, messaging: Messaging, hub: Hub, background: ThreadPoolExecutor
) -> None:
    worker = processes.connect("worker", hub=hub)
    answering(worker, ping=lambda: "pong")
    assert run(hub, lambda: bool(messaging.subscriptions))

    # when somebody else publishes to the topic
    with capture_logs() as logs:
        processes.monitors["worker"].publish(CONTROL, text(CONTROL, body="no base64"))
        assert run(hub, lambda: bool(logs))

    # then
    assert [line["event"] for line in logs] == ["a monitoring message could not be handled"]
    assert asked(hub, background.submit(ask, processes.connect("asker"), "ping")) == [{"celery@worker": "pong"}]


def listen(connection: Connection, name: str, heard: list[Any]) -> Consumer:
    """What Celery's receivers of events do."""
    queue = Queue(name, exchange=CELERYS_EVENTS, routing_key="#")
    return Consumer(connection.default_channel, [queue], callbacks=[lambda body, _: heard.append(body)], no_ack=True)


def test_events_reach_all_who_listen(processes: Processes) -> None:
    # given two listeners in one process, and one that goes
    flower, worker = processes.connect("flower"), processes.connect("worker")
    first: list[Any] = []
    second: list[Any] = []
    gone: list[Any] = []
    with listen(flower, "celeryev.gone", gone):
        pass
    with listen(flower, "celeryev.1", first), listen(flower, "celeryev.2", second):
        # when
        Producer(worker.default_channel, exchange=CELERYS_EVENTS).publish(
            {"type": "task-started"}, routing_key="task.started"
        )

        # then
        for _ in range(2):
            flower.drain_events(timeout=PATIENCE)
    assert first == second == [{"type": "task-started"}]
    assert gone == []


def test_an_event_does_not_wait_where_sns_hangs(processes: Processes, messaging: Messaging) -> None:
    over = threading.Event()
    worker = processes.connect("worker")
    messaging.trouble = lambda operation: over.wait(PATIENCE)

    Producer(worker.default_channel, exchange=CELERYS_EVENTS).publish({"type": "task-started"}, routing_key="x")

    assert messaging.published == []
    over.set()


def test_a_worker_starts_where_sns_hangs(processes: Processes, messaging: Messaging, hub: Hub) -> None:
    over = threading.Event()
    messaging.trouble = lambda operation: over.wait(PATIENCE)

    answering(processes.connect("worker", hub=hub), ping=lambda: "pong")  # the test would end here

    over.set()


def test_whoever_asks_or_listens_is_told_where_sns_is_away(processes: Processes, messaging: Messaging) -> None:
    messaging.trouble = refuse
    asker = processes.connect("asker")
    mailbox = Mailbox("celery", type="fanout")(asker)

    with pytest.raises(OperationalError, match=r"monitoring needs SNS and SQS: .*ServiceUnavailable"):
        mailbox.abcast("shutdown")
    with pytest.raises(OperationalError, match="monitoring needs SNS and SQS"):
        ask(asker, "ping")


def test_the_source_queue_is_no_local_queue(processes: Processes, messaging: Messaging) -> None:
    channel: Any = processes.connect("worker").default_channel

    assert channel.queue_declare(queue="source").queue == "source"
    channel.exchange_declare("source", "direct")
    channel.queue_bind("source", "source", "source")

    assert set(channel._lookup("source", "source")) == {"source"}
    assert messaging.calls == []
