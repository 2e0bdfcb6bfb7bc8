"""The list of missing sources that an archive itself holds: an entry whose bytes are in memory, not in S3."""

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import replace

from archiver.archive.columns import TextColumn, column_of
from archiver.archive.resolve import Resolution
from archiver.archive.source_table import SourceTable
from archiver.archive.storage import SourceObject
from archiver.text import presentable
from archiver.zipformat.names import each_unique

#: The entry's name; another where a source has it already.
NAME = "MISSING.txt"


def with_missing_list(resolution: Resolution, missing: Iterable[str], *, modified: int) -> Resolution:
    """The resolution with one entry more, the last: the missing sources as UTF-8 text, one a line.

    ``modified`` is the entry's time, in seconds since the epoch: the same for each delivery of a message, so that an
    upload can be resumed.
    """
    # A key may hold line breaks; a source that is a presigned URL keeps its signature to itself.
    body = "".join(f"{presentable(source, limit=None)}\n" for source in missing).encode()
    listed = SourceObject(
        bucket="",
        key=NAME,
        size=len(body),
        etag=hashlib.sha256(body).hexdigest(),
        modified=modified,
        crc32=zlib.crc32(body),
        body=body,
    )
    names, sources = TextColumn(resolution.names), SourceTable(resolution.sources)
    names.append(NAME)
    sources.append(listed)
    return replace(resolution, names=column_of(each_unique(names)), sources=sources)
