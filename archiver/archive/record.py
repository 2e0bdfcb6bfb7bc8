"""What an archive says of itself in S3: metadata by which a redelivery knows it, and the name for a browser."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import quote

from archiver.version import __version__

#: S3 takes 2 KB of user metadata, names included: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
_MOST = 1500
_TOO_MANY = "many"
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """The SHA-256 of the payload, the number of entries, and which of the payload's ``files`` were missing.

    ``missing`` is None where they were too many to be noted. Behind the payload's files count those of its manifests,
    as they were: ``manifests`` is a digest of their ETags. Of several ``archives`` of one request, ``partition`` says
    which entries are in which.
    """

    request: str
    files: int
    missing: tuple[int, ...] | None = ()
    manifests: str | None = None
    partition: str | None = None
    archives: int = 1

    def as_metadata(self) -> dict[str, str]:
        """The record as S3 keeps it: ASCII, at most 2 KB."""
        missing = _ranges(self.missing or ())
        optional = {"archiver-manifests": self.manifests} if self.manifests else {}
        if self.partition:
            optional |= {"archiver-partition": self.partition, "archiver-archives": str(self.archives)}
        return optional | {
            "archiver-version": __version__,
            "archiver-request": self.request,
            "archiver-files": str(self.files),
            "archiver-missing": missing if self.missing is not None and len(missing) <= _MOST else _TOO_MANY,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "ArchiveRecord | None":
        """The record that an object carries; None where it is none of ours."""
        try:
            missing = metadata["archiver-missing"]
            return cls(
                request=metadata["archiver-request"],
                files=int(metadata["archiver-files"]),
                missing=None if missing == _TOO_MANY else _numbers(missing),
                manifests=metadata.get("archiver-manifests"),
                partition=metadata.get("archiver-partition"),
                archives=int(metadata.get("archiver-archives", "1")),
            )
        except (KeyError, ValueError):
            return None


def _ranges(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    if not ordered:
        return ""
    starts = [ordered[0]] + [after for before, after in pairwise(ordered) if after != before + 1]
    stops = [before for before, after in pairwise(ordered) if after != before + 1] + [ordered[-1]]
    return ",".join(
        str(start) if start == stop else f"{start}-{stop}" for start, stop in zip(starts, stops, strict=True)
    )


def _numbers(text: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for item in filter(None, text.split(",")):
        match = _RANGE.fullmatch(item)
        if match is None:
            raise ValueError(item)
        start, stop = match.groups()
        numbers += range(int(start), int(stop or start) + 1)
    return tuple(numbers)


def content_disposition(filename: str) -> str:
    """The header that makes a browser save the archive under this name: RFC 6266, with RFC 8187 for all of Unicode."""
    plain = "".join(char if char.isascii() and char not in '"\\%' and char.isprintable() else "_" for char in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
