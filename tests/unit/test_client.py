"""Asking for an archive from another Python service."""

import json
import warnings
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceState, use_span

from archiver.archive.request import MAX_METADATA_BYTES, parse_request
from archiver.aws.queues import MAX_MESSAGE_BYTES
from archiver.client import ArchiverClient, IgnoredKey
from archiver.errors import InvalidPayload, LimitExceeded, QueueUnavailable
from archiver.worker.decode import decode
from archiver.worker.envelope import BUILD_TASK


class FakeSqs:
    """SQS, as far as a sender sees it."""

    def __init__(self, *queues: str) -> None:
        self.urls = {queue: f"https://sqs.example/1/{queue}" for queue in queues}
        self.sent: list[dict[str, Any]] = []
        self.lookups = 0
        self.down = False

    def get_queue_url(self, *, QueueName: str) -> dict[str, str]:  # noqa: N803 boto3's names
        self.lookups += 1
        if QueueName not in self.urls:
            raise ClientError({"Error": {"Code": "QueueDoesNotExist", "Message": "no such queue"}}, "GetQueueUrl")
        return {"QueueUrl": self.urls[QueueName]}

    def send_message(self, **message: Any) -> dict[str, str]:
        if self.down:
            raise EndpointConnectionError(endpoint_url="https://sqs.example")
        self.sent.append(message)
        return {"MessageId": f"message-{len(self.sent)}"}


@pytest.fixture
def sqs() -> FakeSqs:
    return FakeSqs("input-queue", "input.fifo")


def client(sqs: FakeSqs, queue: str = "input-queue") -> ArchiverClient:
    return ArchiverClient(queue, sqs=cast(Any, sqs))


def test_the_request_id_is_the_messages_and_the_body_is_the_payload(sqs: FakeSqs) -> None:
    request_id = client(sqs).submit(
        ["photos/2026/", ("reports/june.pdf", "documents/report.pdf"), {"source": "s3://bucket/ü"}],
        metadata={"order": 7},
        compression="auto",
        on_missing="skip",
        filename="order 7.zip",
        correlation_id="abc",
    )

    assert request_id == "message-1"
    (message,) = sqs.sent
    assert json.loads(message["MessageBody"]) == {
        "files": [
            {"source": "photos/2026/"},
            {"source": "reports/june.pdf", "destination": "documents/report.pdf"},
            {"source": "s3://bucket/ü"},
        ],
        "metadata": {"order": 7},
        "compression": "auto",
        "on_missing": "skip",
        "filename": "order 7.zip",
    }
    assert message["MessageAttributes"]["Correlation-Id"]["StringValue"] == "abc"


def test_defaults_are_left_out_of_the_message(sqs: FakeSqs) -> None:
    client(sqs).submit(["a.jpg"])

    assert json.loads(sqs.sent[0]["MessageBody"]) == {"files": [{"source": "a.jpg"}]}
    assert "MessageAttributes" not in sqs.sent[0]


def test_a_manifest_a_place_and_the_life_of_a_link(sqs: FakeSqs) -> None:
    client(sqs).submit(manifest=["a.csv"], archive={"key": "x.zip"}, link_expires_seconds=60, on_missing="list")
    client(sqs).submit(["a.jpg"], manifest="b.csv")

    assert [json.loads(message["MessageBody"]) for message in sqs.sent] == [
        {"manifest": ["a.csv"], "archive": {"key": "x.zip"}, "link_expires_seconds": 60, "on_missing": "list"},
        {"files": [{"source": "a.jpg"}], "manifest": "b.csv"},
    ]


def test_a_name_is_looked_up_once_and_a_url_never(sqs: FakeSqs) -> None:
    named, located = client(sqs), client(sqs, "https://sqs.example/1/other")
    for archiver in (named, named, located):
        archiver.submit(["a.jpg"])

    assert sqs.lookups == 1
    assert [message["QueueUrl"].rpartition("/")[2] for message in sqs.sent] == ["input-queue", "input-queue", "other"]


def test_keys_that_will_be_ignored_are_told_where_they_are_written(sqs: FakeSqs) -> None:
    with warnings.catch_warnings(record=True, action="always", category=IgnoredKey) as told:
        client(sqs).submit_payload({"files": [{"source": "a", "dest": "b"}], "onMissing": "skip"})
        client(sqs).submit(["a"], archive={"keys": "b.zip", "zzz": 1})

    assert [str(warning.message) for warning in told] == [
        "unknown key 'onMissing' is ignored: did you mean 'on_missing'?",
        "unknown key 'files[].dest' is ignored: did you mean 'files[].destination'?",
        "unknown key 'archive.keys' is ignored: did you mean 'archive.key'?",
        "unknown key 'archive.zzz' is ignored",
    ]
    assert {warning.filename for warning in told} == {__file__}
    assert len(sqs.sent) == 2


