"""What an answer of S3 that is no success means for the job: one table for every side of a job.

The codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; those that begin with ``KMS.`` are S3's
names for https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html and the errors of KMS's Decrypt and
GenerateDataKey. A code that is in no row is worth another attempt.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from html import unescape

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

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

#: What boto3 raises for a request that never got an answer, or not all of it.
NO_ANSWER = (BotoCoreError, HTTPClientError, OSError)
#: Statuses of an answer that asks for fewer requests, and codes that do so under another status.
SLOW_DOWN_STATUSES = (429, 503)
SLOW_DOWN_CODES = frozenset({"SlowDown", "RequestLimitExceeded", "BandwidthLimitExceeded", "KMS.ThrottlingException"})


class Side(Enum):
    """What was asked for: a GET or HEAD of a source, a LIST of sources, a copy into a part, or the archive's side."""

    READ = auto()
    LIST = auto()
    COPY = auto()
    WRITE = auto()
    COMPLETE = auto()


class Verdict(Enum):
    """What an answer means."""

    LATER = auto()  # another attempt may do
    MISSING = auto()  # there is no such object or version
    NO_BUCKET = auto()  # there is no such bucket
    DENIED = auto()  # not for this role, as long as nobody gives it the right
    ARCHIVED = auto()  # not before somebody restores it
    NEVER = auto()  # not with any request that this service sends
    CHANGED = auto()  # not the object that the job looked at
    READ_IT = auto()  # not inside S3; a read does, or says which side it is
    GONE = auto()  # somebody else has completed or aborted the upload
    TAKEN = auto()  # somebody else was first
    UNPLANNED = auto()  # what S3 has is not what was planned
    TOO_LARGE = auto()  # no archive of S3's is so large


_L, _N = Verdict.LATER, Verdict.NEVER
_TABLE: tuple[tuple[str, tuple[Verdict, Verdict, Verdict, Verdict, Verdict]], ...] = (
    # A number stands for that status without a code, as HEAD answers.
    # codes, and the verdicts on: READ, LIST, COPY, WRITE, COMPLETE
    ("NoSuchKey NoSuchVersion", (Verdict.MISSING, _L, Verdict.READ_IT, _L, _L)),
    # A delete marker, asked for by its version.
    ("MethodNotAllowed 405", (Verdict.MISSING, _L, Verdict.READ_IT, _L, _L)),
    ("404 NotFound", (Verdict.MISSING, Verdict.NO_BUCKET, Verdict.READ_IT, _L, _L)),
    (
        "NoSuchBucket InvalidBucketName NoSuchAccessPoint InvalidAccessPointAliasError",
        (Verdict.NO_BUCKET, Verdict.NO_BUCKET, Verdict.READ_IT, Verdict.NO_BUCKET, Verdict.NO_BUCKET),
    ),
    ("AccessDenied 403", (Verdict.DENIED, Verdict.DENIED, Verdict.READ_IT, Verdict.DENIED, Verdict.DENIED)),
    ("AllAccessDisabled InvalidPayer", (Verdict.DENIED, Verdict.DENIED, Verdict.READ_IT, _L, _L)),
    # The key of the source, or of the archives' bucket.
    (
        "KMS.DisabledException KMS.NotFoundException KMS.InvalidKeyUsageException KMS.InvalidStateException "
        "KMS.KMSInvalidStateException KMS.AccessDeniedException KMS.IncorrectKeyException "
        "KMS.InvalidCiphertextException",
        (Verdict.DENIED, Verdict.DENIED, Verdict.READ_IT, _L, _L),
    ),
    ("InvalidObjectState", (Verdict.ARCHIVED, _L, Verdict.ARCHIVED, _L, _L)),
    # An object under a key of the customer's (SSE-C), and a versionId that is none, among others.
    ("InvalidRequest", (_N, _N, Verdict.READ_IT, _L, Verdict.UNPLANNED)),
    (
        "InvalidArgument InvalidEncryptionAlgorithmError ServerSideEncryptionConfigurationNotFoundError "
        "RequestHeaderSectionTooLarge NotImplemented 501",
        (_N, _N, Verdict.READ_IT, _L, _L),
    ),
    ("KeyTooLongError InvalidURI RequestURITooLarge 414", (_N, _N, _N, _L, _L)),
    # Another region or partition.
    (
        "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException",
        (_L, _L, Verdict.READ_IT, _L, _L),
    ),
    ("PreconditionFailed 412", (Verdict.CHANGED, _L, Verdict.CHANGED, Verdict.TAKEN, Verdict.TAKEN)),
    ("InvalidRange 416", (Verdict.CHANGED, _L, Verdict.CHANGED, _L, _L)),
    ("ConditionalRequestConflict 409", (_L, _L, _L, Verdict.TAKEN, Verdict.TAKEN)),
    ("NoSuchUpload", (_L, _L, Verdict.GONE, Verdict.GONE, Verdict.GONE)),
    (
        "BadDigest XAmzContentChecksumMismatch InvalidPart InvalidPartOrder EntityTooSmall",
        (_L, _L, _L, _L, Verdict.UNPLANNED),
    ),
    ("EntityTooLarge", (_L, _L, _L, Verdict.TOO_LARGE, Verdict.TOO_LARGE)),
)
_VERDICTS = {
    (code, side): verdict
    for codes, verdicts in _TABLE
    for code in codes.split()
    for side, verdict in zip(Side, verdicts, strict=True)
}


