"""The payload: what a message may ask for, validated into frozen values before anything is read.

Unknown keys are ignored and reported in ``ArchiveRequest.unknown_keys``; everything else that does not fit is an
``InvalidPayload`` that names the field and shows the value.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from archiver.archive.location import Location, parse_location
from archiver.errors import InvalidPayload, LimitExceeded, shown

#: What file systems take. Content-Disposition holds the name twice, once percent-encoded, and S3 takes 2 KB of
#: system-defined metadata: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
MAX_FILENAME_BYTES = 255

#: The dialect of our JSON Schemas.
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _filename(value: str) -> str:
    if _CONTROL.search(value) or "/" in value or "\\" in value:
        raise ValueError("a file name has no slash, backslash or control character")
    if len(value.encode("utf-8")) > MAX_FILENAME_BYTES:
        raise ValueError(f"the name is longer than {MAX_FILENAME_BYTES} bytes of UTF-8")
    return value


class FileSpec(BaseModel):
    """One object, or with a trailing slash every object below a prefix, and where it goes inside the archive."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    source: Annotated[str, Field(min_length=1)] = Field(
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


def schema() -> dict[str, Any]:
    """The JSON Schema of a payload."""
    return {"$schema": DIALECT} | Payload.model_json_schema()


@dataclass(frozen=True, slots=True)
class RequestedFile:
    """An element of ``files``; see ``FileSpec``, which is ten times as large.

    ``source`` is the payload's own text, which the consumer knows; ``location`` is what it names.
    """

    source: str
    location: Location
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


def parse_request(payload: object, *, max_files: int, default_bucket: str | None) -> ArchiveRequest:
    """Validate a payload. Sources that name no bucket lie in ``default_bucket``.

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
        files=tuple(_requested(index, file, default_bucket) for index, file in enumerate(model.files)),
        metadata=payload.get("metadata"),
        compression=model.compression,
        on_missing=model.on_missing,
        filename=model.filename,
        unknown_keys=tuple(unknown),
    )


def _requested(index: int, file: FileSpec, default_bucket: str | None) -> RequestedFile:
    try:
        location = parse_location(file.source, default_bucket=default_bucket)
    except ValueError as error:
        raise InvalidPayload(f"files[{index}].source: {error}, got {shown(file.source)}") from None
    return RequestedFile(file.source, location, file.destination)


def _complaint(error: ValidationError) -> str:
    item = error.errors(include_url=False)[0]
    path = ""
    for step in item["loc"]:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    reason = item["msg"].removeprefix("Value error, ")
    more = error.error_count() - 1
    value = "" if item["type"] == "missing" else f", got {shown(item['input'])}"
    return f"{path}: {reason[:1].lower()}{reason[1:]}{value}" + (f" (and {more} more)" if more else "")
