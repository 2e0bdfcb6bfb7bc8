"""One element of ``files``, or one line of a manifest: what it may say, and what it asks for."""

from collections.abc import Iterable, Mapping
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archiver.archive.columns import Made, TextColumn
from archiver.archive.location import Location, parse_location
from archiver.archive.location_table import LocationTable
from archiver.archive.patterns import Patterns, Selection
from archiver.complaints import complaint
from archiver.errors import shown

_PLAIN, _PLACED = 1, 2


class FileSpec(BaseModel):
    """One object, or with a trailing slash every object below a prefix, and where it goes inside the archive."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", defer_build=True)

    source: Annotated[str, Field(min_length=1)] = Field(
        description="a key in the source bucket, or s3://bucket/key, which ?versionId=… may pin; "
        "ending in / every object below it"
    )
    destination: str | None = Field(
        None,
        description="path inside the archive: with a file extension the whole path, "
        "else the directory that holds the file",
    )
    include: Patterns | None = Field(
        None, description="globs over the path below a prefix: only what matches one of them is taken"
    )
    exclude: Patterns | None = Field(
        None, description="globs over the path below a prefix: what matches one of them is left out"
    )


class RequestedFile(NamedTuple):
    """What a ``FileSpec`` asks for, which is ten times as large.

    ``location`` is what its source names; ``text`` the source itself, None where it is the location's own text.
    """

    location: Location
    destination: str | None = None
    selection: Selection | None = None
    text: str | None = None

    @property
    def source(self) -> str:
        """The payload's own text, which the consumer knows."""
        return str(self.location) if self.text is None else self.text


class FileList(Made[RequestedFile]):
    """Many files in little memory: a sixth of what as many objects take, which are made when they are asked for."""

    def __init__(self, files: Iterable[RequestedFile] = ()) -> None:
        self._locations = LocationTable()
        # A file without a destination has an empty text here, and so has one whose destination is empty.
        self._destinations = TextColumn()
        # A byte each: whether the source is the plain key, and whether there is a destination.
        self._marks = bytearray()
        # What few files have: a selection, another text than the location's or the key.
        self._selections: dict[int, Selection] = {}
        self._texts: dict[int, str] = {}
        for file in files:
            self.append(file)

    def append(self, file: RequestedFile) -> None:
        location = file.location
        index = self._locations.append(location.bucket, location.key, location.version_id)
        self._destinations.append(file.destination or "")
        if file.selection is not None:
            self._selections[index] = file.selection
        plain = file.text == location.key
        self._marks.append(plain * _PLAIN | (file.destination is not None) * _PLACED)
        if file.text is not None and not plain:
            self._texts[index] = file.text

    def cut(self, length: int) -> None:
        """Drop all but the first ``length`` files."""
        self._locations.cut(length)
        self._destinations.cut(length)
        del self._marks[length:]
        for few in (self._selections, self._texts):
            for index in [index for index in few if index >= length]:
                del few[index]

    def at(self, number: int) -> RequestedFile:
        """The file of this number, from 0 on."""
        location, marks = self._locations.at(number), self._marks[number]
        return RequestedFile(
            location,
            self._destinations.at(number) if marks & _PLACED else None,
            self._selections.get(number),
            location.key if marks & _PLAIN else self._texts.get(number),
        )

    def __len__(self) -> int:
        return len(self._marks)


class FileError(ValueError):
    """An element is none. ``field`` is the path to the bad value in it, ``count`` how many bad values there are."""

    def __init__(self, field: str, reason: str, count: int = 1) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason
        self.count = count


def requested_file(value: object, *, default_bucket: str | None, unknown: set[str] | None = None) -> RequestedFile:
    """What an element asks for, be it JSON of any kind; keys that say nothing to us are added to ``unknown``.

    Raises ``FileError``.
    """
    if isinstance(value, dict) and (plain := _plain(value)) is not None:
        # Nearly all are of this kind: a million of them should not take a validator's time.
        return _located(*plain, default_bucket=default_bucket)
    try:
        spec = FileSpec.model_validate(value)
    except ValidationError as error:
        field, reason = complaint(error)
        if field == "source" and isinstance(value, dict) and "source" not in value and value:
            reason += f", got {shown(value)}"
        raise FileError(field, reason, error.error_count()) from None
    if spec.model_extra and unknown is not None:
        unknown.update(spec.model_extra)
    file = _located(spec.source, spec.destination, default_bucket=default_bucket)
    if spec.include is None and spec.exclude is None:
        return file
    if not file.location.is_prefix:
        name, patterns = ("exclude", spec.exclude) if spec.include is None else ("include", spec.include)
        raise FileError(name, f"{shown(spec.source)} is no prefix, which would end in a slash, got {shown(patterns)}")
    return file._replace(selection=Selection(tuple(spec.include or ()), tuple(spec.exclude or ())))


def _plain(value: Mapping[str, object]) -> tuple[str, str | None] | None:
    """The source and the destination of an element that has nothing else; None for any other, good or bad."""
    source, destination = value.get("source"), value.get("destination")
    if not isinstance(source, str) or not source or len(value) > 2:
        return None
    if len(value) == 2 and not isinstance(destination, str):
        return None
    return source, destination if isinstance(destination, str) else None


def _located(source: str, destination: str | None, *, default_bucket: str | None) -> RequestedFile:
    try:
        location = parse_location(source, default_bucket=default_bucket)
    except ValueError as error:
        raise FileError("source", f"{error}, got {shown(source)}") from None
    # A key alone is no location's text.
    is_text = source[:5] == "s3://" and source == str(location)
    return RequestedFile(location, destination, text=None if is_text else source)
