"""The process's inbox and outbox, and the local queues that Celery declares in front of the inbox."""

import atexit
import json
import os
import queue
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from archiver.logs import get_logger
from archiver.monitoring.clients import Clients, must_be_sent, unless_gone
from archiver.monitoring.inbox import Inbox
from archiver.monitoring.naming import Names
from archiver.monitoring.outbox import Outbox
from archiver.monitoring.sweep import sweep_quietly

log = get_logger(__name__)

#: The most that SNS and, safely, SQS take, in bytes. Source: API_Publish.
MAX_BYTES = 262_144
#: Messages that a local queue keeps for a reader that does not come.
MAX_MESSAGES = 10_000
#: What the end of the process leaves the last events, in seconds.
FLUSH_SECONDS = 2.0

#: A message as kombu makes it.
Message = dict[str, Any]


@dataclass(eq=False, slots=True)
class _LocalQueue:
    """One of Celery's queues: what it is bound to, what has arrived, and whom to tell."""

    bindings: frozenset[tuple[str, str]] = frozenset()
    messages: "queue.Queue[Message]" = field(default_factory=lambda: queue.Queue(MAX_MESSAGES))
    arrived: Callable[[], object] = lambda: None


class Monitor:
    """One a process (``process_monitor``). Each step on the local queues is atomic: the inbox's thread takes part."""

    def __init__(self, names: Names, clients: Clients) -> None:
        self.names = names
        self.clients = clients
        self.inbox = Inbox(clients, names, topics=self._topics, on_message=self._distribute)
        self._outbox = Outbox()
        self._queues: defaultdict[str, _LocalQueue] = defaultdict(_LocalQueue)

    # Local queues.

    def bind(self, name: str, exchange: str, routing_key: str) -> None:
        """Let a local queue have what is sent to an exchange: all of a broadcast, else what has its routing key."""
        self._queues[name].bindings |= {self._address(exchange, routing_key)}

    def on_arrival(self, name: str, arrived: Callable[[], object]) -> None:
        """Call ``arrived``, in the inbox's thread, whenever there is something to take."""
        self._queues[name].arrived = arrived

    def take(self, name: str, *, seconds: float = 0) -> Message:
        """The next message. Raises ``queue.Empty`` where there is none within ``seconds``."""
        if name not in self._queues:
            raise queue.Empty
        return self._queues[name].messages.get(timeout=seconds)

    def forget(self, name: str) -> None:
        """Take a local queue away, with what is in it."""
        self._queues.pop(name, None)

    def _address(self, exchange: str, routing_key: str) -> tuple[str, str]:
        return exchange, "" if self.names.topic(exchange) else routing_key

    def _topics(self) -> set[str]:
        exchanges = {exchange for local in list(self._queues.values()) for exchange, _ in local.bindings}
        return {topic for exchange in exchanges if (topic := self.names.topic(exchange))}

    def _distribute(self, text: str) -> None:
        info = json.loads(text)["properties"]["delivery_info"]
        address = self._address(info["exchange"], info["routing_key"])
        for local in list(self._queues.values()):
            if address in local.bindings:
                with suppress(queue.Full):
                    local.messages.put_nowait(json.loads(text))
                local.arrived()

    # In and out.

    def open(self) -> None:
        """Receive from now on. Raises ``ClientError`` and ``BotoCoreError``."""
        self.inbox.open()
        self.inbox.start()
        _exit_on_sigterm()

    def open_soon(self) -> None:
        """Receive as soon as it can be done, and sweep; for a worker, which must not wait or fail."""
        if self.inbox.start():
            self._outbox.put(partial(sweep_quietly, self.clients, self.names))

    def publish(self, exchange: str, text: str) -> None:
        """Send to all who listen to an exchange. Raises ``ClientError``, ``BotoCoreError`` and ``QueueUnavailable``."""
        if topic := self.names.topic(exchange):
            must_be_sent(self.clients.sns.publish(TopicArn=self.clients.topic_arn(topic), Message=text))

    def reply(self, inbox: str, text: str) -> None:
        """Send to one process, if it is still there. Raises as ``publish`` does."""
        if self.names.is_inbox(inbox) and (found := unless_gone(self.clients.sqs.get_queue_url, QueueName=inbox)):
            answer = unless_gone(self.clients.sqs.send_message, QueueUrl=found["QueueUrl"], MessageBody=text)
            if answer is not None:
                must_be_sent(answer)

    def soon(self, send: Callable[[str, str], object], to: str, text: str) -> None:
        """Have ``publish`` or ``reply`` done by the outbox: soon or never."""
        if len(text) > MAX_BYTES:
            log.warning("a monitoring message is too large and was dropped", bytes=len(text))
        else:
            self._outbox.put(partial(send, to, text))

    def close(self) -> None:
        """Let the last events go out, and leave no queue behind."""
        self._outbox.flush(FLUSH_SECONDS)
        self.inbox.close()


def _exit_on_sigterm() -> None:
    """Make SIGTERM an ordinary end, with its clean-up, in a program that has no handler of its own."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


#: By process id: a forked child has none of its own, since threads and sockets stay with its parent.
_monitors: dict[int, Monitor] = {}


def process_monitor(*, prefix: str, source_queue: str, region: str | None) -> Monitor:
    """The monitor of this process, made at the first call with these values; makes no request."""
    known = _monitors.get(os.getpid())
    return known or _monitors.setdefault(os.getpid(), Monitor(Names(prefix), Clients(source_queue, region)))


@atexit.register
def _close() -> None:
    if os.getpid() in _monitors:
        _monitors[os.getpid()].close()
