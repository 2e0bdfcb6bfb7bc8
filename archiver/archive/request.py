"""The payload: what a message may ask for, validated into frozen values before anything is read.

Unknown keys are ignored and reported in ``ArchiveRequest.unknown_keys``; everything else that does not fit is an
``InvalidPayload`` that names the field and shows the value.
"""

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from archiver.archive.destination import MAX_LINK_SECONDS, ArchiveSpec, check_wishes
from archiver.archive.document import Document, DocumentError, as_document, sendable
from archiver.archive.files import FileError, FileSpec, RequestedFile, requested_file
from archiver.archive.location import Location, parse_location
from archiver.archive.spelling import nearest
from archiver.archive.split import MAX_METADATA_BYTES as SPLIT_METADATA_BYTES
from archiver.archive.split import SplitSpec
from archiver.complaints import complaint
from archiver.errors import InvalidPayload, LimitExceeded, shown

#: What file systems take. Content-Disposition holds the name twice, once percent-encoded, and S3 takes 2 KB of
#: system-defined metadata: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
MAX_FILENAME_BYTES = 255

#: Endings of names that stay as they are; any other name gets ``.zip``. All of these are ZIP archives by another name.
ZIP_ENDINGS = (".zip", ".cbz", ".epub", ".jar", ".kmz", ".war")

#: Longest text of a payload's metadata, in bytes of UTF-8: with all the rest of the notification it fits a message,
#: which takes 1 MiB with its attributes. Source: SQS Developer Guide, message quotas.
MAX_METADATA_BYTES = 960 * 1024
#: Elements of ``files`` whose faults are counted; the first one is told.
MAX_FAULTS = 10
#: Manifests of one payload.
MAX_MANIFESTS = 100
#: Unknown keys that are noted, and characters of each.
MAX_UNKNOWN_KEYS = 10
MAX_UNKNOWN_KEY_CHARACTERS = 60