def test_what_the_worker_would_refuse_is_not_sent(sqs: FakeSqs) -> None:
    with pytest.raises(InvalidPayload, match=r"files\[1\]\.source"):
        client(sqs).submit(["a.jpg", ""])
    with pytest.raises(InvalidPayload, match="files"):
        client(sqs).submit([])
    with pytest.raises(InvalidPayload, match="compression"):
        client(sqs).submit_payload({"files": [{"source": "a"}], "compression": "best"})

    assert sqs.sent == []


def test_a_message_that_sqs_would_refuse_is_not_sent(sqs: FakeSqs) -> None:
    fits = {"files": [{"source": "a"}], "metadata": {"x": "ü" * ((MAX_METADATA_BYTES - 20) // 2)}}
    room = MAX_MESSAGE_BYTES - len(json.dumps(fits, ensure_ascii=False, separators=(",", ":")).encode())
    fits["files"] = [{"source": "a", "destination": "x" * (room - len(',"destination":""'))}]

    client(sqs).submit_payload(fits)
    with pytest.raises(LimitExceeded, match="bytes"):
        client(sqs).submit_payload(fits | {"split": {"max_files": 1}})
    with pytest.raises(LimitExceeded, match="bytes"):
        client(sqs).submit_payload(fits, correlation_id="attributes count")


def test_metadata_whose_notification_could_not_be_sent_is_not_sent(sqs: FakeSqs) -> None:
    with pytest.raises(LimitExceeded, match=r"metadata: .* bytes"):
        client(sqs).submit(["a"], metadata={"text": "x" * MAX_METADATA_BYTES})

    assert sqs.sent == []


def looped() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["again"] = value
    return value


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "\ud800"},
        {"a": datetime.now(UTC)},
        {"a": 10**5000},
        {1: 2},
        nested(64),
        looped(),
        [1],
        "text",
    ],
    ids=["nan", "inf", "surrogate", "datetime", "digits", "key", "depth", "loop", "list", "text"],
)
def test_metadata_that_the_worker_would_refuse_is_not_sent(sqs: FakeSqs, metadata: Any) -> None:
    with pytest.raises(InvalidPayload):
        client(sqs).submit(["a"], metadata=metadata)

    assert sqs.sent == []


def test_what_the_client_sends_the_worker_takes(sqs: FakeSqs) -> None:
    metadata = nested(63) | {"noncharacter": "\uffff\ufffe", "number": 10**300, "tuple": (1, 2), "nul": "\0"}

    client(sqs).submit(["a"], metadata=metadata)

    body = sqs.sent[0]["MessageBody"]
    assert not set(body) & set("\uffff\ufffe\0"), "SQS refuses them in a body"
    envelope = decode({"Body": body}, queue="q", queue_url="u", max_body_bytes=MAX_MESSAGE_BYTES, now=0)
    assert envelope["headers"]["task"] == BUILD_TASK
    assert parse_request(body, max_files=1, default_bucket="b").metadata in body


@pytest.mark.parametrize(
    "files",
    [
        "a.txt",
        b"a.txt",
        {"source": "a.txt"},
        None,
        7,
        [("a",)],
        [("a", "b", "c")],
        [7],
        [None],
        [("a", 7)],
        [("", "b")],
    ],
)
def test_a_misuse_is_one_kind_of_error(sqs: FakeSqs, files: Any) -> None:
    with pytest.raises(InvalidPayload, match=r"^files"):
        client(sqs).submit(files)

    assert sqs.sent == []


@pytest.mark.parametrize("manifest", [7, b"list", {"source": "list"}, [], [7], ["a", ""], ""])
def test_what_is_no_manifest_is_named(sqs: FakeSqs, manifest: Any) -> None:
    with pytest.raises(InvalidPayload, match=r"^manifest(\[\d\])?: "):
        client(sqs).submit(manifest=manifest)
    assert not sqs.sent


