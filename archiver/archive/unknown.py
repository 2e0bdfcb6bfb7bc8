"""Keys of a payload that say nothing to us: they are ignored, and told with what was probably meant."""

import re
from collections.abc import Iterator, Mapping, Sequence

from archiver.archive.destination import ArchiveSpec
from archiver.archive.files import FileSpec
from archiver.archive.request import Payload
from archiver.archive.spelling import nearest, same
from archiver.archive.split import SplitSpec
from archiver.errors import shown

#: The keys there are, by the path to their object.
_KNOWN: Mapping[str, Sequence[str]] = {
    "": tuple(Payload.model_fields),
    "files[]": tuple(FileSpec.model_fields),
    "archive": tuple(ArchiveSpec.model_fields),
    "split": tuple(SplitSpec.model_fields),
}

# What stands for those beyond the first few.
_REST = re.compile(r"and \d+ more")


def meant(key: str) -> str | None:
    """The key that was probably meant by one of ``ArchiveRequest.unknown_keys``; None where nobody can say."""
    level, _, name = key.rpartition(".")
    for find in (same, nearest):
        for candidate in _levels(level):
            if found := find(name, _KNOWN.get(candidate, ())):
                return f"{candidate}.{found}" if candidate else found
    return None


def told(keys: Sequence[str]) -> list[str]:
    """A line for each of ``ArchiveRequest.unknown_keys``."""
    return [_line(key) for key in keys]


def _line(key: str) -> str:
    if _REST.fullmatch(key):
        return f"{key} unknown keys are ignored"
    found = meant(key)
    return f"unknown key {shown(key)} is ignored" + (f": did you mean {found!r}?" if found else "")


def _levels(level: str) -> Iterator[str]:
    """Where a key may belong: to its own object; one at the top to an object below, and one below to the top."""
    yield level
    if level:
        yield ""
    else:
        yield from (other for other in _KNOWN if other)