class Refused(Exception):
    """An answer that is no success: the HTTP ``status``, S3's ``code`` and ``message``, empty where it had no body.

    ``bucket`` is the one that S3 means, where it says so.
    """

    def __init__(self, status: int, code: str = "", message: str = "", *, bucket: str | None = None) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.bucket = bucket
        super().__init__(f"{code or status}: {message}" if message else code or f"status {status}")

    def verdict(self, side: Side) -> Verdict:
        """What it means on a side of the job."""
        return _VERDICTS.get((self.code or str(self.status), side), Verdict.LATER)

    @property
    def is_denial(self) -> bool:
        """Whether a right is missing, as the status or, with another status, the code says."""
        return self.status == 403 or "AccessDenied" in self.code

    @property
    def slows_down(self) -> bool:
        """Whether S3 asks for fewer requests."""
        return self.status in SLOW_DOWN_STATUSES or self.code in SLOW_DOWN_CODES


def refused_by(error: ClientError) -> Refused:
    """What boto3's error says that S3 answered."""
    details = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(details.get("Code") or "")
    # boto3 puts the status in the code's place where there was no body.
    return Refused(
        status or (int(code) if code.isdigit() else 0),
        "" if code.isdigit() else code,
        "" if code.isdigit() else str(details.get("Message") or ""),
        bucket=details.get("BucketName"),  # type: ignore[arg-type]  # S3's own element, which the stubs don't know
    )


def refusal(status: int, body: bytes) -> Refused:
    """What the body of an answer of S3 says."""
    return Refused(
        status, _element(body, "Code") or "", _element(body, "Message") or "", bucket=_element(body, "BucketName")
    )


def _element(body: bytes, name: str) -> str | None:
    found = re.search(f"<{name}>([^<]*)</{name}>", body.decode(errors="replace"))
    return unescape(found[1]) if found else None


@contextmanager
def source_errors(source: Location | SourceObject, side: Side = Side.READ) -> Iterator[None]:
    """Turn what is raised while ``source`` is read or listed into what the pipeline knows."""
    try:
        yield
    except ClientError as error:
        raise _source_failure(source, side, refused_by(error), text=str(error)) from error
    except Refused as error:
        raise _source_failure(source, side, error, text=str(error)) from error
    except NO_ANSWER as error:
        raise StorageUnavailable(f"{_DOING[side]} {source} failed: {error}") from error


_DOING = {Side.READ: "reading", Side.LIST: "listing"}


