"""Payloads in S3: whatever is flipped on the way, what is judged is what S3 has."""

import base64
import io
import zlib
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.config import Config

from archiver.archive.location import Location
from archiver.aws.payload_reading import fetch_payload
from archiver.errors import InvalidPayload, LimitExceeded, StorageUnavailable

RIGHT = b'{"files": [{"source": "a"}]}'
WRONG = RIGHT.replace(b"files", b"filez")
THERE = Location("payloads", "p")

Answers = Callable[..., tuple[Any, list[dict[str, Any]]]]


@pytest.fixture
def answers() -> Answers:
    """A client that gets these contents, one after the other, with or without S3's checksum of the right one."""

    def make(*contents: bytes, checksum: str | None) -> tuple[Any, list[dict[str, Any]]]:
        client: Any = boto3.client(
            "s3",
            region_name="eu-west-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(response_checksum_validation="when_required"),
        )
        left = list(contents)
        calls: list[dict[str, Any]] = []

        def answer(request: Any, **_: Any) -> Any:
            calls.append(dict(request.headers))
            content = left.pop(0)
            headers = {"content-length": str(len(content)), "etag": '"e"'}
            if checksum is not None:
                headers |= {"x-amz-checksum-crc32": checksum, "x-amz-checksum-type": "FULL_OBJECT"}
            found: Any = HeadersDict(headers)
            return AWSResponse(request.url, 200, found, io.BytesIO(content))

        client.meta.events.register("before-send.s3", answer)
        return client, calls

    return make


CRC32 = base64.b64encode(zlib.crc32(RIGHT).to_bytes(4, "big")).decode()


@pytest.mark.parametrize(
    ("contents", "checksum"),
    [
        # S3's checksum confirms it at once, or refutes it until it is right
        ([RIGHT], CRC32),
        ([WRONG, WRONG, RIGHT], CRC32),
        # without one it is read until it comes twice
        ([RIGHT, RIGHT], None),
        ([WRONG, RIGHT, RIGHT], None),
        # that of parts says nothing of the whole to botocore
        ([RIGHT, RIGHT], f"{CRC32}-2"),
    ],
)
def test_what_is_read_is_what_s3_has(answers: Answers, contents: list[bytes], checksum: str | None) -> None:
    client, calls = answers(*contents, checksum=checksum)

    assert fetch_payload(client, THERE, most=1000).encode() == RIGHT
    assert len(calls) == len(contents)


@pytest.mark.parametrize(("contents", "checksum"), [([WRONG] * 4, CRC32), ([RIGHT, WRONG, RIGHT, WRONG], None)])
def test_what_never_is_is_a_matter_for_later(answers: Answers, contents: list[bytes], checksum: str | None) -> None:
    client, _ = answers(*contents, checksum=checksum)

    with pytest.raises(StorageUnavailable, match="reading the payload s3://payloads/p failed"):
        fetch_payload(client, THERE, most=1000)


def test_what_is_no_text_is_bad_once_it_came_twice(answers: Answers) -> None:
    client, _ = answers(b"{\xff}", b"{\xff}", checksum=None)
    with pytest.raises(InvalidPayload, match="not UTF-8 at byte 1"):
        fetch_payload(client, THERE, most=1000)


def test_what_is_too_large_is_not_read(answers: Answers) -> None:
    client, calls = answers(RIGHT, checksum=None)
    with pytest.raises(LimitExceeded, match="MAX_PAYLOAD_BYTES=9"):
        fetch_payload(client, THERE, most=9)
    assert len(calls) == 1
