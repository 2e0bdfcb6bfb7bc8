"""A letter is what ReceiveMessage gave, whatever is missing of it, and survives its way into the pool."""

import pickle

from archiver.aws.letters import Letter
from tests.support.spans import PARENT

URL = "https://sqs.eu-west-1.amazonaws.com/1/q"


def test_from_dict_is_the_inverse_of_as_dict() -> None:
    attributes = {"A": {"DataType": "Binary", "BinaryValue": b"\x00"}}
    letter = Letter("m", URL, "h", 2, 1.5, "body", None, group_id="g", attributes=attributes, trace=PARENT)
    assert Letter.from_dict(pickle.loads(pickle.dumps(letter.as_dict()))) == letter


def test_a_message_is_read_with_all_that_it_says() -> None:
    message = {
        "MessageId": "m",
        "ReceiptHandle": "h",
        "Body": "{}",
        "Attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1500", "MessageGroupId": "g"},
        "MessageAttributes": {
            "Correlation-Id": {"DataType": "String", "StringValue": "c"},
            "traceparent": {"DataType": "String", "StringValue": PARENT["traceparent"]},
            "tracestate": {"DataType": "Binary", "BinaryValue": b"a=1"},
        },
    }
    letter = Letter.from_message(message, URL)
    assert (letter.message_id, letter.receipt_handle, letter.receive_count, letter.sent_at) == ("m", "h", 3, 1.5)
    assert (letter.correlation_id, letter.group_id, letter.json()) == ("c", "g", {})
    assert letter.attribute("Correlation-Id") == "c"
    assert letter.trace == PARENT
    assert letter.attribute("Other") is None


def test_a_message_that_says_nothing_is_a_letter_too() -> None:
    letter = Letter.from_message({}, URL)
    assert (letter.message_id, letter.body, letter.receive_count, letter.sent_at) == ("", "", 1, 0.0)
    assert letter.json() is None


def test_only_what_send_message_takes_of_the_attributes_is_sent() -> None:
    attributes = {"A": {"DataType": "Binary", "BinaryValue": b"x", "StringListValues": []}}
    letter = Letter("m", URL, "h", 1, 0.0, "", attributes=attributes)
    assert letter.sendable_attributes() == {"A": {"DataType": "Binary", "BinaryValue": b"x"}}
