"""An archive's object, as it is asked for: its upload's beginning, or all of it in one request.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html,
https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

from urllib.parse import urlencode

from archiver.archive.storage import ArchiveObject
from archiver.aws.elements import fields_of
from archiver.aws.objects import crc32_headers

#: The XML element that tells of an upload that has begun.
CREATED = "InitiateMultipartUploadResult"


def creation_headers(archive: ArchiveObject) -> dict[str, str]:
    """What begins an archive's upload. S3 computes a CRC32 for each part, and one for the whole at the end."""
    return _headers(archive) | {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"}


def put_headers(archive: ArchiveObject, *, crc32: int) -> dict[str, str]:
    """What goes with an archive of this CRC32 in one request, for none where there is one already."""
    headers = _headers(archive) | crc32_headers(crc32)
    return headers if archive.overwrite else headers | {"if-none-match": "*"}


def read_creation(content: bytes) -> str:
    """The upload's id, of an answer whose element is ``CREATED``. Raises ``ConnectionError`` where none is in it."""
    upload_id = fields_of(content).get("UploadId", "")
    if not upload_id:
        raise ConnectionError("the answer to CreateMultipartUpload is not S3's: it has no UploadId")
    return upload_id


def _headers(archive: ArchiveObject) -> dict[str, str]:
    optional = {
        "content-disposition": archive.content_disposition,
        "x-amz-tagging": urlencode(archive.tags) if archive.tags else None,
        "x-amz-storage-class": archive.storage_class,
    }
    return {
        "content-type": "application/zip",
        **{f"x-amz-meta-{name}": value for name, value in archive.metadata.items()},
        **{name: value for name, value in optional.items() if value},
    }
