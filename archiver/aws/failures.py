"""What a failed S3 call means for the job.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from archiver.archive.storage import SourceMissing
from archiver.errors import DestinationUnavailable, SourceAccessDenied, SourceChanged, StorageUnavailable

MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NoSuchBucket", "NotFound", "MethodNotAllowed", "405"})
DENIED = frozenset(
    {"403", "AccessDenied", "AllAccessDisabled", "AccountProblem", "KMS.DisabledException", "KMS.NotFoundException"}
)
CHANGED = frozenset({"412", "PreconditionFailed", "416", "InvalidRange"})
#: What S3 answers where it won't copy although the object may be readable: no permission for the copy, another
#: region or partition, encryption that a copy can't carry, or a server without the call.
COPY_REFUSED = frozenset(
    {"403", "AccessDenied", "InvalidRequest", "InvalidArgument", "NotImplemented", "MethodNotAllowed", "501", "405",
     "PermanentRedirect", "AuthorizationHeaderMalformed", "KMS.DisabledException", "KMS.NotFoundException",
     "IllegalLocationConstraintException", "404", "NoSuchKey", "NoSuchVersion", "NoSuchBucket"}
)  # fmt: skip


def error_code(error: ClientError) -> str:
    """S3's code for the failure; the status where the response has no body (HEAD)."""
    details = error.response.get("Error", {})
    return str(details.get("Code") or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def status(error: ClientError) -> int:
    """The HTTP status of the response."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def source_errors(source: object) -> Iterator[None]:
    """Turn what boto3 raises while ``source`` is read into what the pipeline knows."""
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        if code in MISSING:
            raise SourceMissing(str(source)) from error
        if code in CHANGED:
            raise SourceChanged(f"{source} changed while the archive was being built ({code})") from error
        if code in DENIED:
            raise SourceAccessDenied(
                f"access to {source} is denied ({code}: {error.response['Error'].get('Message', '')})"
            ) from error
        if code == "InvalidObjectState":
            raise SourceAccessDenied(
                f"{source} lies in an archive storage class and must be restored first ({code})"
            ) from error
        raise StorageUnavailable(f"reading {source} failed: {error}") from error
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise StorageUnavailable(f"reading {source} failed: {error}") from error


@contextmanager
def destination_errors(bucket: str, key: str) -> Iterator[None]:
    """Turn what boto3 raises while the archive is written into what the pipeline knows.

    A destination that refuses is a matter of the deployment, not of the message: it is transient.
    """
    try:
        yield
    except ClientError as error:
        raise DestinationUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise StorageUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error
