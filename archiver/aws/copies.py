"""One copy inside S3 into a part of an upload: what it is asked for by, and what S3 answers.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
"""

from urllib.parse import quote

from archiver.archive.storage import SourceObject
from archiver.aws.elements import fields_of
from archiver.aws.objects import decode_crc32
from archiver.aws.signing import encoded_path

#: The XML element that tells of a copy that is done.
COPIED = "CopyPartResult"


def copy_headers(source: SourceObject, start: int, stop: int) -> dict[str, str]:
    """What asks for a copy of the source's bytes [start, stop), if it still has the ETag first seen."""
    return {
        "x-amz-copy-source": _origin(source),
        "x-amz-copy-source-if-match": source.etag,
        "x-amz-copy-source-range": f"bytes={start}-{stop - 1}",
    }


def read_copy(content: bytes) -> tuple[str, int | None]:
    """The part's ETag and CRC32, None where the server tells none, of an answer whose element is ``COPIED``.

    Raises ``ConnectionError`` where something is in it that is none of S3's.
    """
    fields = fields_of(content)
    try:
        checksum = fields.get("ChecksumCRC32")
        return fields["ETag"], decode_crc32(checksum) if checksum else None
    except (KeyError, ValueError) as error:
        raise ConnectionError(f"the answer to UploadPartCopy is not S3's ({error!r})") from error


def _origin(source: SourceObject) -> str:
    """The source as S3 decodes it: the key percent-encoded once, also where it looks encoded, and behind an access
    point's ARN the word that tells the two apart."""
    between = "/object/" if source.bucket.startswith("arn:") else "/"
    origin = encoded_path(f"{source.bucket}{between}{source.key}")
    return f"{origin}?versionId={quote(source.version_id, safe='~')}" if source.version_id else origin
