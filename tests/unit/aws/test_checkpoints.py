"""Checkpoints in S3: what S3 answers, and what that means."""

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from archiver.aws.checkpoints import S3Checkpoints
from archiver.errors import StorageUnavailable


@pytest.fixture
def stubbed() -> tuple[S3Checkpoints, Stubber]:
    client: Any = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    return S3Checkpoints(client, "archives"), Stubber(client)


def test_one_is_written_with_its_checksum(stubbed: tuple[S3Checkpoints, Stubber]) -> None:
    checkpoints, stubber = stubbed
    expected = {
        "Bucket": "archives",
        "Key": "archiver-checkpoints/n",
        "Body": b"123456789",
        "ChecksumCRC32": "y/Q5Jg==",
    }
    stubber.add_response("put_object", {}, expected)
    with stubber:
        checkpoints.save("n", b"123456789")


@pytest.mark.parametrize(("status", "code"), [(404, "NoSuchKey"), (403, "AccessDenied")])
def test_one_that_is_not_there_is_none(stubbed: tuple[S3Checkpoints, Stubber], status: int, code: str) -> None:
    """Without the right to list the bucket S3 says so of what is not there."""
    checkpoints, stubber = stubbed
    stubber.add_client_error("get_object", code, http_status_code=status)
    with stubber:
        assert checkpoints.load("n") is None


def test_what_s3_refuses_is_storage_that_is_away(stubbed: tuple[S3Checkpoints, Stubber]) -> None:
    checkpoints, stubber = stubbed
    stubber.add_client_error("put_object", "AccessDenied", http_status_code=403)
    stubber.add_client_error("get_object", "InternalError", http_status_code=500)
    stubber.add_response("get_object", {"ContentLength": 2**30})
    with stubber:
        with pytest.raises(StorageUnavailable, match="s3://archives/archiver-checkpoints/n can't be written"):
            checkpoints.save("n", b"x")
        with pytest.raises(StorageUnavailable, match="can't be read"):
            checkpoints.load("n")
        with pytest.raises(StorageUnavailable, match="more than"):
            checkpoints.load("n")
