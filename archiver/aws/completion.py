"""The completion of an upload: what it is asked for by, and what S3 answers.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
"""

from collections.abc import Iterator, Sequence
from html import escape

from archiver.archive.storage import UploadedPart
from archiver.aws.elements import fields_of
from archiver.aws.objects import encode_crc32

#: The XML element that tells of an upload that is complete.
COMPLETED = "CompleteMultipartUploadResult"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def completion_headers(*, crc32: int, size: int, overwrite: bool) -> dict[str, str]:
    """What asks for an archive of this CRC32 and size, and for none where there is one already."""
    headers = {
        "content-type": "application/xml",
        "x-amz-checksum-crc32": encode_crc32(crc32),
        "x-amz-checksum-type": "FULL_OBJECT",
        "x-amz-mp-object-size": str(size),
    }
    return headers if overwrite else headers | {"if-none-match": "*"}


def completion_body(parts: Sequence[UploadedPart]) -> bytes:
    """The list of the archive's parts."""
    listed = "".join(_listed(parts))
    return f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{listed}</CompleteMultipartUpload>'.encode()


def read_completion(content: bytes) -> str:
    """The archive's ETag, without quotes, of an answer whose element is ``COMPLETED``.

    Raises ``ConnectionError`` where none is in it.
    """
    etag = fields_of(content).get("ETag", "").strip('"')
    if not etag:
        raise ConnectionError("the answer to CompleteMultipartUpload is not S3's: it has no ETag")
    return etag


def _listed(parts: Sequence[UploadedPart]) -> Iterator[str]:
    for part in parts:
        checksum = "" if part.crc32 is None else f"<ChecksumCRC32>{encode_crc32(part.crc32)}</ChecksumCRC32>"
        etag = escape(part.etag, quote=False)
        yield f"<Part><ETag>{etag}</ETag>{checksum}<PartNumber>{part.number}</PartNumber></Part>"
