"""Which form a message has, and what of it is read at the door."""

import json
from typing import Any

import pytest

from archiver.aws.letters import Letter
from archiver.worker.decode import call_id, payload_of
from archiver.worker.envelope import LETTER_HEADER
from tests.support.envelopes import (
    MESSAGE_ID,
    NOW,
    PAYLOAD,
    assert_builds,
    celery_v1,
    celery_v2,
    decoded,
    outer,
    receive,
)


class TestForms:
    """What has files is a payload, whatever else it holds."""

    @pytest.mark.parametrize(
        "more",
        [
            {"body": "a letter", "properties": {"colour": "red"}},
            celery_v2(),
            {"Type": "Notification", "Message": "hello"},
            {"Type": "Notification", "Message": json.dumps({"files": []}), "TopicArn": "arn", "MessageAttributes": {}},
        ],
    )
    def test_a_payload_with_the_keys_of_an_envelope(self, more: dict[str, Any]) -> None:
        envelope = decoded(json.dumps(PAYLOAD | more))
        assert_builds(envelope, PAYLOAD | more)
        assert envelope["headers"]["id"] == MESSAGE_ID

    def test_an_envelope_is_opened_once(self) -> None:
        # a payload inside a Celery call, or inside an SNS notification, is a payload, too
        inside = PAYLOAD | {"body": "text", "properties": {}, "Type": "Notification", "Message": "x"}
        assert_builds(decoded(outer(celery_v2([inside]))), inside)
        assert_builds(decoded(json.dumps({"Type": "Notification", "Message": json.dumps(inside)})), inside)


class TestCorrelationId:
    def from_sns(self, value: object, attributes: Any = None, inner: str = "{}") -> Any:
        body = {"Type": "Notification", "Message": inner, "MessageAttributes": {"Correlation-Id": {"Value": value}}}
        return decoded(json.dumps(body), attributes=attributes)["headers"][LETTER_HEADER]["correlation_id"]

    def from_attribute(self, value: object) -> Any:
        attributes = {"Correlation-Id": {"DataType": "String", "StringValue": value}}
        return decoded("{}", attributes=attributes)["headers"][LETTER_HEADER]["correlation_id"]

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("order-7 Grüße 你好", "order-7 Grüße 你好"),
            ("nul \0 esc \x1b[31m del \x7f c1 \x9b", "nul \ufffd esc \ufffd[31m del \ufffd c1 \ufffd"),
            ("two\r\nlines", "two  lines"),
            ("gpj\u202eexe", "gpj\ufffdexe"),
            ("", None),
            ("  ", None),
            (7, None),
            (None, None),
            ({"a": 1}, None),
        ],
    )
    def test_it_is_made_presentable_at_the_door(self, value: object, expected: str | None) -> None:
        assert self.from_sns(value) == expected
        assert self.from_attribute(value) == expected

    def test_it_is_cut(self) -> None:
        assert len(self.from_attribute("x" * 200_000)) == 256
        assert len(self.from_sns("x" * 200_000)) == 256

    def test_the_messages_own_comes_first_and_a_refused_one_keeps_its_own(self) -> None:
        own = {"Correlation-Id": {"DataType": "String", "StringValue": "own"}}
        assert self.from_sns("inner", own) == "own"
        assert self.from_sns("inner", inner="no JSON") == "inner"


class TestTrace:
    PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    OTHER = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00"

    def of(self, body: str, attributes: Any = None) -> Any:
        return decoded(body, attributes=attributes)["headers"][LETTER_HEADER]["trace"]

    def attribute(self, value: object) -> dict[str, Any]:
        return {"traceparent": {"DataType": "String", "StringValue": value}}

    def sns(self, value: object) -> str:
        attributes = {"traceparent": {"Type": "String", "Value": value}, "tracestate": {"Value": "a=1"}}
        return json.dumps({"Type": "Notification", "Message": json.dumps(PAYLOAD), "MessageAttributes": attributes})

    def test_it_comes_with_each_form(self) -> None:
        context = {"traceparent": self.PARENT, "tracestate": "a=1"}
        assert self.of(json.dumps(PAYLOAD), self.attribute(self.PARENT)) == {"traceparent": self.PARENT}
        assert self.of("no JSON", self.attribute(self.PARENT)) == {"traceparent": self.PARENT}
        assert self.of(self.sns(self.PARENT)) == context
        assert self.of(outer(celery_v2(**context))) == context
        assert self.of(outer(celery_v1() | {"headers": context})) == context

    def test_the_messages_own_comes_first(self) -> None:
        own = self.attribute(self.OTHER)
        assert self.of(self.sns(self.PARENT), own) == {"traceparent": self.OTHER}
        assert self.of(outer(celery_v2(traceparent=self.PARENT)), own) == {"traceparent": self.OTHER}

    @pytest.mark.parametrize("value", ["", "00-x", 7, None, {"a": 1}, "x" * 100_000], ids=range(6))
    def test_a_bad_one_is_ignored(self, value: object) -> None:
        for body in (json.dumps(PAYLOAD), self.sns(value), outer(celery_v2(traceparent=value))):
            envelope = decoded(body, attributes=self.attribute(value))
            assert envelope["headers"][LETTER_HEADER]["trace"] == {}
            assert_builds(envelope)


class TestLooks:
    """What the dead letters' readers ask of a message."""

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (outer(celery_v2()), "celery-id"),
            (outer(celery_v1()), "celery-id"),
            (outer(celery_v2(id="line\nbreak")), None),
            (json.dumps(PAYLOAD | {"id": "x"}), None),
            ("rubbish", None),
            ("[" * 100_000, None),
        ],
    )
    def test_a_calls_id(self, body: str, expected: str | None) -> None:
        assert call_id(Letter.from_message(receive(body), "url")) == expected

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (json.dumps(PAYLOAD), PAYLOAD),
            (outer(celery_v2(expires=NOW - 1, timelimit=[0, 0])), PAYLOAD),
            (json.dumps({"Type": "Notification", "Message": json.dumps(PAYLOAD)}), PAYLOAD),
            (outer(celery_v2(["text"])), None),
            ("rubbish", None),
            ("[" * 100_000, None),
        ],
    )
    def test_its_payload(self, body: str, expected: Any) -> None:
        payload = payload_of(Letter.from_message(receive(body), "url"))
        assert (payload and payload.value) == expected
