"""The notification: its one form, of which both the message and its JSON Schema are made.

It always fits a message. ``archiver.archive.request`` refuses metadata that would not; ``missing`` is cut to
``MAX_MISSING`` names, or to what the rest leaves room for, with the whole number beside it; the rest is short.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from archiver.archive.document import sendable
from archiver.archive.request import DIALECT

#: Most names in ``missing``.
MAX_MISSING = 1_000
#: Most bytes of a message, its attributes included. Source: SQS Developer Guide, message quotas.
MAX_BYTES = 1024 * 1024
#: Kept free for the message's attributes, in bytes.
ATTRIBUTES_ROOM = 16 * 1024
#: Longest ``error.message``, in characters.
MAX_REASON_CHARACTERS = 1_000

# Fields may be added to a notification; consumers ignore what they don't know.
# Built when it is first used: few programs use all of them, and building takes half of what loading takes.
_OPEN = ConfigDict(extra="allow", frozen=True, defer_build=True)

Metadata = Annotated[dict[str, JsonValue] | None, Field(description="the payload's, as the text that it came as")]
Missing = Annotated[list[str], Field(description="sources that do not exist: the first of them where they are many")]
MetadataOmitted = Annotated[bool, Field(description="only true, only on SNS: metadata is null, as it did not fit")]
MissingTotal = Annotated[int, Field(ge=1, description="how many do not exist; only where missing does not have all")]
RequestId = Annotated[str, Field(description="the id of the payload's message, or of the Celery task")]


class Substitutions(BaseModel):
    """What a consumer puts into its templates."""

    model_config = _OPEN

    archiver_URL: str = Field(description="link to the archive")  # noqa: N815 a contract with existing consumers


class Archive(BaseModel):
    """Where the archive is, and what it is."""

    model_config = _OPEN

    url: str = Field(description="link to the archive; a presigned one ends with the worker's session")
    bucket: str
    key: str
    version_id: str | None = Field(None, description="only where the bucket keeps versions")
    size: int = Field(ge=0, description="bytes")
    files: int = Field(ge=0, description="entries")
    crc32: str | None = Field(pattern=r"^[0-9a-f]{8}$", description="CRC32 of the whole archive, hexadecimal")
    etag: str


class Succeeded(BaseModel):
    """The archive is there."""

    model_config = _OPEN

    status: Literal["succeeded"]
    metadata: Metadata
    substitutions: Substitutions
    archive: Archive
    archives: list[Archive] | None = Field(
        None, description="all of them, where the payload splits; archive is the first"
    )
    missing: Missing
    missing_total: MissingTotal | None = None
    metadata_omitted: MetadataOmitted | None = None
    request_id: RequestId


class Error(BaseModel):
    """Why there will be no archive."""

    model_config = _OPEN

    code: str = Field(description="stable, for programs")
    message: str = Field(description="for people")


class Failed(BaseModel):
    """There will be no archive; sent only where NOTIFY_FAILURES=1."""

    model_config = _OPEN

    status: Literal["failed", "cancelled"] = Field(description="cancelled: an operator ended the job")
    metadata: Metadata
    error: Error
    missing: Missing | None = None
    missing_total: MissingTotal | None = None
    metadata_omitted: MetadataOmitted | None = None
    request_id: RequestId


Notification = Annotated[Succeeded | Failed, Field(discriminator="status")]
NOTIFICATION: TypeAdapter[Succeeded | Failed] = TypeAdapter(Notification, config=ConfigDict(defer_build=True))


def schema() -> dict[str, Any]:
    """The JSON Schema of a notification."""
    return {"$schema": DIALECT, "title": "Notification"} | NOTIFICATION.json_schema()


@dataclass(frozen=True, slots=True)
class Message:
    """A notification as it is sent.

    ``news`` is the same for two notifications that tell the same, and for no others: 64 hexadecimal digits over all but
    the links, whose signatures differ each time.
    """

    body: str
    status: str
    request_id: str
    news: str


def as_message(notification: Succeeded | Failed, *, metadata: str | None) -> Message:
    """The message of a notification, with the payload's ``metadata`` as JSON text and as many ``missing`` as fit.

    What was not set stays out of it.
    """
    set_fields = notification.model_dump(exclude_unset=True, exclude={"missing"})
    members = {name: _text(value) for name, value in set_fields.items()} | {"metadata": metadata or "null"}
    if notification.missing is not None:
        members |= _missing(notification.missing, room=MAX_BYTES - ATTRIBUTES_ROOM - len(_object(members).encode()))
    news = members | {"substitutions": ""}
    if isinstance(notification, Succeeded):
        news["archive"] = _text(notification.archive.model_dump(exclude={"url"}))
        if notification.archives is not None:
            news["archives"] = _text([archive.model_dump(exclude={"url"}) for archive in notification.archives])
    return Message(
        body=_object(members),
        status=notification.status,
        request_id=notification.request_id,
        news=hashlib.sha256(_object(news).encode()).hexdigest(),
    )


def _missing(names: Sequence[str], *, room: int) -> dict[str, str]:
    """The members ``missing`` and, where that has not all, ``missing_total``."""
    kept: list[str] = []
    room -= len('"missing":[],"missing_total":,') + len(str(len(names)))
    for name in names[:MAX_MISSING]:
        text = _text(name)
        room -= len(text.encode()) + 1
        if room < 0:
            break
        kept.append(text)
    members = {"missing": f"[{','.join(kept)}]"}
    return members if len(kept) == len(names) else members | {"missing_total": str(len(names))}


def _text(value: object) -> str:
    """JSON without a needless byte, since SQS counts them."""
    return sendable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _object(members: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}"