def _source_failure(source: Location | SourceObject, side: Side, refused: Refused, *, text: str) -> Exception:
    match refused.verdict(side):
        case Verdict.MISSING:
            return SourceMissing(str(source))
        case Verdict.NO_BUCKET:
            return BucketMissing(source.bucket)
        case Verdict.CHANGED:
            return SourceChanged(f"{source} changed while the archive was being built ({refused})")
        case Verdict.DENIED if side is Side.LIST:
            return SourceAccessDenied(f"listing {source} is denied ({refused}); it takes s3:ListBucket on the bucket")
        case Verdict.DENIED:
            return SourceAccessDenied(f"access to {source} is denied ({refused})")
        case Verdict.ARCHIVED:
            return archived(source)
        case Verdict.NEVER:
            return SourceUnreadable(f"{source} can't be read: S3 refuses it ({refused})")
        case _:
            return StorageUnavailable(f"{_DOING[side]} {source} failed: {text}")


def archived(source: Location | SourceObject) -> SourceArchived:
    """An object that nobody can read before it is restored."""
    return SourceArchived(f"{source} lies in an archive storage class and must be restored first")


@contextmanager
def destination_errors(bucket: str, key: str, side: Side = Side.WRITE) -> Iterator[None]:
    """Turn what is raised while the archive is written into what the pipeline knows.

    A destination that refuses is a matter of the deployment, not of the message: it is transient.
    """
    try:
        yield
    except (ClientError, Refused) as error:
        where = f"s3://{bucket}/{key}"
        refused = error if isinstance(error, Refused) else refused_by(error)
        match refused.verdict(side):
            case Verdict.GONE:
                raise UploadGone from error
            case Verdict.TAKEN:
                raise ArchiveExists(key) from error
            case Verdict.UNPLANNED:
                raise ArchiveRefused(f"S3 refused to complete {where}: {error}") from error
            case Verdict.TOO_LARGE:
                raise LimitExceeded(f"S3 takes no archive so large: writing {where} failed: {error}") from error
            case Verdict.NO_BUCKET:
                raise DestinationUnavailable(f"writing {where} failed: no such bucket: {bucket!r}") from error
        if refused.status >= 500 or refused.slows_down:
            raise StorageUnavailable(f"writing {where} failed: {error}") from error
        raise DestinationUnavailable(f"writing {where} failed: {error}") from error
    except NO_ANSWER as error:
        raise StorageUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error


@contextmanager
def copy_errors(source: SourceObject, bucket: str, key: str) -> Iterator[None]:
    """Turn what is raised while ``source`` is copied into the archive into what the pipeline knows, by its side.

    Where S3 does not tell whose fault it is, the source is read instead, which does.
    """
    doing = f"copying {source} into s3://{bucket}/{key}"
    try:
        yield
    except (ClientError, Refused) as error:
        refused = error if isinstance(error, Refused) else refused_by(error)
        if refused.verdict(Side.WRITE) is Verdict.NO_BUCKET and refused.bucket == bucket:
            raise DestinationUnavailable(f"{doing} failed: no such bucket: {bucket!r}") from error
        match refused.verdict(Side.COPY):
            case Verdict.GONE:
                raise UploadGone from error
            case Verdict.READ_IT:
                raise CopyRefused(str(refused)) from error
            case Verdict.LATER:
                raise StorageUnavailable(f"{doing} failed: {error}") from error
        raise _source_failure(source, Side.COPY, refused, text=str(error)) from error
    except NO_ANSWER as error:
        raise StorageUnavailable(f"{doing} failed: {error}") from error


@contextmanager
def unlisted_uploads(bucket: str) -> Iterator[None]:
    """Where a role may not list uploads or their parts, say so: an upload can be done without."""
    try:
        yield
    except ClientError as error:
        if refused_by(error).verdict(Side.WRITE) is Verdict.DENIED:
            raise UploadsUnlisted(f"the uploads in s3://{bucket} can't be listed: {error}") from error
        raise


@contextmanager
def unseen_archive(bucket: str, key: str) -> Iterator[None]:
    """Where a role may not look at an archive, say so: without s3:ListBucket, S3 answers so where none is, too."""
    try:
        yield
    except ClientError as error:
        if refused_by(error).verdict(Side.WRITE) is Verdict.DENIED:
            raise ArchiveUnseen(f"s3://{bucket}/{key} can't be looked at: {error}") from error
        raise
