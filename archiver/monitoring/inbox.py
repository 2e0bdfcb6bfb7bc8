"""What comes in: the one queue of this process, subscribed to the topics it wants, and the thread that reads it."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from archiver.monitoring.clients import POLL_SECONDS, Clients, no_such_queue
from archiver.monitoring.naming import Names, inbox_policy, queue_arn

log = structlog.get_logger(__name__)

#: A message that nobody took in this time is of no use, in seconds.
RETENTION_SECONDS = 300
#: Between two signs of life of an inbox's owner, in seconds; what sweeps inboxes waits for several of them.
RENEW_SECONDS = 240.0
#: SQS wants that long before a new queue is used, in seconds. Source: API_CreateQueue.
SETTLE_SECONDS = 1.0
#: Within this time a queue that SQS does not know is a new one rather than a deleted one, in seconds.
YOUNG_SECONDS = 60.0
#: The longest pause after failures, in seconds.
MAX_PAUSE_SECONDS = 30.0
#: What closing leaves a call that is under way, in seconds.
CLOSE_SECONDS = 3.0


class Inbox:
    """The queue exists from ``open`` (or a little after ``start``) to ``close``; ``on_message`` gets each body."""

    def __init__(self, clients: Clients, names: Names, *, on_message: Callable[[str], None]) -> None:
        self._clients = clients
        self._names = names
        self._on_message = on_message
        self.name = self._new_name()
        self._url: str | None = None
        self._created_at = 0.0
        self._renewed_at = 0.0
        self._wanted: set[str] = set()
        self._subscriptions: dict[str, str] = {}  # topic -> ARN of the subscription
        self._topic_arns: dict[str, str] = {}
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def want(self, topic: str) -> None:
        """Receive what is sent to a topic, too, from the next ``open`` or turn of the thread on."""
        self._wanted.add(topic)

    def open(self) -> None:
        """Create and subscribe what is missing, now. Raises ``ClientError`` and ``BotoCoreError``."""
        with self._lock:
            if self._closed.is_set():
                return
            if self._url is None:
                self._url = self._create()
            for topic in sorted(self._wanted - self._subscriptions.keys()):
                self._subscriptions[topic] = self._subscribe(topic)

    def start(self, first: Callable[[], object] = lambda: None) -> None:
        """Receive in a thread, which also opens the inbox, as often as it takes; ``first`` runs there once before."""
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, args=(first,), name="monitoring-inbox", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Unsubscribe and delete the queue; what fails here is left to the sweep."""
        self._closed.set()
        if not self._lock.acquire(timeout=CLOSE_SECONDS):
            return
        try:
            with suppress(ClientError, BotoCoreError):
                for arn in self._subscriptions.values():
                    self._clients.sns.unsubscribe(SubscriptionArn=arn)
            with suppress(ClientError, BotoCoreError):
                if self._url is not None:
                    self._clients.sqs.delete_queue(QueueUrl=self._url)
            self._url, self._subscriptions = None, {}
        finally:
            self._lock.release()

    def topic_arn(self, topic: str) -> str:
        """The ARN of a topic, which is created where it does not exist: CreateTopic is idempotent."""
        if topic not in self._topic_arns:
            self._topic_arns[topic] = self._clients.sns.create_topic(Name=topic)["TopicArn"]
        return self._topic_arns[topic]

    # The queue's life.

    def _new_name(self) -> str:
        return self._names.inbox(host=socket.gethostname(), pid=os.getpid(), token=secrets.token_hex(6))

    def _policy(self) -> str:
        return inbox_policy([self.topic_arn(topic) for topic in self._names.topics], attended_at=time.time())

    def _create(self) -> str:
        answer = self._clients.sqs.create_queue(
            QueueName=self.name,
            Attributes={
                "MessageRetentionPeriod": str(RETENTION_SECONDS),
                "VisibilityTimeout": "30",
                "Policy": self._policy(),
            },
        )
        self._created_at = self._renewed_at = time.monotonic()
        self._closed.wait(SETTLE_SECONDS)
        return answer["QueueUrl"]

    def _subscribe(self, topic: str) -> str:
        arn = self.topic_arn(topic)
        answer = self._clients.sns.subscribe(
            TopicArn=arn,
            Protocol="sqs",
            Endpoint=queue_arn(arn, self.name),
            Attributes={"RawMessageDelivery": "true"},
            ReturnSubscriptionArn=True,
        )
        return str(answer["SubscriptionArn"])

    def _renew(self) -> None:
        """Say that the owner is there, and subscribe again what a mistaken sweep may have taken away."""
        if self._url is None or time.monotonic() - self._renewed_at < RENEW_SECONDS:
            return
        self._renewed_at = time.monotonic()
        self._clients.sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": self._policy()})
        for topic in self._subscriptions:
            self._subscriptions[topic] = self._subscribe(topic)

    def _forget(self) -> None:
        """The queue has been deleted by somebody: the next turn makes another one."""
        log.warning("the monitoring's inbox was deleted, opening another one", queue=self.name)
        with self._lock:
            self.name = self._new_name()
            self._url, self._subscriptions = None, {}

    # The thread.

    def _run(self, first: Callable[[], object]) -> None:
        failures = 0
        while not self._closed.is_set():
            try:
                self.open()
                if first is not _done:
                    first, once = _done, first
                    once()
                self._renew()
                self._receive()
            except Exception as error:
                if self._closed.is_set():
                    return
                if no_such_queue(error) and time.monotonic() - self._created_at > YOUNG_SECONDS:
                    self._forget()
                    continue
                if not failures:  # one line for an outage
                    log.warning("monitoring can't receive, going on trying", error=repr(error))
                failures += 1
                self._closed.wait(min(MAX_PAUSE_SECONDS, 2.0 ** min(failures - 1, 5)))
            else:
                if failures:
                    log.info("monitoring receives again")
                failures = 0

    def _receive(self) -> None:
        url = self._url
        if url is None:
            return
        answer = self._clients.polling.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=POLL_SECONDS
        )
        messages = answer.get("Messages", [])
        for message in messages:
            try:
                self._on_message(message["Body"])
            except Exception as error:
                log.warning("a monitoring message could not be read", error=repr(error))
        if messages and not self._closed.is_set():
            self._clients.sqs.delete_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                    for index, message in enumerate(messages)
                ],
            )


def _done() -> None:
    """What is to be done first has been done."""
