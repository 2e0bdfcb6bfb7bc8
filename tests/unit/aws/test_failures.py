"""What S3's answers mean for the job."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from archiver.archive.storage import SourceMissing
from archiver.aws.failures import destination_errors, source_errors
from archiver.errors import DestinationUnavailable, SourceAccessDenied, SourceChanged, StorageUnavailable


def failure(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]  # no test needs the rest
        "GetObject",
    )


@pytest.mark.parametrize(
    ("code", "status", "meaning"),
    [
        ("NoSuchKey", 404, SourceMissing),
        ("NoSuchVersion", 404, SourceMissing),
        ("NoSuchBucket", 404, SourceMissing),
        ("404", 404, SourceMissing),
        ("MethodNotAllowed", 405, SourceMissing),  # a delete marker, asked for by its version
        ("AccessDenied", 403, SourceAccessDenied),
        ("InvalidObjectState", 403, SourceAccessDenied),
        ("PreconditionFailed", 412, SourceChanged),
        ("InvalidRange", 416, SourceChanged),
        ("ExpiredToken", 400, StorageUnavailable),
        ("InvalidAccessKeyId", 403, StorageUnavailable),
        ("SignatureDoesNotMatch", 403, StorageUnavailable),
        ("RequestTimeTooSkewed", 403, StorageUnavailable),
        ("SlowDown", 503, StorageUnavailable),
        ("InternalError", 500, StorageUnavailable),
        ("", 400, StorageUnavailable),
    ],
)
def test_of_a_source(code: str, status: int, meaning: type[Exception]) -> None:
    with pytest.raises(meaning, match="s3://b/k"), source_errors("s3://b/k"):
        raise failure(code, status)


@pytest.mark.parametrize("error", [EndpointConnectionError(endpoint_url="x"), ConnectionResetError()])
def test_of_the_network(error: Exception) -> None:
    with pytest.raises(StorageUnavailable), source_errors("s3://b/k"):
        raise error
    with pytest.raises(StorageUnavailable), destination_errors("b", "k"):
        raise error


@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("NoSuchBucket", 404), ("ExpiredToken", 400)])
def test_of_the_destination_is_never_the_message_s_fault(code: str, status: int) -> None:
    with pytest.raises(DestinationUnavailable, match="s3://b/k"), destination_errors("b", "k"):
        raise failure(code, status)
