"""Reading payloads that a pointer leads to, as S3 has them."""

from typing import TYPE_CHECKING

from botocore.exceptions import FlexibleChecksumError

from archiver.archive.location import Location
from archiver.archive.reading import READS
from archiver.archive.storage import BucketMissing, SourceMissing
from archiver.aws.failures import source_errors
from archiver.errors import InvalidPayload, LimitExceeded, StorageUnavailable
from archiver.logs import get_logger

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = get_logger(__name__)


def fetch_payload(client: "S3Client", location: Location, *, most: int) -> str:
    """The text of a payload of at most ``most`` bytes, as S3 has it: where S3 tells no checksum, it is read twice.

    Raises ``InvalidPayload`` where there is none or it is no text, ``LimitExceeded``, ``SourceAccessDenied`` and
    ``StorageUnavailable``, also where its bytes never are what S3 says.
    """
    once: bytes | None = None
    for again in range(READS):
        try:
            body, compared = _read(client, location, most=most)
        except FlexibleChecksumError as error:
            log.warning("payload read again: bytes are not what S3 says", payload=str(location), reason=str(error))
            continue
        if compared or body == once:
            break
        if once is not None:
            log.warning("payload read again: bytes were others before", payload=str(location), reading=again + 1)
        once = body
    else:
        raise StorageUnavailable(f"reading the payload {location} failed: its bytes are not what S3 has, {READS} times")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidPayload(f"the payload {location} is not UTF-8 at byte {error.start}") from None


def _read(client: "S3Client", location: Location, *, most: int) -> tuple[bytes, bool]:
    """The content, and whether it was compared with a checksum. Raises ``FlexibleChecksumError`` where that differs."""
    try:
        with source_errors(location):
            answer = client.get_object(Bucket=location.bucket, Key=location.key, ChecksumMode="ENABLED")
            if answer["ContentLength"] > most:
                raise LimitExceeded(
                    f"the payload {location} has {answer['ContentLength']} bytes, more than MAX_PAYLOAD_BYTES={most}"
                )
            # With those of a whole object botocore compares the content as it is read.
            checksums = {**answer}
            told = [checksums.get(f"Checksum{algorithm}") for algorithm in ("CRC32", "SHA1", "SHA256")]
            compared = any(isinstance(checksum, str) and "-" not in checksum for checksum in told)
            return answer["Body"].read(), compared
    except StorageUnavailable as error:
        if isinstance(error.__cause__, FlexibleChecksumError):
            raise error.__cause__ from None
        raise
    except (SourceMissing, BucketMissing):
        raise InvalidPayload(f"the payload {location} does not exist") from None
