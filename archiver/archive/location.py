"""Where an object lies: the bucket, key and version that a source names."""

import re
import sys
from dataclasses import dataclass
from urllib.parse import unquote

from archiver.errors import shown

#: Longest S3 key, in bytes of UTF-8: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MAX_KEY_BYTES = 1024

#: General purpose buckets have 3 to 63 characters; buckets from before 2018 up to 255, with capitals and underscores:
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
#: Access points by their ARN, which stands where a bucket's name does; their aliases are names of buckets already:
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html
ACCESS_POINT = re.compile(r"arn:aws[a-z-]*:s3:[a-z0-9-]+:\d{12}:accesspoint[/:][a-z0-9-]{3,50}")
#: Longest id of a version, in bytes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html
MAX_VERSION_BYTES = 1024
_VERSION = re.compile(r"\?versionId=(?P<version>[^?&]+)$")
_VERSION_ID = re.compile(rf"[!-~]{{1,{MAX_VERSION_BYTES}}}")

#: The ways to write an object's place that are not ours; https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
_S3_HOST = r"s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?(?:\.[a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?"
_URLS = (
    re.compile(rf"https?://{_S3_HOST}/(?P<bucket>[^/?#]+)/?(?P<key>[^?#]*)", re.IGNORECASE),
    re.compile(rf"https?://(?P<bucket>[^/?#]+?)\.{_S3_HOST}/?(?P<key>[^?#]*)", re.IGNORECASE),
)
_ARN = re.compile(r"arn:[a-z-]+:s3:[^:]*:[^:]*:(?P<bucket>[^/:]+)/?(?P<key>.*)", re.DOTALL)
_WILDCARD = re.compile(r"[*?]")
#: Where the parameters of a URL begin: that of a presigned one may have been put behind a key.
_QUERY = re.compile(r"\?[A-Za-z0-9-]+=")


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
            hint = other_writing(source)
            raise ValueError("names no bucket, and S3_SOURCE_BUCKET is not set" + (f"; {hint}" if hint else ""))
        return check_key(Location(default_bucket, source))
    bucket, slash, key = _parted(source[len("s3://") :])
    bucket = sys.intern(bucket)  # a million sources lie in a few
    if not (BUCKET.fullmatch(bucket) or ACCESS_POINT.fullmatch(bucket)):
        raise ValueError(f"names no valid bucket ({shown(bucket)})")
    if not slash:
        raise ValueError("names no key; s3://bucket/ takes the whole bucket")
    version = _VERSION.search(key)
    if version is None:
        return check_key(Location(bucket, key))
    location = Location(bucket, key[: version.start()], version["version"])
    if location.is_prefix:
        raise ValueError("pins the version of a prefix")
    if not _VERSION_ID.fullmatch(version["version"]):
        raise ValueError(f"names no valid version: an id has up to {MAX_VERSION_BYTES} characters that a URL takes")
    return check_key(location)


def _parted(path: str) -> tuple[str, str, str]:
    """The bucket, or the ARN of an access point, which may hold a slash; the slash behind it; the key."""
    access_point = ACCESS_POINT.match(path) if path.startswith("arn:") else None
    if access_point is None:
        return path.partition("/")
    rest, slash, key = path[access_point.end() :].partition("/")
    return access_point[0] + rest, slash, key


def other_writing(source: str) -> str | None:
    """What a source that names nothing looks like, and how to write it; None where it looks like a key.

    Nothing of a URL behind its path is quoted, where presigned ones have their signature.
    """
    if source.lower().startswith(("http://", "https://")):
        for pattern in _URLS:
            if url := pattern.match(source):
                return f"it looks like a URL: write s3://{url['bucket']}/{unquote(url['key'])}"
        return "it looks like a URL: write s3://bucket/key"
    if source.startswith("arn:"):
        if ACCESS_POINT.match(source):
            return "it looks like an access point: write s3:// before its ARN, and a slash and the key behind it"
        arn = _ARN.match(source)
        return (
            f"it looks like an ARN: write s3://{arn['bucket']}/{arn['key']}"
            if arn
            else "it looks like an ARN: write s3://bucket/key"
        )
    if version := _VERSION.search(source):
        if not source.lower().startswith("s3://"):
            return "a version is pinned on an s3:// source alone: write s3://bucket/key?versionId=…"
        source = source[: version.start()]
    if _QUERY.search(source):
        return "it looks like a key with a URL's parameters: leave them out, from the question mark on"
    if wildcard := _WILDCARD.search(source):
        folder = source[: source.rfind("/", 0, wildcard.start()) + 1]
        return f"wildcards are not expanded: {folder or 's3://bucket/'} takes every object below it"
    return None


def check_key(location: Location) -> Location:
    """The same, where S3 can have such a key. Raises ``ValueError`` as ``parse_location`` does."""
    if "\0" in location.key:
        raise ValueError("holds a NUL character")
    if len(location.key.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"the key is longer than S3's {MAX_KEY_BYTES} bytes")
    return location
