"""The other side of the destination queue: handled first, deleted then, and nothing lost."""

import json
import logging
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from archiver.aws import consumer
from archiver.aws.consumer import Notifications
from archiver.client import Failed, Succeeded
from archiver.errors import QueueUnavailable

ARCHIVE = {
    "url": "https://cdn/k.zip",
    "bucket": "b",
    "key": "k.zip",
    "size": 7,
    "files": 1,
    "crc32": "0" * 8,
    "etag": "e",
}


def succeeded(request_id: str = "r", **more: Any) -> str:
    body = {
        "status": "succeeded",
        "metadata": {"order": 7},
        "substitutions": {"archiver_URL": "https://cdn/k.zip"},
        "archive": ARCHIVE,
        "missing": [],
        "request_id": request_id,
    }
    return json.dumps(body | more)


def failed(request_id: str = "r", code: str = "missing_sources") -> str:
    error = {"code": code, "message": "1 missing source(s): a"}
    return json.dumps({"status": "failed", "metadata": None, "error": error, "request_id": request_id})


class FakeQueue:
    """A queue of which each message is received once, and stopped when it is empty."""

    def __init__(self, *bodies: str, attributes: dict[str, Any] | None = None) -> None:
        self.messages = [(f"m{number}", body) for number, body in enumerate(bodies)]
        self.attributes = attributes or {}
        self.deleted: list[str] = []
        self.shown: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.failures: list[Exception] = []
        self.notifications: Notifications | None = None

    def consumer(self, **options: Any) -> Notifications:
        self.notifications = Notifications("https://sqs.example/1/output", sqs=cast(Any, self), **options)
        return self.notifications

    def receive_message(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if self.failures:
            raise self.failures.pop(0)
        if not self.messages:
            assert self.notifications is not None
            self.notifications.stop()
            return {}
        message_id, body = self.messages.pop(0)
        return {
            "Messages": [
                {
                    "MessageId": message_id,
                    "ReceiptHandle": message_id,
                    "Body": body,
                    "MessageAttributes": self.attributes,
                }
            ]
        }

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803 boto3's names
        assert QueueUrl == "https://sqs.example/1/output"
        self.deleted.append(ReceiptHandle)

    def change_message_visibility(self, *, ReceiptHandle: str, VisibilityTimeout: int, **_: Any) -> None:  # noqa: N803
        assert VisibilityTimeout == 0
        self.shown.append(ReceiptHandle)


def test_a_message_is_deleted_after_the_body_of_the_loop() -> None:
    queue = FakeQueue(succeeded("r1"), failed("r2"))
    deleted_before = []

    told = []
    for notification in queue.consumer():
        deleted_before.append(list(queue.deleted))
        told.append(notification)

    assert deleted_before == [[], ["m0"]]
    assert queue.deleted == ["m0", "m1"]
    first, second = told
    assert isinstance(first, Succeeded)
    assert (first.archive.url, first.metadata, first.correlation_id) == ("https://cdn/k.zip", {"order": 7}, None)
    assert isinstance(second, Failed)
    assert second.error.code == "missing_sources"


def test_an_exception_and_a_break_leave_it_on_the_queue() -> None:
    queue = FakeQueue(succeeded("r1"), succeeded("r2"), succeeded("r3"))
    notifications = queue.consumer()

    def fails() -> None:
        for notification in notifications:
            raise ValueError(notification.request_id)

    with pytest.raises(ValueError, match="r1"):
        fails()
    for _ in notifications:
        break

    assert queue.deleted == []
    assert [notification.request_id for notification in notifications] == ["r3"]
    assert queue.deleted == ["m2"]


def test_a_handler_that_fails_is_told_and_the_next_one_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    queue = FakeQueue(succeeded("r1"), succeeded("r2"))
    handled = []

    def handle(notification: consumer.Notification) -> None:
        handled.append(notification.request_id)
        if notification.request_id == "r1":
            raise ValueError("not now")

    queue.consumer().run(handle)

    assert handled == ["r1", "r2"]
    assert queue.deleted == ["m1"]
    assert "notification of r1 not handled" in caplog.text
    assert "not now" in caplog.text


def test_what_was_told_before_is_deleted_and_not_handled_again() -> None:
    relinked = succeeded("r1", archive=ARCHIVE | {"url": "https://cdn/k.zip?X-Amz-Signature=other"})
    other = succeeded("r1", archive=ARCHIVE | {"etag": "another"})
    queue = FakeQueue(succeeded("r1"), relinked, failed("r1"), failed("r1", "cancelled"), failed("r1"), other)

    told = [notification.status for notification in queue.consumer()]

    assert told == ["succeeded", "failed", "failed", "succeeded"]
    assert queue.deleted == ["m0", "m1", "m2", "m3", "m4", "m5"]


def test_one_that_was_not_handled_is_handled_when_it_comes_again() -> None:
    queue = FakeQueue(succeeded("r1"), succeeded("r1"))
    notifications = queue.consumer()
    for _ in notifications:
        break

    assert [notification.request_id for notification in notifications] == ["r1"]


def test_a_process_forgets_what_is_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "REMEMBERED", 2)
    queue = FakeQueue(*(succeeded(request_id) for request_id in ("a", "b", "c", "c", "a")))

    assert [notification.request_id for notification in queue.consumer()] == ["a", "b", "c", "a"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "its body is no JSON object"),
        ("[]", "its body is no JSON object"),
        ("{}", ": has no 'status', got {"),
        ('{"status": "started", "request_id": "r"}', "'status' must be one of 'succeeded', 'failed'"),
        ('{"status": "succeeded", "request_id": "r"}', "succeeded.metadata: required"),
        ('{"Type": "Notification", "Message": "hello"}', ""),
        ('{"Type": "Notification", "Message": "7"}', "its body is no JSON object"),
        ('{"status": ' * 100_000, "its body is no JSON object"),
        ('{"status": ' + "1" * 5000 + "}", "its body is no JSON object"),
    ],
    ids=["empty", "list", "object", "status", "fields", "sns", "sns-number", "depth", "digits"],
)
def test_what_is_no_notification_is_told_and_stays(body: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    queue = FakeQueue(body, succeeded("r1"))

    assert [notification.request_id for notification in queue.consumer()] == ["r1"]
    assert queue.deleted == ["m1"]
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith("message m0 is no notification and stays on the queue: ")
    assert reason in line


def test_fields_of_later_versions_are_no_fault() -> None:
    (told,) = FakeQueue(succeeded(colour="red")).consumer()

    assert told.model_extra == {"colour": "red"}


def test_the_correlation_id_comes_along() -> None:
    attributes = {"Correlation-Id": {"DataType": "String", "StringValue": "order-7"}}
    (direct,) = FakeQueue(succeeded(), attributes=attributes).consumer()
    envelope = {
        "Type": "Notification",
        "Message": succeeded(),
        "MessageAttributes": {"Correlation-Id": {"Type": "String", "Value": "order-8"}},
    }
    (through_sns,) = FakeQueue(json.dumps(envelope)).consumer()

    assert (direct.correlation_id, through_sns.correlation_id) == ("order-7", "order-8")


def test_messages_are_taken_one_at_a_time_by_long_polls() -> None:
    queue = FakeQueue(succeeded())
    list(queue.consumer(visibility_seconds=300))

    assert queue.asked[0]["MaxNumberOfMessages"] == 1
    assert (queue.asked[0]["WaitTimeSeconds"], queue.asked[0]["VisibilityTimeout"]) == (20, 300)


def test_what_a_poll_brings_after_the_stop_is_given_back() -> None:
    queue = FakeQueue(succeeded("r1"), succeeded("r2"))
    notifications = queue.consumer()
    receive = queue.receive_message

    def stopped_meanwhile(**asked: Any) -> dict[str, Any]:
        notifications.stop()
        return receive(**asked)

    queue.receive_message = stopped_meanwhile  # type: ignore[method-assign]  # for this poll

    assert list(notifications) == []
    assert (queue.shown, queue.deleted) == (["m0"], [])
    assert list(notifications) == [], "it stays stopped"


def test_an_outage_is_waited_for_and_a_refusal_is_raised(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "PAUSE_SECONDS", 0.0)
    down = EndpointConnectionError(endpoint_url="https://sqs.example")
    busy = ClientError({"Error": {"Code": "ThrottlingException"}}, "ReceiveMessage")
    queue = FakeQueue(succeeded("r1"))
    queue.failures = [down, busy]

    assert [notification.request_id for notification in queue.consumer()] == ["r1"]
    assert caplog.text.count("receiving from output failed, again in 0 s") == 2

    queue = FakeQueue(succeeded("r1"))
    queue.failures = [ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ReceiveMessage")]
    with pytest.raises(QueueUnavailable, match=r"receiving from output failed: .*AccessDenied"):
        list(queue.consumer())


def test_one_that_could_not_be_deleted_is_known_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    queue = FakeQueue(succeeded("r1"), succeeded("r1"))
    delete, calls = queue.delete_message, []

    def fails_once(**asked: Any) -> None:
        calls.append(asked)
        if len(calls) == 1:
            raise EndpointConnectionError(endpoint_url="https://sqs.example")
        delete(**asked)

    queue.delete_message = fails_once  # type: ignore[method-assign]  # once

    assert [notification.request_id for notification in queue.consumer()] == ["r1"]
    assert "m0 is handled but could not be deleted" in caplog.text
    assert queue.deleted == ["m1"]