#: The dialect of our JSON Schemas.
DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: What becomes of a job with missing sources.
OnMissing = Literal["fail", "skip", "list"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _filename(value: str) -> str:
    if _CONTROL.search(value) or "/" in value or "\\" in value:
        raise ValueError("a file name has no slash, backslash or control character")
    if not value.lower().endswith(ZIP_ENDINGS):
        value += ".zip"
    if len(value.encode("utf-8")) > MAX_FILENAME_BYTES:
        raise ValueError(f"the name is longer than {MAX_FILENAME_BYTES} bytes of UTF-8")
    return value


Manifest = Annotated[str, Field(min_length=1)]
_Manifests = Annotated[list[Manifest], Field(min_length=1, max_length=MAX_MANIFESTS)]


def _several(value: object) -> object:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise ValueError("must be a key, s3://bucket/key, or a list of them")
    return value


Manifests = Annotated[_Manifests, BeforeValidator(_several, json_schema_input_type=Manifest | _Manifests)]


class Payload(BaseModel):
    """The JSON object of a message."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="allow",
        json_schema_extra={"anyOf": [{"required": ["files"]}, {"required": ["manifest"]}]},
    )

    files: Annotated[list[FileSpec], Field(min_length=1)] | None = Field(None, description="what goes into the archive")
    manifest: Manifests | None = Field(
        None,
        description="objects that list files, a key or s3://bucket/key, which ?versionId=… may pin; or one of them",
    )
    metadata: dict[str, JsonValue] | None = Field(
        None, description="handed to the consumer as the text that it came as; at most 960 KiB"
    )
    compression: Literal["stored", "auto"] | None = Field(
        None, description="auto deflates what shrinks: text, JSON, CSV, …; stored, the default, does not"
    )
    on_missing: OnMissing | None = Field(
        None,
        description="fail, the default: a missing source is a permanent error; skip: the archive is built without it, "
        "and the notification lists it; list: so does MISSING.txt in the archive",
    )
    filename: Annotated[str, Field(min_length=1), AfterValidator(_filename)] | None = Field(
        None, description="name that a browser saves the archive under; .zip is added where it is lacking"
    )
    archive: ArchiveSpec | None = Field(None, description="where the archive goes")
    link_expires_seconds: Annotated[int, Field(ge=1, le=MAX_LINK_SECONDS)] | None = Field(
        None, description="life of a presigned link, at most the settings'"
    )
    split: SplitSpec | None = Field(None, description="several archives, each within bounds, in place of one")


def schema() -> dict[str, Any]:
    """The JSON Schema of a payload."""
    return {"$schema": DIALECT} | Payload.model_json_schema()


@dataclass(frozen=True, slots=True)
class ManifestLines:
    """Which of a request's files a manifest lists: ``lines[i]`` is the line of the file number ``first + i``."""

    manifest: Location
    first: int
    lines: "array[int]"


@dataclass(frozen=True, slots=True)
class ArchiveRequest:
    """A validated payload. ``metadata`` is the JSON text that came; of the unknown keys the first few are noted.

    ``manifests`` are still to be read: ``archiver.archive.manifests`` adds their files to ``files``, and to ``listed``
    where these come from.
    """

    files: Sequence[RequestedFile]
    metadata: str | None
    compression: Literal["stored", "auto"]
    on_missing: OnMissing
    filename: str | None
    unknown_keys: tuple[str, ...]
    archive: ArchiveSpec | None = None
    link_expires_seconds: int | None = None
    manifests: tuple[Location, ...] = ()
    listed: tuple[ManifestLines, ...] = ()
    split: SplitSpec | None = None

    def field(self, index: int, name: str) -> str:
        """What errors call the field ``name`` of the file number ``index``."""
        for listed in reversed(self.listed):
            if index >= listed.first:
                return f"manifest {listed.manifest}, line {listed.lines[index - listed.first]}: {name}"
        return f"files[{index}].{name}"


def parse_request(payload: object, *, max_files: int, default_bucket: str | None) -> ArchiveRequest:
    """Validate a payload: its JSON text, or its value. Sources that name no bucket lie in ``default_bucket``.

    Raises ``InvalidPayload`` that names the first bad field and its value, and ``LimitExceeded`` where ``files``
    has more than ``max_files`` elements or the notification could not carry ``metadata``.
    """
    document = payload_document(payload)
    given = document.value
    files = given.get("files")
    if isinstance(files, list) and len(files) > max_files:
        raise LimitExceeded(f"files: {len(files)} elements, more than MAX_FILES={max_files}")
    if isinstance(files, list) and files:
        # pydantic keeps every error that it finds: of the elements it is shown one at a time, so that a body of
        # nothing but bad ones costs no more memory than another.
        requested = _requested_files(files, default_bucket)
        given = given | {"files": [{"source": "-"}]}
    else:
        requested = _Files((), frozenset())
        if files == [] and given.get("manifest") is not None:
            given = given | {"files": None}
    try:
        model = Payload.model_validate(given)
    except ValidationError as error:
        raise InvalidPayload(_complaint(error)) from None
    if model.files is None and model.manifest is None:
        raise InvalidPayload(f"files: required, unless there is a manifest{_meant(model)}")
    metadata = None if model.metadata is None else sendable(document.member("metadata") or "")
    if metadata is not None and (size := len(metadata.encode())) > MAX_METADATA_BYTES:
        raise LimitExceeded(f"metadata: {size} bytes of JSON, more than the {MAX_METADATA_BYTES} of a notification")
    if model.archive is not None:
        check_wishes(model.archive)
    if model.split is not None:
        _check_split(model.split, metadata)
        if model.archive is not None and model.archive.overwrite:
            # Of two requests that replace each other's, some archives would be of the one, some of the other.
            raise InvalidPayload("archive.overwrite: several archives are never overwritten, got True beside split")
    return ArchiveRequest(
        files=requested.files,
        metadata=metadata,
        compression=model.compression or "stored",
        on_missing=model.on_missing or "fail",
        filename=model.filename,
        unknown_keys=_few(_unknown(model) + sorted(requested.unknown_keys)),
        archive=model.archive,
        link_expires_seconds=model.link_expires_seconds,
        split=model.split,
        manifests=_manifests(given.get("manifest"), default_bucket),
    )


def payload_document(payload: object) -> Document:
    """The payload's JSON. Raises ``InvalidPayload`` where it is none."""
    try:
        return as_document(payload)
    except DocumentError as error:
        raise InvalidPayload(f"the payload {error}") from None


def metadata_text(payload: object) -> str | None:
    """The metadata of a payload that may be a bad one, as JSON; None where there is none that could be sent."""
    try:
        # The text of a document may have come inside an envelope, whose reader has fewer rules.
        document = as_document(payload.text if isinstance(payload, Document) else payload)
    except DocumentError:
        return None
    text = document.member("metadata") if isinstance(document.value.get("metadata"), dict) else None
    return None if text is None or len(sendable(text).encode()) > MAX_METADATA_BYTES else sendable(text)


@dataclass(frozen=True, slots=True)
class _Files:
    files: tuple[RequestedFile, ...]
    unknown_keys: frozenset[str]


def _requested_files(files: list[object], default_bucket: str | None) -> _Files:
    requested: list[RequestedFile] = []
    unknown: set[str] = set()
    fault, faults = "", 0
    for index, file in enumerate(files):
        try:
            one = requested_file(
                file, default_bucket=default_bucket, unknown=unknown if len(unknown) < MAX_UNKNOWN_KEYS else None
            )
        except FileError as error:
            fault = fault or f"files[{index}]{'.' if error.field else ': '}{error}"
            faults += error.count
            if faults >= MAX_FAULTS:
                break
            continue
        if not faults:
            requested.append(one)
    if faults:
        at_least = "at least " if faults >= MAX_FAULTS else ""
        raise InvalidPayload(fault + (f" (and {at_least}{faults - 1} more)" if faults > 1 else ""))
    return _Files(tuple(requested), frozenset(f"files[].{key}" for key in unknown))


def _manifests(given: Any, default_bucket: str | None) -> tuple[Location, ...]:
    """The places of a payload's ``manifest``, which is validated already."""
    found = []
    for index, manifest in enumerate([given] if isinstance(given, str) else given or ()):
        field = "manifest" if isinstance(given, str) else f"manifest[{index}]"
        try:
            location = parse_location(manifest, default_bucket=default_bucket)
            if location.is_prefix:
                raise ValueError("is a prefix, and a manifest is one object")
        except ValueError as error:
            raise InvalidPayload(f"{field}: {error}, got {shown(manifest)}") from None
        found.append(location)
    return tuple(found)


def _complaint(error: ValidationError) -> str:
    path, reason = complaint(error)
    others = error.error_count() - 1
    return f"{path}: {reason}" + (f" (and {others} more)" if others else "")


def _check_split(split: SplitSpec, metadata: str | None) -> None:
    if split.max_bytes is None and split.max_files is None:
        raise InvalidPayload("split: neither max_bytes nor max_files, got {}")
    if metadata is not None and (size := len(metadata.encode())) > SPLIT_METADATA_BYTES:
        raise LimitExceeded(
            f"metadata: {size} bytes of JSON, more than the {SPLIT_METADATA_BYTES} beside several archives"
        )


def _meant(model: Payload) -> str:
    """What is said of the key that was probably meant to be ``files``."""
    close = [key for key in model.model_extra or {} if nearest(key, Payload.model_fields) in ("files", "manifest")]
    return f"; there is {shown(close[0])}" if close else ""


def _unknown(model: Payload) -> list[str]:
    below = [] if model.archive is None else [f"archive.{key}" for key in model.archive.model_extra or {}]
    below += [] if model.split is None else [f"split.{key}" for key in model.split.model_extra or {}]
    return sorted(model.model_extra or {}) + sorted(below)


def _few(keys: list[str]) -> tuple[str, ...]:
    few = [key[:MAX_UNKNOWN_KEY_CHARACTERS] for key in keys[:MAX_UNKNOWN_KEYS]]
    return (*few, f"and {len(keys) - len(few)} more") if len(keys) > len(few) else tuple(few)
