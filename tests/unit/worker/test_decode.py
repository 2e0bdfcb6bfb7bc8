"""Whatever arrives, one valid task call leaves."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.archive.document import MAX_DEPTH
from archiver.archive.request import metadata_text, payload_document
from archiver.aws.letters import Letter
from archiver.errors import InvalidPayload
from archiver.worker.decode import payload_of
from archiver.worker.envelope import BUILD_TASK, LETTER_HEADER, REFUSE_TASK
from tests.support.envelopes import (
    MESSAGE_ID,
    PAYLOAD,
    assert_builds,
    call_of,
    celery_v1,
    celery_v2,
    decoded,
    outer,
    receive,
    refusal,
)


class TestAccepted:
    def test_a_raw_payload_is_a_call_under_its_messages_id(self) -> None:
        envelope = decoded(json.dumps(PAYLOAD))
        assert_builds(envelope)
        assert envelope["headers"]["id"] == MESSAGE_ID
        assert envelope["headers"]["argsrepr"] == "2 files"

    @pytest.mark.parametrize("body", ["\n {} \n", "\ufeff{}", base64.b64encode(b"{}").decode()])
    def test_any_object_is_the_tasks_to_validate(self, body: str) -> None:
        assert_builds(decoded(body), {})

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda text: f" {text}\n",
            lambda text: json.dumps({"Type": "Notification", "Message": text}),
            lambda text: json.dumps(celery_v2(encoding="utf-8") | {"body": f"[ [{text} ], {{}}, {{}}]"}),
            lambda text: json.dumps(celery_v2(encoding="utf-8") | {"body": f'[[], {{"payload" :{text}}}, {{}}]'}),
            lambda text: json.dumps(
                celery_v1() | {"properties": {}, "body": f'{{"task": "{BUILD_TASK}", "args" : [{text}] }}'}
            ),
        ],
        ids=["raw", "sns", "v2", "v2-kwargs", "v1"],
    )
    def test_the_payload_travels_as_the_text_that_came(self, wrap: Any) -> None:
        text = '{"files": [1e15], "metadata": {"price": 0.1000000000000000055, "ü": "\\u00fc\\/"}}'

        assert call_of(decoded(wrap(text))) == (BUILD_TASK, [text])

    def test_an_sns_notification_brings_its_correlation_id(self) -> None:
        body = {
            "Type": "Notification",
            "Message": json.dumps(PAYLOAD),
            "MessageAttributes": {"Correlation-Id": {"Type": "String", "Value": "c-1"}},
        }
        envelope = decoded(json.dumps(body))
        assert_builds(envelope)
        assert envelope["headers"][LETTER_HEADER]["correlation_id"] == "c-1"

    @pytest.mark.parametrize("number", ["1e999", "9" * 10_000])
    def test_a_number_too_large_for_a_payload_is_the_payloads_matter(self, number: str) -> None:
        body = json.dumps(PAYLOAD | {"metadata": {"order": 7}}).replace("7", number)
        task, (payload,) = call_of(decoded(body))
        assert (task, payload) == (BUILD_TASK, body)
        with pytest.raises(InvalidPayload, match=r"holds a number too large for a double: metadata\.order$"):
            payload_document(payload)
        letter = Letter.from_message(receive(body), "u")
        assert metadata_text(payload_of(letter)) is None


class TestRefused:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ("", "unreadable_message"),
            ("  \n", "unreadable_message"),
            ("hello", "unreadable_message"),
            ("[]", "unreadable_message"),
            ('"{}"', "unreadable_message"),
            ("null", "unreadable_message"),
            ("{", "unreadable_message"),
            ('{"a": NaN}', "unreadable_message"),
            ('{"a": -Infinity}', "unreadable_message"),
            ('{"a": "\\ud800"}', "unreadable_message"),
            ('{"\\udfff": 1}', "unreadable_message"),
            ("[" * 100_000, "unreadable_message"),
            ('{"a":' * 100_000, "unreadable_message"),
            ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "unreadable_message"),
            (base64.b64encode(b"\x80\x03}q\x00.").decode(), "unreadable_message"),
            ("====", "unreadable_message"),
        ],
    )
    def test_what_is_no_json_object(self, body: str, code: str) -> None:
        assert refusal(decoded(body))[0] == code

    def test_a_body_over_the_limit_in_bytes(self) -> None:
        assert_builds(decoded('{"a": "é"}', max_body_bytes=11), {"a": "é"})
        code, reason = refusal(decoded('{"a": "é"}', max_body_bytes=10))
        assert code == "limit_exceeded"
        assert "11 bytes" in reason
        assert "10" in reason


def test_what_the_process_knows_a_receive_by_gives_its_handle_away_to_nobody() -> None:
    envelope = decoded("{}")
    letter = Letter.from_dict(envelope["headers"][LETTER_HEADER])
    assert envelope["properties"]["delivery_tag"] == letter.tag
    assert letter.receipt_handle not in letter.tag


def test_the_letter_travels_in_a_header() -> None:
    attributes = {"Correlation-Id": {"DataType": "String", "StringValue": "c-2"}}
    header = decoded("  rubbish ", attributes=attributes)["headers"][LETTER_HEADER]
    assert Letter.from_dict(header) == Letter(
        message_id=MESSAGE_ID,
        queue_url="https://sqs.eu-west-1.amazonaws.com/1/input-queue",
        receipt_handle="handle",
        receive_count=3,
        sent_at=1_799_999_999.5,
        correlation_id="c-2",
        body="  rubbish ",
        attributes=attributes,
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)
celery_fields = st.fixed_dictionaries(
    {},
    optional={
        "task": st.just(BUILD_TASK) | json_values,
        "id": json_values,
        "args": json_values,
        "kwargs": json_values,
        "eta": json_values,
        "expires": json_values,
        "timelimit": json_values,
        "compression": st.none() | json_values,
    },
)


@st.composite
def celery_like(draw: st.DrawFn) -> str:
    headers, content = draw(celery_fields | json_values), draw(celery_fields | json_values)
    body = json.dumps(content)
    envelope = {
        "body": draw(st.sampled_from([body, base64.b64encode(body.encode()).decode(), "%"])),
        "headers": headers,
        "properties": {"body_encoding": draw(st.sampled_from([None, "utf-8", "base64", "x"]))},
        "content-type": draw(st.sampled_from(["application/json", "application/x-python-serialize", None])),
    }
    return outer(envelope) if draw(st.booleans()) else json.dumps(envelope)


bodies = (
    st.text(st.characters())
    | st.binary().map(lambda data: base64.b64encode(data).decode())
    | json_values.map(json.dumps)
    | st.dictionaries(st.sampled_from(["Type", "Message", "files", "body", "properties", "headers"]), json_values).map(
        json.dumps
    )
    | celery_like()
)


@given(body=bodies)
def test_nothing_raises_and_everything_becomes_a_valid_call(body: str) -> None:
    assert_valid_call(body)


@pytest.mark.chaos
@settings(max_examples=10_000, deadline=None)
@given(body=bodies)
def test_nothing_raises_in_ten_thousand_bodies(body: str) -> None:
    assert_valid_call(body)


def assert_valid_call(body: str) -> None:
    envelope = decoded(body)
    task, args = call_of(envelope)
    assert task in (BUILD_TASK, REFUSE_TASK)
    if task == BUILD_TASK:
        assert isinstance(json.loads(args[0]), dict)
        args[0].encode()
    else:
        assert all(isinstance(arg, str) and arg for arg in args)
    assert envelope["headers"][LETTER_HEADER]["body"] == body
