"""Where an archive goes: what a payload may ask for, and what the settings let it have.

Without ``archive`` in the payload the archive lies in the settings' bucket under a generated key. A payload may choose
another bucket, of those that ALLOWED_DESTINATION_BUCKETS lists; a prefix for the generated key; or the whole key, which
is then no secret, and which another request may choose as well.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from archiver.archive.key import is_archive_key
from archiver.archive.location import MAX_KEY_BYTES
from archiver.errors import InvalidPayload, LimitExceeded, shown

#: Tags of one object, and characters of a tag's key and of its value:
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
MAX_TAGS = 10
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256
#: Longest life of a presigned link, in seconds:
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html
MAX_LINK_SECONDS = 604_800

# Letters, numbers and spaces of any script, and + - = . _ : / @
_TAG = re.compile(r"[\w \u00a0\u3000+\-=.:/@]*")
# What XML 1.0, in which S3 lists keys, does not hold, and DEL.
_UNLISTABLE = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")

StorageClass = Literal[
    "STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"
]


def _key(value: str) -> str:
    checked = _prefix(value)
    if checked.endswith("/"):
        raise ValueError("ends in a slash, so that it names a folder; archive.prefix goes before a generated key")
    if is_archive_key(checked):
        raise ValueError("has the form of a generated key, which is for the service to choose")
    return checked


def _prefix(value: str) -> str:
    if _UNLISTABLE.search(value):
        raise ValueError("holds a control character")
    if any(segment in (".", "..") for segment in value.split("/")):
        raise ValueError("has a segment '.' or '..', which a link can't hold")
    if value.lower().startswith("s3://"):
        raise ValueError("names a bucket, which archive.bucket does; the key is what comes behind it")
    if value.startswith("/"):
        raise ValueError("begins with a slash; S3's keys begin with their first name")
    if len(value.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"is longer than S3's {MAX_KEY_BYTES} bytes")
    return value


def _tags(value: dict[str, str]) -> dict[str, str]:
    if len(value) > MAX_TAGS:
        raise ValueError(f"{len(value)} tags, more than S3's {MAX_TAGS}")
    for name, text in value.items():
        if not 0 < len(name) <= MAX_TAG_KEY or not _TAG.fullmatch(name) or name.lower().startswith("aws:"):
            raise ValueError(f"{shown(name)} is no key of a tag: 1 to {MAX_TAG_KEY} letters, numbers, spaces, +-=._:/@")
        if len(text) > MAX_TAG_VALUE or not _TAG.fullmatch(text):
            raise ValueError(
                f"{shown(text)} is no value of a tag: up to {MAX_TAG_VALUE} letters, numbers, spaces, +-=._:/@"
            )
    return value


class ArchiveSpec(BaseModel):
    """Where the archive goes; without it, under a generated key into the service's bucket."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", defer_build=True)

    key: Annotated[str, Field(min_length=1), AfterValidator(_key)] | None = Field(
        None, description="the archive's whole key; where another object has it, the request fails (archive_exists)"
    )
    prefix: Annotated[str, Field(min_length=1), AfterValidator(_prefix)] | None = Field(
        None, description="goes before the generated key"
    )
    bucket: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="S3_DESTINATION_BUCKET or one of ALLOWED_DESTINATION_BUCKETS"
    )
    tags: Annotated[dict[str, str], AfterValidator(_tags)] | None = Field(None, description="up to ten tags")
    storage_class: StorageClass | None = Field(None, description="S3's storage class; STANDARD without it")
    overwrite: bool | None = Field(None, description="true: an object under archive.key is replaced")


def check_wishes(wish: ArchiveSpec) -> None:
    """Raise ``InvalidPayload`` where the wishes contradict each other."""
    if wish.key is not None and wish.prefix is not None:
        both = f"{shown(wish.key)} and {shown(wish.prefix)}"
        raise InvalidPayload(f"archive: key is the whole key, so there is no prefix beside it, got {both}")
    if wish.overwrite and wish.key is None:
        raise InvalidPayload("archive.overwrite: without archive.key there is nothing to overwrite, got True")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one job's archive goes. ``named``: the payload chose the whole key, so that others may have it, too.

    ``link_seconds`` is the life of a presigned link where the payload shortens it.
    """

    bucket: str
    key: str
    named: bool = False
    overwrite: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    storage_class: str | None = None
    link_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Destinations:
    """What the settings let payloads have. ``prefixes`` empty: any key, but in ``bucket`` none below ``reserved``."""

    bucket: str
    buckets: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    link_seconds: int = MAX_LINK_SECONDS
    reserved: tuple[str, ...] = ()

    def choose(
        self, wish: ArchiveSpec | None, *, generated_key: str, link_seconds: int | None, room: int = 0
    ) -> Destination:
        """The destination that the settings grant. ``room`` is kept free behind the key, in bytes.

        Raises ``InvalidPayload`` where the key becomes too long, ``LimitExceeded`` where the wishes go too far.
        """
        wish = wish or ArchiveSpec()
        self._check(wish, link_seconds)
        key = wish.key or (wish.prefix or "") + generated_key
        if len(key.encode()) > MAX_KEY_BYTES - room:
            field, value = ("prefix", wish.prefix) if wish.key is None else ("key", wish.key)
            raise InvalidPayload(
                f"archive.{field}: with what is added to it longer than S3's {MAX_KEY_BYTES} bytes, got {shown(value)}"
            )
        bucket = wish.bucket or self.bucket
        if bucket == self.bucket and key.startswith(self.reserved):
            field, value = ("prefix", wish.prefix) if wish.key is None else ("key", wish.key)
            raise LimitExceeded(f"archive.{field}: {shown(value)} lies where the service keeps objects of its own")
        return Destination(
            bucket=bucket,
            key=key,
            named=wish.key is not None,
            overwrite=wish.key is not None and wish.overwrite is True,
            tags=tuple((wish.tags or {}).items()),
            storage_class=wish.storage_class,
            link_seconds=link_seconds,
        )

    def check(self, bucket: str, key: str) -> None:
        """Raise ``LimitExceeded`` where no payload's archive may be ``key`` in ``bucket``."""
        if bucket not in (self.bucket, *self.buckets):
            raise LimitExceeded(f"bucket {shown(bucket)} is not in ALLOWED_DESTINATION_BUCKETS")
        if bucket == self.bucket and key.startswith(self.reserved):
            raise LimitExceeded(f"key {shown(key)} lies where the service keeps objects of its own")
        generated = is_archive_key(key) and key.count("/") == 1
        if self.prefixes and not (generated or key.startswith(self.prefixes)):
            raise LimitExceeded(f"key {shown(key)} begins with none of ALLOWED_DESTINATION_PREFIXES")

    def _check(self, wish: ArchiveSpec, link_seconds: int | None) -> None:
        if wish.bucket is not None and wish.bucket not in (self.bucket, *self.buckets):
            raise LimitExceeded(
                f"archive.bucket: {shown(wish.bucket)} is not in ALLOWED_DESTINATION_BUCKETS, "
                "and not S3_DESTINATION_BUCKET"
            )
        for field, value in (("key", wish.key), ("prefix", wish.prefix)):
            if value is not None and self.prefixes and not value.startswith(self.prefixes):
                raise LimitExceeded(f"archive.{field}: {shown(value)} begins with none of ALLOWED_DESTINATION_PREFIXES")
        if link_seconds is not None and link_seconds > self.link_seconds:
            raise LimitExceeded(
                f"link_expires_seconds: {link_seconds}, more than LINK_EXPIRES_SECONDS={self.link_seconds}"
            )
