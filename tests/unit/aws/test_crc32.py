"""The CRC32 that S3 tells, and what a server tells in its place."""

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.traffic import Traffic
from archiver.aws.multipart import S3Uploads
from archiver.aws.objects import decode_crc32, encode_crc32
from archiver.aws.throttle import Throttle

NONE_OF_A_CRC32 = ["", "AAAA", "AAAAAAA=", "AAAAAA", "AA\nAAAA==", "!AAAAAA==", "AAAAAA==A", "é"]


@given(st.integers(min_value=0, max_value=0xFFFFFFFF))
def test_a_crc32_in_s3s_form_is_the_same_again(value: int) -> None:
    assert decode_crc32(encode_crc32(value)) == value


@pytest.mark.parametrize("text", NONE_OF_A_CRC32)
def test_what_is_no_crc32_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"byte|[Pp]adding|data|ASCII"):
        decode_crc32(text)


@pytest.mark.parametrize("text", [*NONE_OF_A_CRC32, "AAAAAA==-2"])
def test_of_an_upload_it_is_as_if_none_was_told(text: str) -> None:
    # given a server that tells nonsense of an archive and of a part
    client: Any = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    no_http: Any = None
    uploads = S3Uploads(client, no_http, bucket="archives", traffic=Traffic(), throttle=Throttle(1))
    archive = {"ETag": '"e"', "ContentLength": 9, "Metadata": {}, "ChecksumCRC32": text}
    part = {"PartNumber": 1, "ETag": '"e"', "Size": 9, "ChecksumCRC32": text}

    # when both are looked at
    with Stubber(client) as stubber:
        stubber.add_response("head_object", archive)
        stubber.add_response("list_parts", {"Parts": [part], "IsTruncated": False})
        found, parts = uploads.find_archive("a.zip"), uploads.parts_of("a.zip", "u")

    # then they are there, without one
    assert found is not None
    assert (found.size, found.crc32) == (9, None)
    assert (parts[1].size, parts[1].crc32) == (9, None)
