"""The dead-letter queue: found, remembered for a while, and written to."""

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from archiver.aws.dead_letters import (
    MAX_ATTRIBUTES,
    MAX_REASON_CHARACTERS,
    POLICY_TTL_SECONDS,
    DeadLetters,
    delete,
    reasons,
    send_dead_letter,
)
from archiver.aws.letters import Letter
from archiver.aws.queues import Queue
from archiver.errors import InvalidPayload, QueueUnavailable
from tests.support.spans import PARENT

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/input-queue"
DLQ = f"{URL}-dlq"
POLICY = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:123456789012:input-queue-dlq", "maxReceiveCount": 2})
LETTER = Letter("m-1", URL, "handle", 1, 0.0, "the body", "c-1")


class Sqs:
    """A queue with a redrive policy, as far as this module asks; ``broken`` operations raise."""

    def __init__(self, policy: str | None = POLICY) -> None:
        self.policy = policy
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.broken: dict[str, list[Exception]] = {}
        self.answers = True

    def _call(self, operation: str, arguments: dict[str, Any]) -> None:
        self.calls.append((operation, arguments))
        if self.broken.get(operation):
            raise self.broken[operation].pop(0)

    def get_queue_attributes(self, **arguments: Any) -> dict[str, Any]:
        self._call("get", arguments)
        return {"Attributes": {"RedrivePolicy": self.policy}} if self.policy else {}

    def send_message(self, **arguments: Any) -> dict[str, str]:
        self._call("send", arguments)
        return {"MessageId": "new"} if self.answers else {}

    def delete_message(self, **arguments: Any) -> None:
        self._call("delete", arguments)


def dlq(sqs: Sqs, url: str = DLQ) -> Queue:
    return Queue(sqs, url)  # type: ignore[arg-type]  # the part of the client that is asked


def test_the_policy_is_remembered_for_a_while() -> None:
    sqs, now = Sqs(policy=None), 0.0
    letters = DeadLetters(clock=lambda: now)
    assert letters.policy(sqs, URL) is None  # type: ignore[arg-type]  # the part of the client that is asked
    # a dead-letter queue that is added is noticed, but not at once
    sqs.policy = POLICY
    assert letters.policy(sqs, URL) is None  # type: ignore[arg-type]
    now = POLICY_TTL_SECONDS
    found = letters.policy(sqs, URL)  # type: ignore[arg-type]
    assert found is not None
    assert (found.dead_letters.url, found.max_receive_count) == (DLQ, 2)
    assert len(sqs.calls) == 2


def test_the_dead_letter_has_the_body_and_the_reason() -> None:
    sqs = Sqs()
    send_dead_letter(dlq(sqs), LETTER, InvalidPayload("files: missing"), request_id="r-1")
    ((sent, arguments),) = sqs.calls
    assert sent == "send"
    assert (arguments["QueueUrl"], arguments["MessageBody"]) == (DLQ, "the body")
    values = {name: value["StringValue"] for name, value in arguments["MessageAttributes"].items()}
    assert values == {
        "Error-Code": "invalid_payload",
        "Error-Message": "files: missing",
        "Original-Message-Id": "m-1",
        "Request-Id": "r-1",
        "Receive-Count": "1",
        "Attempts": "1",
        "Correlation-Id": "c-1",
    }


def test_sqs_that_is_away_is_a_failure() -> None:
    sqs = Sqs()
    sqs.broken["send"] = [EndpointConnectionError(endpoint_url=URL)]
    with pytest.raises(QueueUnavailable):
        send_dead_letter(dlq(sqs), LETTER, InvalidPayload("no"), request_id="r-1")
    assert [operation for operation, _ in sqs.calls] == ["send"]


def test_a_gateway_that_answers_in_sqs_place_is_a_failure() -> None:
    sqs = Sqs()
    sqs.answers = False
    with pytest.raises(QueueUnavailable, match="no MessageId"):
        send_dead_letter(dlq(sqs), LETTER, InvalidPayload("no"), request_id="r-1")
    assert [operation for operation, _ in sqs.calls] == ["send"]


