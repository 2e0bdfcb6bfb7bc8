"""What S3's answers mean for the job, on each of its sides."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from archiver.archive.location import Location
from archiver.archive.storage import (
    ArchiveExists,
    ArchiveUnseen,
    BucketMissing,
    CopyRefused,
    SourceMissing,
    SourceObject,
    UploadGone,
    UploadsUnlisted,
)
from archiver.aws.elements import root_of
from archiver.aws.failures import (
    Refused,
    Side,
    copy_errors,
    destination_errors,
    refusal,
    source_errors,
    unlisted_uploads,
    unseen_archive,
)
from archiver.errors import (
    ArchiveRefused,
    DestinationUnavailable,
    LimitExceeded,
    SourceAccessDenied,
    SourceArchived,
    SourceChanged,
    SourceUnreadable,
    StorageUnavailable,
)

SOURCE = SourceObject("b", "k", 1, '"e"', 0)


def failure(code: str, status: int, **more: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "m", **more}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]  # no test needs the rest
        "GetObject",
    )


READING = [
    ("NoSuchKey", 404, SourceMissing),
    ("NoSuchVersion", 404, SourceMissing),
    ("404", 404, SourceMissing),
    ("MethodNotAllowed", 405, SourceMissing),  # a delete marker, asked for by its version
    ("AccessDenied", 403, SourceAccessDenied),
    ("403", 403, SourceAccessDenied),
    ("KMS.DisabledException", 400, SourceAccessDenied),
    ("KMS.NotFoundException", 400, SourceAccessDenied),
    ("KMS.KMSInvalidStateException", 400, SourceAccessDenied),
    ("InvalidObjectState", 403, SourceArchived),
    ("InvalidRequest", 400, SourceUnreadable),  # encrypted under a key of the customer's
    ("InvalidArgument", 400, SourceUnreadable),  # a versionId that is none
    ("KeyTooLongError", 400, SourceUnreadable),
    ("NotImplemented", 501, SourceUnreadable),
    ("PreconditionFailed", 412, SourceChanged),
    ("InvalidRange", 416, SourceChanged),
    ("ExpiredToken", 400, StorageUnavailable),
    ("InvalidAccessKeyId", 403, StorageUnavailable),
    ("SignatureDoesNotMatch", 403, StorageUnavailable),
    ("RequestTimeTooSkewed", 403, StorageUnavailable),
    ("KMS.ThrottlingException", 400, StorageUnavailable),
    ("SlowDown", 503, StorageUnavailable),
    ("InternalError", 500, StorageUnavailable),
    ("SomethingNew", 400, StorageUnavailable),
    ("", 400, StorageUnavailable),
]


@pytest.mark.parametrize(("code", "status", "meaning"), READING)
def test_of_a_source(code: str, status: int, meaning: type[Exception]) -> None:
    with pytest.raises(meaning, match="s3://b/k"), source_errors(Location("b", "k")):
        raise failure(code, status)
    told = "" if code.isdigit() else code
    with pytest.raises(meaning, match="s3://b/k"), source_errors(Location("b", "k")):
        raise Refused(status, told)


@pytest.mark.parametrize("code", ["NoSuchBucket", "InvalidBucketName", "NoSuchAccessPoint"])
@pytest.mark.parametrize("side", [Side.READ, Side.LIST])
def test_a_bucket_that_is_not_there_is_no_missing_object(code: str, side: Side) -> None:
    with pytest.raises(BucketMissing) as error, source_errors(Location("b", "k"), side):
        raise failure(code, 404)
    assert error.value.bucket == "b"


@pytest.mark.parametrize(
    ("code", "status", "meaning"),
    [
        ("AccessDenied", 403, SourceAccessDenied),
        ("InvalidArgument", 400, SourceUnreadable),
        ("SlowDown", 503, StorageUnavailable),
    ],
)
def test_of_a_listing_names_what_is_listed(code: str, status: int, meaning: type[Exception]) -> None:
    with pytest.raises(meaning, match="s3://b/p/"), source_errors(Location("b", "p/"), Side.LIST):
        raise failure(code, status)


@pytest.mark.parametrize(
    ("code", "status", "meaning", "told"),
    [
        ("InvalidObjectState", 403, SourceArchived, "^s3://b/k lies in an archive storage class"),
        ("PreconditionFailed", 412, SourceChanged, "^s3://b/k changed"),
        ("InvalidRange", 416, SourceChanged, "^s3://b/k changed"),
        ("AccessDenied", 403, CopyRefused, "AccessDenied: m"),
        ("InvalidRequest", 400, CopyRefused, "InvalidRequest: m"),
        ("KMS.DisabledException", 400, CopyRefused, "KMS.DisabledException: m"),
        ("NoSuchKey", 404, CopyRefused, "NoSuchKey: m"),
        ("NoSuchBucket", 404, CopyRefused, "NoSuchBucket: m"),
        ("NotImplemented", 501, CopyRefused, "NotImplemented: m"),
        ("NoSuchUpload", 404, UploadGone, "^$"),
        ("SlowDown", 503, StorageUnavailable, "^copying s3://b/k into s3://archives/a.zip failed"),
    ],
)
def test_of_a_copy_names_its_side(code: str, status: int, meaning: type[Exception], told: str) -> None:
    for refused in (failure(code, status), Refused(status, code, "m")):
        with pytest.raises(meaning, match=told) as error, copy_errors(SOURCE, "archives", "a.zip"):
            raise refused
        assert error.value.__cause__ is refused


@pytest.mark.parametrize(
    "refused",
    [failure("NoSuchBucket", 404, BucketName="archives"), Refused(404, "NoSuchBucket", "m", bucket="archives")],
)
def test_of_a_copy_into_a_bucket_that_is_not_there_is_the_destinations(refused: Exception) -> None:
    with (
        pytest.raises(DestinationUnavailable, match="no such bucket: 'archives'"),
        copy_errors(SOURCE, "archives", "a.zip"),
    ):
        raise refused


@pytest.mark.parametrize("error", [EndpointConnectionError(endpoint_url="x"), ConnectionResetError()])
@pytest.mark.parametrize(
    "side",
    [
        lambda: source_errors(Location("b", "k")),
        lambda: destination_errors("b", "k"),
        lambda: copy_errors(SOURCE, "archives", "a.zip"),
    ],
)
def test_of_the_network(error: Exception, side: Callable[[], AbstractContextManager[None]]) -> None:
    with pytest.raises(StorageUnavailable), side():
        raise error


@pytest.mark.parametrize(
    ("code", "status"),
    [("AccessDenied", 403), ("NoSuchBucket", 404), ("ExpiredToken", 400), ("KMS.DisabledException", 400)],
)
def test_of_the_destination_is_never_the_message_s_fault(code: str, status: int) -> None:
    with pytest.raises(DestinationUnavailable, match="s3://b/k"), destination_errors("b", "k"):
        raise failure(code, status)


@pytest.mark.parametrize(
    ("code", "status", "meaning"),
    [
        ("PreconditionFailed", 412, ArchiveExists),
        ("ConditionalRequestConflict", 409, ArchiveExists),
        ("NoSuchUpload", 404, UploadGone),
        ("InvalidPart", 400, ArchiveRefused),
        ("BadDigest", 400, ArchiveRefused),
        ("InvalidRequest", 400, ArchiveRefused),
        ("EntityTooLarge", 400, LimitExceeded),
        ("InternalError", 500, StorageUnavailable),
        ("AccessDenied", 403, DestinationUnavailable),
    ],
)
def test_of_a_completion(code: str, status: int, meaning: type[Exception]) -> None:
    with pytest.raises(meaning), destination_errors("b", "k", Side.COMPLETE):
        raise failure(code, status)


def test_what_may_not_be_listed_or_looked_at_is_told_apart() -> None:
    with pytest.raises(UploadsUnlisted), destination_errors("b", "k"), unlisted_uploads("b"):
        raise failure("AccessDenied", 403)
    with pytest.raises(ArchiveUnseen), destination_errors("b", "k"), unseen_archive("b", "k"):
        raise failure("403", 403)
    with pytest.raises(DestinationUnavailable) as error, destination_errors("b", "k"), unlisted_uploads("b"):
        raise failure("ExpiredToken", 400)
    assert type(error.value) is DestinationUnavailable


def test_the_body_of_an_answer_tells_code_message_and_bucket() -> None:
    told = refusal(
        404, b"<Error><Code>NoSuchBucket</Code><Message>no &amp; no</Message><BucketName>b</BucketName></Error>"
    )

    assert (told.status, told.code, told.message, told.bucket) == (404, "NoSuchBucket", "no & no", "b")
    assert (refusal(404, b"").code, refusal(500, b"<html>").code) == ("", "")


@pytest.mark.parametrize(
    ("body", "root"),
    [
        (b"<Error><Code>c</Code></Error>", "Error"),
        (b'<?xml version="1.0"?>\n \n<CopyPartResult xmlns="http://s3/"><ETag/></CopyPartResult>', "CopyPartResult"),
        (b' \n<?xml version="1.0" encoding="UTF-8"?><s:Error xmlns:s="http://s3/"/>', "Error"),
        (b"<Error><Code>c</Code>", ""),
        (b"<html><p>Welcome</html>", ""),
        (b"Error", ""),
        (b"", ""),
    ],
)
def test_an_answer_is_the_element_that_it_is_whole(body: bytes, root: str) -> None:
    assert root_of(body) == root
