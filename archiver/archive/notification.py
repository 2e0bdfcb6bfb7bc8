"""The notification: its one form, of which both the message and its JSON Schema are made."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from archiver.archive.request import DIALECT

# Fields may be added to a notification; consumers ignore what they don't know.
_OPEN = ConfigDict(extra="allow", frozen=True)

Metadata = Annotated[dict[str, JsonValue] | None, Field(description="the payload's, untouched")]
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
    missing: list[str] = Field(description="sources that did not exist, where on_missing is skip")
    request_id: RequestId


class Error(BaseModel):
    """Why there will be no archive."""

    model_config = _OPEN

    code: str = Field(description="stable, for programs")
    message: str = Field(description="for people")


class Failed(BaseModel):
    """There will be no archive; sent only where NOTIFY_FAILURES=1."""

    model_config = _OPEN

    status: Literal["failed"]
    metadata: Metadata
    error: Error
    request_id: RequestId


Notification = Annotated[Succeeded | Failed, Field(discriminator="status")]
NOTIFICATION: TypeAdapter[Succeeded | Failed] = TypeAdapter(Notification)


def schema() -> dict[str, Any]:
    """The JSON Schema of a notification."""
    return {"$schema": DIALECT, "title": "Notification"} | NOTIFICATION.json_schema()


def as_message(notification: Succeeded | Failed) -> dict[str, Any]:
    """The JSON object that is sent: what was not set stays out of it."""
    return notification.model_dump(exclude_unset=True)
