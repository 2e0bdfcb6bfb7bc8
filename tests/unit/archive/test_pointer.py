"""Pointers to payloads that are too large for a message."""

import json
from collections.abc import Callable

import pytest

from archiver.archive.location import Location
from archiver.archive.pointer import CLASSES, Payloads, is_pointer, pointed_at, pointer_to
from archiver.errors import InvalidPayload, LimitExceeded

THERE = Location("payloads", "a/ü.json?versionId=1")
PAYLOAD = '{"files": [{"source": "a"}]}'


def fetch(location: Location) -> str:
    assert location == THERE
    return PAYLOAD


OPENED = Payloads(("payloads",), fetch)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    "write", [json.dumps, lambda value: json.dumps(value, indent=2), lambda v: f"\n{json.dumps(v)} "]
)
def test_what_a_pointer_leads_to_is_the_payload(name: str, write: Callable[[object], str]) -> None:
    text = write([name, {"s3BucketName": THERE.bucket, "s3Key": THERE.key, "other": 1}])

    assert is_pointer(text)
    assert pointed_at(text) == THERE
    assert OPENED.open(text).text == PAYLOAD


def test_ours_is_one() -> None:
    assert OPENED.open(pointer_to(THERE)).text == PAYLOAD


@pytest.mark.parametrize("payload", [PAYLOAD, json.loads(PAYLOAD)])
def test_any_other_payload_is_itself(payload: object) -> None:
    assert Payloads().open(payload).value == json.loads(PAYLOAD)


@pytest.mark.parametrize(
    "text", ["[]", '["java.lang.Runtime", {}]', '["x"]', json.dumps([CLASSES[0]]), f'["{CLASSES[0]}", ' + "[" * 99_999]
)
def test_any_other_list_is_no_payload(text: str) -> None:
    assert not is_pointer(text)
    with pytest.raises(InvalidPayload):
        OPENED.open(text)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ("1", "the pointer to the payload is JSON, but no object"),
        ("{", "the pointer to the payload is not JSON"),
        ('{"s3Key": "k"}', "s3BucketName: a pointer names it as text, got None"),
        ('{"s3BucketName": "payloads", "s3Key": ""}', "s3Key: a pointer names it as text, got ''"),
        ('{"s3BucketName": ["payloads"], "s3Key": "k"}', "s3BucketName: "),
        ('{"s3BucketName": "payloads", "s3Key": "a\\u0000"}', "s3Key: holds a NUL character"),
        ('{"s3BucketName": "payloads", "s3Key": "%s"}' % ("k" * 1025), "s3Key: the key is longer"),
    ],
)
def test_a_bad_pointer_names_field_and_value(fields: str, complaint: str) -> None:
    with pytest.raises(InvalidPayload) as refused:
        OPENED.open(f'["{CLASSES[0]}", {fields}]')

    assert refused.value.message.startswith(complaint)


@pytest.mark.parametrize("payloads", [Payloads(), Payloads(("others",), fetch)])
def test_a_bucket_that_is_not_listed_is_not_read(payloads: Payloads) -> None:
    with pytest.raises(LimitExceeded, match="s3BucketName: 'payloads' is not in PAYLOAD_BUCKETS"):
        payloads.open(pointer_to(THERE))


def test_a_pointer_leads_to_no_other_pointer() -> None:
    with pytest.raises(InvalidPayload, match="no object: list"):
        Payloads(("payloads",), lambda _: pointer_to(THERE)).open(pointer_to(THERE))
