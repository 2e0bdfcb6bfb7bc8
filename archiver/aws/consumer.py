"""The other side of the destination queue: notifications, each handled before it is deleted.

SQS delivers at least once and the archiver tells at least once, so that a notification may come twice. Within a process
it is handled once; beyond that a consumer tells repetitions by ``request_id``.
"""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from archiver.archive import notification
from archiver.aws.clients import Timeouts
from archiver.aws.letters import Letter, as_correlation_id
from archiver.aws.queues import Queue, open_queue
from archiver.complaints import complaint
from archiver.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = logging.getLogger(__name__)

#: The longest poll that SQS has, in seconds.
MAX_WAIT_SECONDS = 20
#: Handled notifications that a process knows again.
REMEMBERED = 10_000
#: Pauses while SQS can't be reached, in seconds: the first, which doubles, and the longest.
PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 30.0

#: A poll takes its time to answer; what fails is tried again by the loop, which can be stopped meanwhile.
_POLLING = Timeouts(connect=5, read=MAX_WAIT_SECONDS + 10, attempts=1)


class _Delivered(BaseModel):
    correlation_id: str | None = Field(None, description="the message attribute Correlation-Id")


class Succeeded(notification.Succeeded, _Delivered):
    """The archive is there."""


class Failed(notification.Failed, _Delivered):
    """There will be no archive."""


Notification = Succeeded | Failed
_NOTIFICATION: TypeAdapter[Notification] = TypeAdapter(Annotated[Notification, Field(discriminator="status")])


@dataclass(frozen=True, slots=True)
class _Arrival:
    letter: Letter
    notification: Notification

    @property
    def news(self) -> tuple[str, ...]:
        """The same for two notifications that tell the same, whose links differ."""
        told = self.notification
        what = (
            (told.archive.bucket, told.archive.key, told.archive.etag)
            if isinstance(told, Succeeded)
            else (told.error.code, told.error.message)
        )
        return (told.request_id, told.status, *what)


class Notifications:
    """The notifications on a queue, given by its name or its URL, as they come.

        for notification in Notifications("output-queue"):
            if notification.status == "succeeded":
                deliver(notification.archive.url)

    A message is deleted when the next one is asked for. An exception in the loop's body, or a ``break``, leaves it on
    the queue: it comes back after the queue's visibility timeout, and goes where its redrive policy says after so many
    receives. Messages are taken one at a time, so that each has the whole visibility timeout for its body, or
    ``visibility_seconds`` in its place; ``wait_seconds`` is the length of a poll. Several threads, and several
    processes, may each have a loop.

    What is no notification stays on the queue, too, and is told in the log of this module. One that an SNS topic brings
    is taken out of its envelope. While SQS can't be reached the loop waits; where SQS refuses, it raises
    ``QueueUnavailable``.
    """

    def __init__(
        self,
        queue: str,
        *,
        sqs: "SQSClient | None" = None,
        wait_seconds: int = MAX_WAIT_SECONDS,
        visibility_seconds: int | None = None,
    ) -> None:
        self._queue = open_queue(queue, timeouts=_POLLING) if sqs is None else Queue(sqs, queue)
        self._options: dict[str, Any] = {"WaitTimeSeconds": wait_seconds}
        if visibility_seconds is not None:
            self._options["VisibilityTimeout"] = visibility_seconds
        self._stopped = threading.Event()
        self._handled: dict[tuple[str, ...], None] = {}
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Notification]:
        for arrival in self._arrivals():
            yield arrival.notification
            self._settle(arrival)

    def run(self, handle: Callable[[Notification], object]) -> None:
        """Hand each notification to ``handle`` until ``stop``. Raises ``QueueUnavailable``.

        An exception of ``handle`` is logged, leaves that notification on the queue, and the next one is taken.
        """
        for arrival in self._arrivals():
            try:
                handle(arrival.notification)
            except Exception:
                log.exception("notification of %s not handled: it will come back", arrival.notification.request_id)
            else:
                self._settle(arrival)

    def stop(self) -> None:
        """End the loops once the notification at hand is handled, or the poll is over. For signal handlers, too."""
        self._stopped.set()

    def _arrivals(self) -> Iterator[_Arrival]:
        while not self._stopped.is_set():
            for letter in self._polled():
                if self._stopped.is_set():
                    self._give_back(letter)
                    return
                try:
                    arrival = _Arrival(letter, _read(letter))
                except ValueError as error:
                    log.warning("message %s is no notification and stays on the queue: %s", letter.message_id, error)
                    continue
                if arrival.news in self._handled:
                    self._delete(letter)
                    continue
                yield arrival

    def _polled(self) -> list[Letter]:
        pause = PAUSE_SECONDS
        while not self._stopped.is_set():
            try:
                answer = self._queue.client.receive_message(
                    QueueUrl=self._queue.url,
                    MaxNumberOfMessages=1,
                    AttributeNames=["All"],
                    MessageAttributeNames=["All"],
                    **self._options,
                )
                return [Letter.from_message(item, self._queue.url) for item in answer.get("Messages", ())]
            except (ClientError, BotoCoreError, QueueUnavailable) as error:
                cause = error.__cause__ if isinstance(error, QueueUnavailable) else error
                if not _passes(cause):
                    raise QueueUnavailable(f"receiving from {self._queue.name} failed: {error}") from error
                log.warning("receiving from %s failed, again in %.0f s: %s", self._queue.name, pause, error)
            self._stopped.wait(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        return []

    def _settle(self, arrival: _Arrival) -> None:
        with self._lock:
            self._handled[arrival.news] = None
            if len(self._handled) > REMEMBERED:
                del self._handled[next(iter(self._handled))]
        self._delete(arrival.letter)

    def _delete(self, letter: Letter) -> None:
        try:
            self._queue.client.delete_message(QueueUrl=letter.queue_url, ReceiptHandle=letter.receipt_handle)
        except (ClientError, BotoCoreError) as error:  # then it comes back, and is known
            log.warning("message %s is handled but could not be deleted: %s", letter.message_id, error)

    def _give_back(self, letter: Letter) -> None:
        with contextlib.suppress(ClientError, BotoCoreError):  # it comes back by itself
            self._queue.client.change_message_visibility(
                QueueUrl=letter.queue_url, ReceiptHandle=letter.receipt_handle, VisibilityTimeout=0
            )


def _read(letter: Letter) -> Notification:
    """The notification that a message is. Raises ``ValueError``."""
    body, correlation_id = letter.json(), letter.correlation_id
    # SNS Developer Guide, HTTP/HTTPS notification JSON format; the body is the same on SQS.
    if isinstance(body, dict) and body.get("Type") == "Notification" and isinstance(body.get("Message"), str):
        attributes = body.get("MessageAttributes")
        carried = attributes.get("Correlation-Id") if isinstance(attributes, dict) else None
        correlation_id = as_correlation_id(carried.get("Value")) if isinstance(carried, dict) else correlation_id
        body = json.loads(body["Message"])
    if not isinstance(body, dict):
        raise ValueError("its body is no JSON object")
    try:
        return _NOTIFICATION.validate_python(body | {"correlation_id": correlation_id})
    except ValidationError as error:
        raise ValueError(": ".join(filter(None, complaint(error)))) from None


def _passes(error: BaseException | None) -> bool:
    """Whether SQS may answer otherwise in a while."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(error.response.get("Error", {}).get("Code"))
        return status >= 500 or "Throttl" in code or code == "RequestThrottled"
    return isinstance(error, HTTPClientError | ConnectionError)
