"""What comes in: the one queue of this process, subscribed to the topics it wants, and the thread that reads it."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from archiver.aws.queues import no_such_queue
from archiver.logs import get_logger
from archiver.monitoring.clients import POLL_SECONDS, Clients
from archiver.monitoring.naming import Names, inbox_policy, queue_arn

log = get_logger(__name__)

#: A message that nobody took in this time is of no use, in seconds.
RETENTION_SECONDS = 300
#: Between two signs of life of an inbox's owner, in seconds; what sweeps inboxes waits for several of them.
RENEW_SECONDS = 240.0
#: SQS wants that long before a new queue is used, in seconds. Source: API_CreateQueue.
SETTLE_SECONDS = 1.0
#: Within this time a queue that SQS does not know is a new one rather than a deleted one, in seconds.
YOUNG_SECONDS = 60.0
#: The pause after a failure, in seconds.
PAUSE_SECONDS = 10.0
#: What closing leaves a call that is under way, in seconds.
CLOSE_SECONDS = 3.0


class Inbox:
    """The queue exists from ``open`` (or a little after ``start``) to ``close``.

    ``topics`` says what to receive, whenever it is asked; ``on_message`` gets each body in the inbox's thread.
    """

    def __init__(
        self,
        clients: Clients,
        names: Names,
        *,
        topics: Callable[[], set[str]],
        on_message: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients, self._names, self._topics, self._on_message = clients, names, topics, on_message
        self._clock = clock
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen_at = 0.0
        self._reset()

    def _reset(self) -> None:
        """Have no queue, and a new name for the next one."""
        with self._lock:
            self.name = self._names.inbox(host=socket.gethostname(), pid=os.getpid(), token=secrets.token_hex(6))
            self._url: str | None = None
            self._subscriptions: dict[str, str] = {}  # topic -> ARN of the subscription

    def open(self) -> None:
        """Create, renew and subscribe what is due, now. Raises ``ClientError`` and ``BotoCoreError``."""
        with self._lock:
            if self._closed.is_set():
                return
            if self._url is None:
                attributes: Any = {"MessageRetentionPeriod": str(RETENTION_SECONDS), "Policy": self._policy()}
                self._url = self._clients.sqs.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]
                self._seen_at = self._clock()
                self._closed.wait(SETTLE_SECONDS)
            elif self._clock() - self._seen_at >= RENEW_SECONDS:
                self._clients.sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": self._policy()})
                self._seen_at = self._clock()
                self._subscriptions = {}  # a mistaken sweep may have ended them
            for topic in sorted(self._topics() - self._subscriptions.keys()):
                self._subscriptions[topic] = self._subscribe(topic)

    def start(self) -> bool:
        """Receive in a thread, which also opens the inbox, as often as it takes; False where it runs already."""
        with self._lock:
            if self._thread is not None or self._closed.is_set():
                return False
            self._thread = threading.Thread(target=self._run, name="monitoring-inbox", daemon=True)
            self._thread.start()
            return True

    def close(self) -> None:
        """Unsubscribe and delete the queue, for good; what fails here is left to the sweep."""
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
        finally:
            self._lock.release()

    def _policy(self) -> str:
        topics = [self._clients.topic_arn(topic) for topic in self._names.topics]
        return inbox_policy(topics, attended_at=time.time())

    def _subscribe(self, topic: str) -> str:
        arn = self._clients.topic_arn(topic)
        answer = self._clients.sns.subscribe(
            TopicArn=arn,
            Protocol="sqs",
            Endpoint=queue_arn(arn, self.name),
            Attributes={"RawMessageDelivery": "true"},
            ReturnSubscriptionArn=True,
        )
        return str(answer["SubscriptionArn"])

    # The thread.

    def _run(self) -> None:
        failing = False
        while not self._closed.is_set():
            try:
                self.open()
                self._receive()
            except Exception as error:
                if self._closed.is_set():
                    return
                if no_such_queue(error) and self._clock() - self._seen_at > YOUNG_SECONDS:
                    log.warning("the monitoring's inbox was deleted, opening another one", queue=self.name)
                    self._reset()
                    continue
                if not failing:  # one line for an outage
                    log.warning("monitoring can't receive, going on trying", error=repr(error))
                failing = True
                self._closed.wait(PAUSE_SECONDS)
            else:
                if failing:
                    log.info("monitoring receives again")
                failing = False

    def _receive(self) -> None:
        if (url := self._url) is None:
            return
        receive = self._clients.polling.receive_message
        messages = receive(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=POLL_SECONDS).get("Messages", [])
        for message in messages:
            try:
                self._on_message(message["Body"])
            except Exception as error:
                log.warning("a monitoring message could not be read", error=repr(error))
        if messages and not self._closed.is_set():
            handles = enumerate(message["ReceiptHandle"] for message in messages)
            entries: Any = [{"Id": str(index), "ReceiptHandle": handle} for index, handle in handles]
            self._clients.sqs.delete_message_batch(QueueUrl=url, Entries=entries)
