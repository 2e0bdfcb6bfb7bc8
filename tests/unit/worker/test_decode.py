"""Whatever arrives, one valid task call leaves."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.transport.virtual import Message

from archiver.archive.document import MAX_DEPTH
from archiver.aws.letters import Letter
from archiver.worker.decode import BUILD_TASK, LETTER_HEADER, REFUSE_TASK, decode

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


class TestAccepted:
    def test_a_raw_payload_is_a_call_under_its_messages_id(self) -> None:
        envelope = decoded(json.dumps(PAYLOAD))
        assert_builds(envelope)
        assert envelope["headers"]["id"] == MESSAGE_ID
        assert envelope["headers"]["argsrepr"] == "2 files"

    @pytest.mark.parametrize("body", ["\n {} \n", "\ufeff{}", base64.b64encode(b"{}").decode()])
    def test_any_object_is_the_tasks_to_validate(self, body: str) -> None:
        assert_builds(decoded(body), {})

    @pytest.mark.parametrize("wrap", [outer, json.dumps], ids=["base64", "plain"])
    @pytest.mark.parametrize(
        "envelope",
        [
            celery_v2(),
            celery_v2([], {"payload": PAYLOAD}),
            celery_v2(encoding="utf-8"),
            celery_v1(),
            celery_v1(args=[], kwargs={"payload": PAYLOAD}),
            celery_v1(utc=True, taskset=None, retries=0, callbacks=None),
        ],
        ids=["v2", "v2-kwargs", "v2-utf8", "v1", "v1-kwargs", "v1-full"],
    )
    def test_a_celery_call_keeps_its_id(self, envelope: dict[str, Any], wrap: Any) -> None:
        result = decoded(wrap(envelope))
        assert_builds(result)
        assert result["headers"]["id"] == "celery-id"

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

    @pytest.mark.parametrize("task_id", [None, 7, "", "x" * 300, "line\nbreak", ["a"]])
    def test_a_celery_id_that_is_none_gives_way_to_the_messages(self, task_id: object) -> None:
        assert decoded(outer(celery_v2(id=task_id)))["headers"]["id"] == MESSAGE_ID

    def test_an_sns_notification_brings_its_correlation_id(self) -> None:
        body = {
            "Type": "Notification",
            "Message": json.dumps(PAYLOAD),
            "MessageAttributes": {"Correlation-Id": {"Type": "String", "Value": "c-1"}},
        }
        envelope = decoded(json.dumps(body))
        assert_builds(envelope)
        assert envelope["headers"][LETTER_HEADER]["correlation_id"] == "c-1"

    def test_time_limits_are_passed_on(self) -> None:
        assert decoded(outer(celery_v2(timelimit=[60, None])))["headers"]["timelimit"] == [60, None]
        assert decoded(outer(celery_v2(timelimit=["1", {}])))["headers"]["timelimit"] == [None, None]

    def test_what_is_due_is_done_and_what_has_not_expired_too(self) -> None:
        past, future = "2026-01-01T00:00:00+00:00", "2099-01-01T00:00:00"
        assert_builds(decoded(outer(celery_v2(eta=past, expires=future))))
        assert_builds(decoded(outer(celery_v2(expires=NOW + 1))))


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
            ('{"a": 1e999}', "unreadable_message"),
            ('{"a": "\\ud800"}', "unreadable_message"),
            ('{"\\udfff": 1}', "unreadable_message"),
            ('{"a": ' + "9" * 10_000 + "}", "unreadable_message"),
            ("[" * 100_000, "unreadable_message"),
            ('{"a":' * 100_000, "unreadable_message"),
            ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "unreadable_message"),
            (base64.b64encode(b"\x80\x03}q\x00.").decode(), "unreadable_message"),
            ("====", "unreadable_message"),
        ],
    )
    def test_what_is_no_json_object(self, body: str, code: str) -> None:
        assert refusal(decoded(body))[0] == code

    @pytest.mark.parametrize(
        ("envelope", "code"),
        [
            (celery_v2(task="os.system"), "unknown_task"),
            (celery_v2(task=REFUSE_TASK), "unknown_task"),
            (celery_v2(task=None), "unknown_task"),
            (celery_v1(task=["x"]), "unknown_task"),
            (celery_v2([]), "invalid_payload"),
            (celery_v2([PAYLOAD, 1]), "invalid_payload"),
            (celery_v2([PAYLOAD], {"payload": PAYLOAD}), "invalid_payload"),
            (celery_v2([], {"load": PAYLOAD}), "invalid_payload"),
            (celery_v2(["text"]), "invalid_payload"),
            (celery_v2("text"), "invalid_payload"),
            (celery_v2() | {"body": "no base64!"}, "unreadable_message"),
            (celery_v2() | {"body": base64.b64encode(b"\xff").decode()}, "unreadable_message"),
            (celery_v2() | {"body": base64.b64encode(b"[1]").decode()}, "unreadable_message"),
            (celery_v2() | {"headers": [1]}, "unreadable_message"),
            (celery_v2() | {"headers": {}}, "unreadable_message"),
            (celery_v2() | {"content-type": "application/x-python-serialize"}, "unsupported_call"),
            (celery_v2() | {"content-type": None}, "unsupported_call"),
            (celery_v2(compression="application/x-gzip"), "unsupported_call"),
            (celery_v2(eta="2099-01-01T00:00:00"), "unsupported_call"),
            (celery_v2(eta="tomorrow"), "unsupported_call"),
            (celery_v2(eta={"a": 1}), "unsupported_call"),
            (celery_v2(expires="2020-01-01T00:00:00+00:00"), "message_expired"),
            (celery_v2(expires=NOW - 1), "message_expired"),
            (celery_v2(embed={"callbacks": [{"task": "x"}]}), "unsupported_call"),
            (celery_v2(embed={"chord": {"task": "x"}}), "unsupported_call"),
            (celery_v1(errbacks=[1]), "unsupported_call"),
        ],
    )
    def test_what_is_no_call_of_ours(self, envelope: dict[str, Any], code: str) -> None:
        assert refusal(decoded(outer(envelope)))[0] == code

    def test_a_body_over_the_limit_in_bytes(self) -> None:
        assert_builds(decoded('{"a": "é"}', max_body_bytes=11), {"a": "é"})
        code, reason = refusal(decoded('{"a": "é"}', max_body_bytes=10))
        assert code == "limit_exceeded"
        assert "11 bytes" in reason
        assert "10" in reason

    def test_a_reason_quotes_little(self) -> None:
        assert len(refusal(decoded(outer(celery_v2(task="x" * 10_000))))[1]) < 200


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
