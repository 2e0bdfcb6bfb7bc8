"""Where an object lies: the bucket, key and version that a source names."""

import re
from dataclasses import dataclass

from archiver.errors import shown

#: Longest S3 key, in bytes of UTF-8: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MAX_KEY_BYTES = 1024

#: General purpose buckets have 3 to 63 characters; buckets from before 2018 up to 255, with capitals and underscores:
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_VERSION = re.compile(r"\?versionId=(?P<version>[^?&]+)$")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a source lies. A ``key`` that is empty or ends in ``/`` is a prefix."""

    bucket: str
    key: str
    version_id: str | None = None

    @property
    def is_prefix(self) -> bool:
        return not self.key or self.key.endswith("/")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" + (f"?versionId={self.version_id}" if self.version_id else "")


def parse_location(source: str, *, default_bucket: str | None) -> Location:
    """The bucket, key and version that a ``source`` names.

    Raises ``ValueError``; its message names neither field nor value, which the caller knows.
    """
    if "\x00" in source:
        raise ValueError("holds a NUL character")
    try:
        source.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode") from None
    if not source.lower().startswith("s3://"):
        if not source:
            raise ValueError("is empty")
        if default_bucket is None:
            raise ValueError("names no bucket, and S3_SOURCE_BUCKET is not set")
        return _checked(Location(default_bucket, source))
    bucket, slash, key = source[len("s3://") :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"names no valid bucket ({shown(bucket)})")
    if not slash:
        raise ValueError("names no key; s3://bucket/ takes the whole bucket")
    version = _VERSION.search(key)
    if version is None:
        return _checked(Location(bucket, key))
    location = Location(bucket, key[: version.start()], version["version"])
    if location.is_prefix:
        raise ValueError("pins the version of a prefix")
    return _checked(location)


def _checked(location: Location) -> Location:
    if len(location.key.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"the key is longer than S3's {MAX_KEY_BYTES} bytes")
    return location
