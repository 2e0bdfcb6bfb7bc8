"""SNS and SQS in memory, as far as monitoring asks them: topics, subscriptions, queues, long polls."""

# ruff: noqa: N803 arguments have boto3's names

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from archiver.monitoring.clients import Clients
from archiver.monitoring.monitor import Monitor
from archiver.monitoring.naming import Names
from devtools.processes import wait_until

NAMES = Names("fleet")
#: What no test should ever need, in seconds.
PATIENCE = 30.0
_ARN = "arn:aws:{}:eu-central-1:123456789012:{}"


@dataclass
class Queue:
    """A queue of the fake; what was received stays hidden until it is deleted."""

    attributes: dict[str, str]
    visible: list[str] = field(default_factory=list)
    hidden: dict[str, str] = field(default_factory=dict)  # receipt handle -> body

    @property
    def allowed(self) -> list[str]:
        """The topics that its policy lets send."""
        (statement,) = json.loads(self.attributes["Policy"])["Statement"]
        found: list[str] = statement["Condition"]["ArnEquals"]["aws:SourceArn"]
        return found


class Messaging:
    """Both services behind one object; ``sns`` and ``sqs`` stand for clients. ``trouble`` runs before every call."""

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}
        self.subscriptions: dict[str, tuple[str, str]] = {}  # ARN -> topic's ARN, queue
        self.published: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self.trouble: Callable[[str], object] = lambda operation: None
        #: Whether what boto3 makes of a gateway's page comes in place of the answers to messages.
        self.answers_are_others = False
        self._changed = threading.Condition()
        self._handles = iter(range(1_000_000))

    def clients(self) -> Clients:
        """Clients of the fake."""
        clients = Clients("source", None)
        vars(clients).update(sns=_Client(self), sqs=_Client(self), polling=_Client(self))
        return clients

    def monitor(self) -> Monitor:
        """A monitor as a process of its own would have it."""
        return Monitor(NAMES, self.clients())

    @property
    def subscribers(self) -> set[tuple[str, str]]:
        """Topic and queue of every subscription."""
        return {(topic.rsplit(":", 1)[-1], queue) for topic, queue in self.subscriptions.values()}

    def call(self, operation: str, arguments: dict[str, Any]) -> Any:
        self.calls.append(operation)
        self.trouble(operation)
        with self._changed:
            answer = getattr(self, f"_{operation}")(**arguments)
            self._changed.notify_all()
            return answer

    def pages(self, operation: str, arguments: dict[str, Any]) -> Iterator[Any]:
        yield from self.call(operation, arguments)

    def _sent(self) -> Any:
        return {} if self.answers_are_others else {"MessageId": str(next(self._handles))}

    # SNS.

    def _create_topic(self, Name: str) -> Any:
        return {"TopicArn": _ARN.format("sns", Name)}

    def _publish(self, TopicArn: str, Message: str) -> Any:
        self.published.append((TopicArn.rsplit(":", 1)[-1], Message))
        for topic, name in self.subscriptions.values():
            if topic == TopicArn and name in self.queues and topic in self.queues[name].allowed:
                self.queues[name].visible.append(Message)
        return self._sent()

    def _subscribe(self, TopicArn: str, Protocol: str, Endpoint: str, **options: Any) -> Any:
        assert (Protocol, options["Attributes"]["RawMessageDelivery"]) == ("sqs", "true")
        wanted = TopicArn, Endpoint.rsplit(":", 1)[-1]
        for arn, subscription in self.subscriptions.items():
            if subscription == wanted:
                return {"SubscriptionArn": arn}
        arn = f"{TopicArn}:{next(self._handles)}"
        self.subscriptions[arn] = wanted
        return {"SubscriptionArn": arn}

    def _unsubscribe(self, SubscriptionArn: str) -> Any:
        self.subscriptions.pop(SubscriptionArn, None)
        return {}

    def _list_subscriptions_by_topic(self, TopicArn: str) -> Any:
        return [
            {"Subscriptions": [{"SubscriptionArn": arn, "Protocol": "sqs", "Endpoint": _ARN.format("sqs", queue)}]}
            for arn, (topic, queue) in list(self.subscriptions.items())
            if topic == TopicArn
        ]

    # SQS; a queue's URL ends in its name.

    def _queue(self, url: str) -> Queue:
        name = url.rsplit("/", 1)[-1]
        if name not in self.queues:
            raise failure("QueueDoesNotExist")
        return self.queues[name]

    def _create_queue(self, QueueName: str, Attributes: dict[str, str]) -> Any:
        self.queues[QueueName] = Queue({"CreatedTimestamp": "0"} | Attributes)
        return {"QueueUrl": f"https://sqs/{QueueName}"}

    def _delete_queue(self, QueueUrl: str) -> Any:
        self._queue(QueueUrl)
        del self.queues[QueueUrl.rsplit("/", 1)[-1]]
        return {}

    def _get_queue_url(self, QueueName: str) -> Any:
        self._queue(QueueName)
        return {"QueueUrl": f"https://sqs/{QueueName}"}

    def _get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> Any:
        found = self._queue(QueueUrl).attributes
        return {"Attributes": {name: found[name] for name in AttributeNames if name in found}}

    def _set_queue_attributes(self, QueueUrl: str, Attributes: dict[str, str]) -> Any:
        self._queue(QueueUrl).attributes.update(Attributes)
        return {}

    def _send_message(self, QueueUrl: str, MessageBody: str) -> Any:
        self._queue(QueueUrl).visible.append(MessageBody)
        return self._sent()

    def _receive_message(self, QueueUrl: str, MaxNumberOfMessages: int, WaitTimeSeconds: float) -> Any:
        self._changed.wait_for(lambda: self._queue(QueueUrl).visible, timeout=WaitTimeSeconds)
        queue = self._queue(QueueUrl)
        messages: list[dict[str, str]] = []
        while queue.visible and len(messages) < MaxNumberOfMessages:
            handle, body = str(next(self._handles)), queue.visible.pop(0)
            queue.hidden[handle] = body
            messages.append({"ReceiptHandle": handle, "Body": body})
        return {"Messages": messages} if messages else {}

    def _delete_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> Any:
        for entry in Entries:
            self._queue(QueueUrl).hidden.pop(entry["ReceiptHandle"])
        return {}

    def _list_queues(self, QueueNamePrefix: str) -> Any:
        return [{"QueueUrls": [f"https://sqs/{name}"]} for name in self.queues if name.startswith(QueueNamePrefix)]


