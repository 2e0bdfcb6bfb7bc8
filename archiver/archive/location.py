"""Where an object lies: the bucket, key and version that a source names."""

import re
import sys
from typing import NamedTuple
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
_SCHEME = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9+.-]*)://")
_ELSEWHERE = {
    "gs": "Google Cloud Storage",
    "az": "Azure",
    "abfs": "Azure",
    "abfss": "Azure",
    "wasb": "Azure",
    "wasbs": "Azure",
    "file": "a file",
    "ftp": "an FTP server",
    "sftp": "an SFTP server",
}
_ONE_SLASH = re.compile(r"s3:/?[^/]", re.IGNORECASE)
_SIGNED = re.compile(r"[?&](?:X-Amz-)?Signature=", re.IGNORECASE)
_URL_VERSION = re.compile(r"[?&]versionId=(?P<version>[A-Za-z0-9._-]+)")
_WILDCARD = re.compile(r"[*?]")
#: Where the parameters of a URL begin: that of a presigned one may have been put behind a key.
_QUERY = re.compile(r"\?[A-Za-z0-9-]+=")


class Location(NamedTuple):
    """Where a source lies. A ``key`` that is empty or ends in ``/`` is a prefix.

    A named tuple, as all that is made once an entry: a frozen dataclass takes three times as long.
    """

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
    if source[:5].lower() != "s3://":
        if not source:
            raise ValueError("is empty")
        if default_bucket is None:
            hint = other_writing(source)
            raise ValueError("names no bucket, and S3_SOURCE_BUCKET is not set" + (f"; {hint}" if hint else ""))
        try:
            return check_key(Location(default_bucket, source))
        except ValueError as error:  # a presigned URL is often longer than a key
            hint = other_writing(source, bucket=default_bucket)
            raise ValueError(f"{error}; {hint}" if hint else str(error)) from None
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


def other_writing(source: str, *, bucket: str = "bucket") -> str | None:
    """What a source that names nothing looks like, and how to write it; None where it looks like a key.

    ``bucket`` is where a plain key would lie. Nothing of a URL behind its path is quoted but a version, where presigned
    ones have their signature.
    """
    if (scheme := _SCHEME.match(source)) and scheme["name"].lower() != "s3":
        return _of_scheme(source, scheme["name"].lower(), source[scheme.end() :])
    if source.startswith("arn:"):
        return _of_arn(source)
    if _ONE_SLASH.match(source):
        return f"it looks like an s3:// source with a slash too few: write s3://{source[3:].lstrip('/')}"
    start, key = _apart(source)
    if version := _VERSION.search(key):
        if not start:
            return f"a version is pinned on an s3:// source alone: write s3://{bucket}/{key}"
        key = key[: version.start()]
    if _QUERY.search(key):
        return "it looks like a key with a URL's parameters: leave them out, from the question mark on"
    if wildcard := _WILDCARD.search(key):
        folder = key[: key.rfind("/", 0, wildcard.start()) + 1]
        below = f"{start}{folder}" if start or folder else f"s3://{bucket}/"
        return (
            f'wildcards are not expanded: write "source": "{below}" to take every object below it, '
            f'and "include": ["{key[len(folder) :]}"] beside it to select'
        )
    if (plain := _as_key(key)) != key and plain:
        return f"S3's keys are written as they are, from their first name on: write {start}{plain}"
    if not start and key.startswith(f"{bucket}/"):
        return f"it begins with the name of its bucket: write {key[len(bucket) + 1 :]} or s3://{key}"
    return None


def _of_scheme(source: str, scheme: str, rest: str) -> str:
    if scheme in ("s3a", "s3n"):
        return f"it looks like Hadoop's way to write it: write s3://{rest.partition('?')[0]}"
    if scheme not in ("http", "https"):
        where = _ELSEWHERE.get(scheme, "something else than S3")
        return f"it looks like {where}, and only S3's objects are archived: write s3://bucket/key"
    what = "a presigned URL" if _SIGNED.search(source) else "a URL"
    for pattern in _URLS:
        if url := pattern.match(source):
            version = _URL_VERSION.search(source)
            pinned = f"?versionId={version['version']}" if version else ""
            return f"it looks like {what}: write s3://{url['bucket']}/{unquote(url['key'])}{pinned}"
    return f"it looks like {what}, and only S3's objects are archived: write s3://bucket/key"


def _of_arn(source: str) -> str:
    if ACCESS_POINT.match(source):
        return "it looks like an access point: write s3:// before its ARN, and a slash and the key behind it"
    arn = _ARN.match(source)
    return (
        f"it looks like an ARN: write s3://{arn['bucket']}/{arn['key']}"
        if arn
        else ("it looks like an ARN: write s3://bucket/key")
    )


def _apart(source: str) -> tuple[str, str]:
    """``s3://bucket/``, or nothing, and the key behind it."""
    if not source.lower().startswith("s3://"):
        return "", source
    bucket, slash, key = _parted(source[len("s3://") :])
    return f"s3://{bucket}{slash}", key


def _as_key(key: str) -> str:
    """The key that was probably meant: nothing percent-encoded, no slash, dot or white space before or behind it."""
    plain = unquote(key).strip().replace("\\", "/")
    while plain.startswith(("/", "./", "../")):
        plain = plain.partition("/")[2]
    return plain


def check_key(location: Location) -> Location:
    """The same, where S3 can have such a key. Raises ``ValueError`` as ``parse_location`` does."""
    key = location.key
    if "\0" in key:
        raise ValueError("holds a NUL character")
    # No character has more than four bytes.
    if len(key) * 4 > MAX_KEY_BYTES and len(key.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"the key is longer than S3's {MAX_KEY_BYTES} bytes")
    return location