@pytest.mark.parametrize(
    ("refusals", "attributes", "characters"),
    [(0, 8, 1000), (1, 6, 1000), (2, 6, 200), (3, 0, 0)],
)
def test_where_the_body_leaves_little_room_the_attributes_give_way_in_steps(
    refusals: int, attributes: int, characters: int
) -> None:
    sqs = Sqs()
    too_long = ClientError({"Error": {"Code": "InvalidParameterValue", "Message": "too long"}}, "SendMessage")
    sqs.broken["send"] = [too_long] * refusals
    letter = replace(LETTER, attributes={"theirs": {"DataType": "String", "StringValue": "x"}})

    send_dead_letter(dlq(sqs), letter, InvalidPayload("x" * 2000), request_id="r-1")

    assert [operation for operation, _ in sqs.calls] == ["send"] * (refusals + 1)
    sent = sqs.calls[-1][1]
    assert sent["MessageBody"] == "the body"
    left = sent.get("MessageAttributes", {})
    assert len(left) == attributes
    assert len(left.get("Error-Message", {}).get("StringValue", "")) == characters
    assert ("theirs" in left) == (refusals == 0)


def test_an_original_that_can_not_be_deleted_is_no_failure() -> None:
    sqs = Sqs()
    sqs.broken["delete"] = [ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteMessage")]
    delete(sqs, LETTER)  # type: ignore[arg-type]  # the part of the client that is asked
    assert sqs.calls == [("delete", {"QueueUrl": URL, "ReceiptHandle": "handle"})]


def test_ours_come_first_and_the_originals_as_far_as_there_is_room() -> None:
    originals = {
        f"A{number}": {"DataType": "Binary", "BinaryValue": b"x", "StringListValues": []} for number in range(9)
    }
    originals["Error-Code"] = {"DataType": "String", "StringValue": "from an earlier life"}
    letter = Letter("m-1", URL, "handle", 1, 0.0, "", attributes=originals)
    attributes = reasons(letter, InvalidPayload("no"), request_id="r-1")
    assert len(attributes) == MAX_ATTRIBUTES
    assert attributes["Error-Code"]["StringValue"] == "invalid_payload"
    assert attributes["A0"] == {"DataType": "Binary", "BinaryValue": b"x"}


def test_a_reason_is_text_that_sqs_takes() -> None:
    error = InvalidPayload("key \x00 " * 1000)
    text = reasons(LETTER, error, request_id="r-1")["Error-Message"]["StringValue"]
    assert len(text) == MAX_REASON_CHARACTERS
    assert "\x00" not in text


def test_the_originals_correlation_id_stays_as_it_was_and_one_from_inside_the_body_joins_it() -> None:
    original = {"DataType": "String", "StringValue": "as it came " * 100}
    others = {f"A{number}": {"DataType": "String", "StringValue": "x"} for number in range(9)}
    letter = replace(LETTER, attributes=others | {"Correlation-Id": original})
    assert reasons(letter, InvalidPayload("no"), request_id="r-1")["Correlation-Id"] == original
    inside = reasons(replace(LETTER, attributes=others), InvalidPayload("no"), request_id="r-1")
    assert inside["Correlation-Id"]["StringValue"] == "c-1"


def test_a_fifo_queue_keeps_the_group_and_takes_each_letter_once() -> None:
    sqs = Sqs()
    send_dead_letter(dlq(sqs, f"{DLQ}.fifo"), replace(LETTER, group_id="g"), InvalidPayload("no"), request_id="r-1")
    sent = sqs.calls[0][1]
    assert (sent["MessageGroupId"], sent["MessageDeduplicationId"]) == ("g", "m-1")


def test_a_redriven_message_goes_on_with_its_trace() -> None:
    others = {f"A{number}": {"DataType": "String", "StringValue": "x"} for number in range(9)}
    trace = {"traceparent": {"DataType": "String", "StringValue": PARENT["traceparent"]}}
    letter = replace(LETTER, attributes=others | trace)

    attributes = reasons(letter, InvalidPayload("no"), request_id="r")

    assert len(attributes) == MAX_ATTRIBUTES
    assert attributes["traceparent"] == trace["traceparent"]
    assert attributes["Correlation-Id"]["StringValue"] == "c-1"
