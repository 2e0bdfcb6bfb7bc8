"""The record of hand-backs: what is read, what is written, and what happens where S3 says nothing."""

import io
import json
import threading
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoRegionError

from archiver.aws import hand_backs
from archiver.aws.hand_backs import HandBacks
from archiver.aws.letters import Letter

LETTER = Letter("m-1", "https://sqs/q", "handle", 4, 0.0, "the body")


class Bucket:
    """A bucket that holds objects, or raises what it is told to."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.failure: Exception | None = None

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> None:  # noqa: N803 boto3's names
        self._fail()
        self.objects[Key] = Body

    def get_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        self._fail()
        if Key not in self.objects:
            raise refusal("NoSuchKey", 404)
        return {"Body": io.BytesIO(self.objects[Key])}

    def _fail(self) -> None:
        if self.failure:
            raise self.failure


def refusal(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")


def records(bucket: Any) -> HandBacks:
    return HandBacks("zip-storage", client=bucket)


def test_each_hand_back_is_one_more() -> None:
    bucket = Bucket()
    for receives in (2, 3, 4):
        letter = replace(LETTER, receive_count=receives)
        known = replace(letter, hand_backs=records(bucket).of(letter))
        assert known.hand_backs == receives - 2
        records(bucket).note([known])
    assert json.loads(bucket.objects["archiver-hand-backs/m-1"]) == {"hand_backs": 3}


@pytest.mark.parametrize(("record", "told"), [('{"hand_backs": 99}', 3), ('{"hand_backs": -1}', 0), ("no JSON", None)])
def test_a_record_tells_no_more_than_can_be(record: str, told: int | None) -> None:
    bucket = Bucket()
    bucket.objects["archiver-hand-backs/m-1"] = record.encode()
    assert records(bucket).of(LETTER) == told


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (refusal("NoSuchBucket", 404), 0),
        (refusal("AccessDenied", 403), 0),
        (refusal("SlowDown", 503), None),
        (EndpointConnectionError(endpoint_url="http://s3"), None),
    ],
)
def test_where_s3_does_not_say_nobody_knows(failure: Exception, told: int | None) -> None:
    bucket = Bucket()
    bucket.failure = failure
    assert records(bucket).of(LETTER) == told
    records(bucket).note([LETTER])  # and does not raise


def test_what_could_not_be_read_is_not_written_over() -> None:
    bucket = Bucket()
    records(bucket).note([replace(LETTER, hand_backs=None)])
    assert bucket.objects == {}


def test_a_stop_does_not_wait_for_a_bucket_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    class Hanging(Bucket):
        def put_object(self, **_: Any) -> None:
            answer.wait()

    monkeypatch.setattr(hand_backs, "NOTE_SECONDS", 0.01)
    records(Hanging()).note([LETTER])
    answer.set()


def test_without_a_bucket_there_are_none() -> None:
    nothing = HandBacks(None)
    nothing.note([LETTER])
    assert nothing.of(LETTER) == 0


def test_a_message_is_handed_back_without_credentials_or_region_for_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise NoRegionError

    monkeypatch.setattr(hand_backs, "new_client", none)
    nowhere = HandBacks("zip-storage")
    nowhere.note([LETTER])
    assert nowhere.of(LETTER) is None
