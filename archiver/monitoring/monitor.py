"""The process's inbox and outbox, and the local queues that Celery declares in front of the inbox."""

import atexit
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

import structlog
from botocore.exceptions import ClientError

from archiver.monitoring.clients import Clients, no_such_queue
from archiver.monitoring.inbox import Inbox
from archiver.monitoring.naming import Names
from archiver.monitoring.outbox import Letter, Outbox

log = structlog.get_logger(__name__)

#: The most that SNS and, safely, SQS take, in bytes. Source: API_Publish.
MAX_BYTES = 262_144
#: Messages that a local queue keeps for a reader that does not come.
MAX_MESSAGES = 10_000
#: What the end of the process leaves the last events, in seconds.
FLUSH_SECONDS = 2.0


@dataclass(eq=False, slots=True)
class _LocalQueue:
    """One of Celery's queues: what it is bound to, what has arrived, and whom to tell."""

    bindings: set[tuple[str, str]] = field(default_factory=set)
    messages: "queue.Queue[str]" = field(default_factory=lambda: queue.Queue(MAX_MESSAGES))
    arrived: Callable[[], object] = lambda: None


class Monitor:
    """One a process. Bodies are kombu messages as JSON text, base64 inside."""

    def __init__(self, *, prefix: str, source_queue: str, region: str | None) -> None:
        self.names = Names(prefix)
        self.clients = Clients(source_queue, region)
        self._outbox = Outbox(self._send)
        self._queues: dict[str, _LocalQueue] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self.inbox = self._new_inbox()

    def _new_inbox(self) -> Inbox:
        return Inbox(self.clients, self.names, on_message=self._distribute)

    # Local queues.

    def declare(self, name: str) -> None:
        """Make a local queue where there is none of that name."""
        with self._lock:
            self._queues.setdefault(name, _LocalQueue())

    def bind(self, name: str, exchange: str, routing_key: str) -> None:
        """Let a local queue have what is sent to an exchange: all of a broadcast, else what has its routing key."""
        self.declare(name)
        topic = self.names.topic(exchange)
        self._queues[name].bindings.add((exchange, "" if topic else routing_key))
        if topic:
            self.inbox.want(topic)

    def on_arrival(self, name: str, arrived: Callable[[], object]) -> None:
        """Call ``arrived``, in the inbox's thread, whenever there is something to take."""
        self.declare(name)
        self._queues[name].arrived = arrived

    def take(self, name: str, *, seconds: float = 0) -> dict[str, Any]:
        """The next message. Raises ``queue.Empty`` where there is none within ``seconds``."""
        local = self._queues.get(name)
        if local is None:
            raise Empty
        text = local.messages.get(timeout=seconds) if seconds else local.messages.get_nowait()
        message: dict[str, Any] = json.loads(text)
        return message

    def forget(self, name: str) -> None:
        """Take a local queue away, with what is in it."""
        with self._lock:
            self._queues.pop(name, None)

    def _distribute(self, text: str) -> None:
        info = json.loads(text)["properties"]["delivery_info"]
        exchange, routing_key = info["exchange"], info["routing_key"]
        address = exchange, "" if self.names.topic(exchange) else routing_key
        with self._lock:
            found = [local for local in self._queues.values() if address in local.bindings]
        for local in found:
            with suppress(queue.Full):
                local.messages.put_nowait(text)
            local.arrived()

    # In and out.

    def open(self) -> None:
        """Receive from now on. Raises ``ClientError`` and ``BotoCoreError``."""
        self.inbox.open()
        self.inbox.start()
        _exit_on_sigterm()

    def open_later(self, first: Callable[[], object]) -> None:
        """Receive as soon as it can be done, after ``first``; for whoever must not wait or fail."""
        self.inbox.start(first)

    def close_if_idle(self) -> None:
        """Delete the inbox where no local queue is left; a later one opens another."""
        if not self._queues:
            self.inbox.close()
            self.inbox = self._new_inbox()

    def publish(self, exchange: str, body: str) -> None:
        """Send to all who listen to an exchange, soon or never."""
        self._put(Letter(body, topic=self.names.topic(exchange)))

    def publish_now(self, exchange: str, body: str) -> None:
        """Send to all who listen to an exchange. Raises ``ClientError`` and ``BotoCoreError``."""
        self._send(Letter(body, topic=self.names.topic(exchange)))

    def reply(self, inbox: str, body: str) -> None:
        """Send to one process, soon or never."""
        if self.names.is_inbox(inbox):
            self._put(Letter(body, inbox=inbox))

    def close(self) -> None:
        """Let the last events go out, and leave no queue behind."""
        if os.getpid() == self._pid:
            self._outbox.flush(FLUSH_SECONDS)
            self.inbox.close()

    def _put(self, letter: Letter) -> None:
        if len(letter.body) > MAX_BYTES:
            log.warning("a monitoring message is too large and was dropped", bytes=len(letter.body))
        else:
            self._outbox.put(letter)

    def _send(self, letter: Letter) -> None:
        if letter.topic is not None:
            self.clients.sns.publish(TopicArn=self.inbox.topic_arn(letter.topic), Message=letter.body)
        elif letter.inbox is not None:
            try:
                url = self.clients.sqs.get_queue_url(QueueName=letter.inbox)["QueueUrl"]
                self.clients.sqs.send_message(QueueUrl=url, MessageBody=letter.body)
            except ClientError as error:
                if not no_such_queue(error):
                    raise
                log.debug("nobody waits for a reply any more", inbox=letter.inbox)


def _exit_on_sigterm() -> None:
    """Make SIGTERM an ordinary end, with its clean-up, in a program that has no handler of its own."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class _Process:
    """This process's monitor. A forked child starts with none: threads and sockets stay with its parent."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._monitor: Monitor | None = None

    def monitor(self, *, prefix: str, source_queue: str, region: str | None) -> Monitor:
        with self._lock:
            if self._monitor is None:
                self._monitor = Monitor(prefix=prefix, source_queue=source_queue, region=region)
                atexit.register(self._monitor.close)
            return self._monitor


_process = _Process()


def process_monitor(*, prefix: str, source_queue: str, region: str | None) -> Monitor:
    """The monitor of this process, made at the first call with these values; makes no request."""
    return _process.monitor(prefix=prefix, source_queue=source_queue, region=region)