class _Client:
    """What boto3 makes of a service: a method an operation."""

    def __init__(self, messaging: Messaging) -> None:
        self._messaging = messaging

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return lambda **arguments: self._messaging.call(operation, arguments)

    def get_paginator(self, operation: str) -> Any:
        return _Paginator(self._messaging, operation)


@dataclass(frozen=True, slots=True)
class _Paginator:
    messaging: Messaging
    operation: str

    def paginate(self, **arguments: Any) -> Iterator[Any]:
        return self.messaging.pages(self.operation, arguments)


def failure(code: str) -> ClientError:
    """An error of AWS's."""
    return ClientError({"Error": {"Code": code, "Message": "told by the fake"}}, "Operation")


def refuse(operation: str) -> None:
    """A ``trouble``: nothing works."""
    raise failure("ServiceUnavailable")


def eventually(condition: Callable[[], object]) -> bool:
    """Whether a condition holds soon, however busy the machine is."""
    return wait_until(lambda: bool(condition()), seconds=PATIENCE, interval=0.005)


def text(exchange: str, routing_key: str = "", body: str = "{}") -> str:
    """A kombu message as it travels."""
    info = {"exchange": exchange, "routing_key": routing_key}
    return json.dumps({"body": body, "headers": {}, "properties": {"delivery_info": info}})


class Clock:
    """Monotonic seconds that pass when told."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now
