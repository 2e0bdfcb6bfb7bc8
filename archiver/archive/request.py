"""The payload: what a message may ask for, validated into frozen values before anything is read.

Unknown keys are ignored and reported in ``ArchiveRequest.unknown_keys``; everything else that does not fit is an
``InvalidPayload`` that names the field and shows the value.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from archiver.errors import InvalidPayload, LimitExceeded

#: Longest S3 key, in bytes of UTF-8: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MAX_KEY_BYTES = 1024

#: What file systems take. Content-Disposition holds the name twice, once percent-encoded, and S3 takes 2 KB of
#: system-defined metadata: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
MAX_FILENAME_BYTES = 255

#: General purpose buckets have 3 to 63 characters; buckets from before 2018 up to 255, with capitals and underscores:
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_VERSION = re.compile(r"\?versionId=(?P<version>[^?&]+)$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN = 120


def _source(value: str) -> str:
    location = parse_location(value, default_bucket="unset")
    if len(location.key.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        raise ValueError(f"the key is longer than S3's {MAX_KEY_BYTES} bytes")
    return value


def _filename(value: str) -> str:
    if _CONTROL.search(value) or "/" in value or "\\" in value:
        raise ValueError("a file name has no slash, backslash or control character")
    if len(value.encode("utf-8")) > MAX_FILENAME_BYTES:
        raise ValueError(f"the name is longer than {MAX_FILENAME_BYTES} bytes of UTF-8")
    return value


class FileSpec(BaseModel):
    """One object, or with a trailing slash every object below a prefix, and where it goes inside the archive."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    source: Annotated[str, Field(min_length=1), AfterValidator(_source)] = Field(
        description="a key in the source bucket, or s3://bucket/key, which ?versionId=… may pin; "
        "ending in / every object below it"
    )
    destination: str | None = Field(
        None,
        description="path inside the archive: with a file extension the whole path, "
        "else the directory that holds the file",
    )


class Payload(BaseModel):
    """The JSON object of a message."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    files: Annotated[list[FileSpec], Field(min_length=1)] = Field(description="what goes into the archive")
    metadata: dict[str, JsonValue] | None = Field(None, description="handed to the consumer untouched")
    compression: Literal["stored", "auto"] = Field(
        "stored", description="auto deflates what shrinks: text, JSON, CSV, …"
    )
    on_missing: Literal["fail", "skip"] = Field(
        "fail", description="skip: the archive is built without the missing sources, which the notification lists"
    )
    filename: Annotated[str, Field(min_length=1), AfterValidator(_filename)] | None = Field(
        None, description="name that a browser saves the archive under"
    )


@dataclass(frozen=True, slots=True)
class RequestedFile:
    """An element of ``files``; see ``FileSpec``, which is ten times as large."""

    source: str
    destination: str | None = None


@dataclass(frozen=True, slots=True)
class ArchiveRequest:
    """A validated payload."""

    files: tuple[RequestedFile, ...]
    metadata: dict[str, Any] | None
    compression: Literal["stored", "auto"]
    on_missing: Literal["fail", "skip"]
    filename: str | None
    unknown_keys: tuple[str, ...]


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


def parse_request(payload: object, *, max_files: int) -> ArchiveRequest:
    """Validate a payload.

    Raises ``InvalidPayload`` that names the first bad field and its value, and ``LimitExceeded`` where ``files``
    has more than ``max_files`` elements.
    """
    if not isinstance(payload, dict):
        raise InvalidPayload(f"the payload must be a JSON object, not {shown(payload)}")
    files = payload.get("files")
    if isinstance(files, list) and len(files) > max_files:
        raise LimitExceeded(f"files: {len(files)} elements, more than MAX_FILES={max_files}")
    try:
        model = Payload.model_validate(payload)
    except ValidationError as error:
        raise InvalidPayload(_complaint(error)) from None
    except RecursionError:
        raise InvalidPayload("metadata: nested too deeply") from None
    unknown = sorted(model.model_extra or {}) + sorted(
        {f"files[].{key}" for file in model.files for key in file.model_extra or {}}
    )
    return ArchiveRequest(
        files=tuple(RequestedFile(file.source, file.destination) for file in model.files),
        metadata=payload.get("metadata"),
        compression=model.compression,
        on_missing=model.on_missing,
        filename=model.filename,
        unknown_keys=tuple(unknown),
    )


def parse_location(source: str, *, default_bucket: str | None) -> Location:
    """The bucket, key and version that a ``source`` names.

    Raises ``ValueError``; its message names neither field nor value, which the caller knows.
    """
    if _CONTROL.search(source) and "\x00" in source:
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
        return Location(default_bucket, source)
    bucket, slash, key = source[len("s3://") :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"names no valid bucket ({shown(bucket)})")
    if not slash:
        raise ValueError("names no key; s3://bucket/ takes the whole bucket")
    version = _VERSION.search(key)
    if version is None:
        return Location(bucket, key)
    location = Location(bucket, key[: version.start()], version["version"])
    if location.is_prefix:
        raise ValueError("pins the version of a prefix")
    return location


def archive_key(payload: object, *, request_id: str, sent_at: float, prefix: str) -> str:
    """The archive's key: the same for each delivery of one message, and unguessable without its id and payload.

    ``sent_at`` is in seconds since the epoch; the date is UTC's.
    """
    digest = hashlib.sha256(f"{request_id}\n{canonical_json(payload)}".encode()).hexdigest()
    return f"{digest}/{prefix}-{datetime.fromtimestamp(sent_at, UTC):%Y-%m-%d}.zip"


def canonical_json(value: object) -> str:
    """One text for equal JSON values, whatever the order of their keys. Raises ``InvalidPayload`` at a great depth."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    except RecursionError:
        raise InvalidPayload("the payload is nested too deeply") from None


def shown(value: object) -> str:
    """A value as an error message shows it: its repr, cut."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _complaint(error: ValidationError) -> str:
    item = error.errors(include_url=False)[0]
    path = ""
    for step in item["loc"]:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    reason = item["msg"].removeprefix("Value error, ")
    more = error.error_count() - 1
    value = "" if item["type"] == "missing" else f", got {shown(item['input'])}"
    return f"{path}: {reason[:1].lower()}{reason[1:]}{value}" + (f" (and {more} more)" if more else "")
