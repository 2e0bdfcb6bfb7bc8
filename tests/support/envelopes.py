"""Messages as SQS, SNS and kombu make them, and what the decoder makes of them."""

import base64
import json
from typing import Any

from kombu.transport.virtual import Message

from archiver.worker.decode import decode
from archiver.worker.envelope import BUILD_TASK, REFUSE_TASK

NOW = 1_800_000_000.0
PAYLOAD = {"files": [{"source": "a.txt"}, {"source": "b.txt"}], "metadata": {"__type__": "uuid", "Grüße": "你好 🎈"}}
MESSAGE_ID = "0b7c2bb5-0000-4000-8000-000000000001"


def receive(body: str, attributes: Any = None) -> dict[str, Any]:
    """A message as ReceiveMessage returns it."""
    return {
        "MessageId": MESSAGE_ID,
        "ReceiptHandle": "handle",
        "Body": body,
        "Attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1799999999500"},
        "MessageAttributes": attributes or {},
    }


def decoded(body: str, *, max_body_bytes: int = 1024 * 1024, attributes: Any = None) -> dict[str, Any]:
    return decode(
        receive(body, attributes),
        queue="input-queue",
        queue_url="https://sqs.eu-west-1.amazonaws.com/1/input-queue",
        max_body_bytes=max_body_bytes,
        now=NOW,
    )


def call_of(envelope: dict[str, Any]) -> tuple[str, list[Any]]:
    """The task's name and arguments, read as Celery does."""

    class Channel:
        def decode_body(self, body: str, encoding: str | None) -> str:
            assert encoding == "utf-8"
            return body

    message = Message(envelope, channel=Channel(), accept={"application/json"})
    args, kwargs, embed = message.payload
    assert kwargs == {}
    assert set(embed) == {"callbacks", "errbacks", "chain", "chord"}
    return message.headers["task"], args


def assert_builds(envelope: dict[str, Any], payload: object = PAYLOAD) -> None:
    task, args = call_of(envelope)
    assert task == BUILD_TASK
    assert [json.loads(arg) for arg in args] == [payload]


def refusal(envelope: dict[str, Any]) -> tuple[str, str]:
    task, args = call_of(envelope)
    assert task == REFUSE_TASK
    code, reason = args
    return code, reason


def celery_v2(
    args: object = None, kwargs: object = None, *, embed: object = None, encoding: str = "base64", **headers: Any
) -> dict[str, Any]:
    """A protocol-2 message as kombu puts it on SQS, before the outer base64."""
    body = json.dumps([[PAYLOAD] if args is None else args, kwargs or {}, embed or {}])
    return {
        "body": base64.b64encode(body.encode()).decode() if encoding == "base64" else body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": BUILD_TASK, "id": "celery-id"} | headers,
        "properties": {"body_encoding": encoding, "reply_to": "somebody", "delivery_info": {}},
    }


def celery_v1(**fields: Any) -> dict[str, Any]:
    body = json.dumps({"task": BUILD_TASK, "id": "celery-id", "args": [PAYLOAD], "kwargs": {}} | fields)
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {},
        "properties": {"body_encoding": "base64"},
    }


def outer(envelope: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(envelope).encode()).decode()