@pytest.mark.parametrize(
    "archive", [{"key": "a", "prefix": "b/"}, {"overwrite": True}, {"key": "s3://b/a"}, "a", ["a"]]
)
def test_wishes_that_no_setting_could_grant_are_named(sqs: FakeSqs, archive: Any) -> None:
    with pytest.raises(InvalidPayload, match=r"^archive"):
        client(sqs).submit(["a.jpg"], archive=archive)
    assert not sqs.sent


@pytest.mark.parametrize("bucket", ["", "a b", "s3://payloads", 7])
def test_what_is_no_bucket_for_payloads_is_named_at_once(sqs: FakeSqs, bucket: Any) -> None:
    with pytest.raises(InvalidPayload, match=r"^payload_bucket: a bucket's name, not "):
        ArchiverClient("input", sqs=cast(Any, sqs), payload_bucket=bucket)


@pytest.mark.parametrize("correlation_id", ["", "a\0", "\ud800", "\uffff", 7])
def test_a_correlation_id_that_sqs_would_refuse_is_named(sqs: FakeSqs, correlation_id: Any) -> None:
    with pytest.raises(InvalidPayload, match=r"^correlation_id: "):
        client(sqs).submit(["a"], correlation_id=correlation_id)

    assert sqs.sent == []


@pytest.mark.parametrize("payload", [None, [], "{}", 7])
def test_a_payload_is_a_mapping(sqs: FakeSqs, payload: Any) -> None:
    with pytest.raises(InvalidPayload):
        client(sqs).submit_payload(payload)


def test_jobs_on_a_fifo_queue_do_not_wait_for_each_other(sqs: FakeSqs) -> None:
    for _ in range(2):
        client(sqs, "input.fifo").submit(["a.jpg"])

    first, second = sqs.sent
    assert first["MessageGroupId"] != second["MessageGroupId"]
    assert first["MessageDeduplicationId"] != second["MessageDeduplicationId"]


def test_an_unknown_queue_and_a_broken_connection_are_one_kind_of_error(sqs: FakeSqs) -> None:
    with pytest.raises(QueueUnavailable, match="no such queue"):
        client(sqs, "output-queue").submit(["a.jpg"])
    sqs.down = True
    with pytest.raises(QueueUnavailable, match=r"sqs\.example"):
        client(sqs).submit(["a.jpg"])


def test_a_tenant_is_what_sqs_takes_as_a_group(sqs: FakeSqs) -> None:
    ArchiverClient("input-queue", tenant="customer-7", sqs=cast(Any, sqs)).submit(["a.jpg"])

    assert sqs.sent[0]["MessageGroupId"] == "customer-7"
    for unusable in ("", "two words", "ü", "x" * 129):
        with pytest.raises(InvalidPayload, match="tenant"):
            ArchiverClient("input-queue", tenant=unusable, sqs=cast(Any, sqs))


def test_a_queues_arn_is_refused_with_its_name(sqs: FakeSqs) -> None:
    with pytest.raises(InvalidPayload, match=r"queue: an ARN; give the queue's URL or its name, input\.fifo$"):
        client(sqs, "arn:aws:sqs:eu-west-1:123456789012:input.fifo")


def test_a_queue_without_a_name_is_refused(sqs: FakeSqs) -> None:
    with pytest.raises(InvalidPayload, match=r"^queue: the queue's URL or its name, not ''$"):
        client(sqs, "")


def test_the_callers_span_travels_with_the_message_where_there_is_room(sqs: FakeSqs) -> None:
    context = SpanContext(0xABC, 0xDEF, is_remote=False, trace_state=TraceState([("vendor", "1")]))
    least = len('{"files":[{"source":"a","destination":""}]}')
    # the context takes 96 bytes: traceparent 11 + 6 + 55, tracestate 10 + 6 + 8
    with use_span(NonRecordingSpan(context)):
        client(sqs).submit(["a.jpg"], correlation_id="abc")
        for room in (96, 95):
            client(sqs).submit([("a", "x" * (MAX_MESSAGE_BYTES - least - room))])
    client(sqs).submit(["a.jpg"])

    parent = f"00-{0xABC:032x}-{0xDEF:016x}-00"
    told = [
        {name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()}
        for message in sqs.sent
    ]
    trace = {"traceparent": parent, "tracestate": "vendor=1"}
    assert told == [{"Correlation-Id": "abc"} | trace, trace, {}, {}]
    for message in sqs.sent:
        attributes = message.get("MessageAttributes", {}).items()
        size = sum(len(name) + len("String") + len(value["StringValue"]) for name, value in attributes)
        assert len(message["MessageBody"]) + size <= MAX_MESSAGE_BYTES
