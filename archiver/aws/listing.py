"""A page of ListObjectsV2: asked for, and read with the standard library, which takes an eighth of boto3's time.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from archiver.archive.location import Location
from archiver.archive.storage import ListedPage, SourceObject
from archiver.aws.listings import going_forward
from archiver.errors import StorageUnavailable

#: Classes whose objects must be restored before they can be read:
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/archived-objects.html
ARCHIVED_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


@dataclass(frozen=True, slots=True)
class Page:
    """Objects in S3's order, whether there are more, and the token of the next page."""

    objects: list[SourceObject]
    is_truncated: bool
    next_token: str | None

    def as_fields(self) -> dict[str, Any]:
        """The page with the names of the API."""
        return {
            "Contents": self.objects,
            "IsTruncated": self.is_truncated,
            "NextContinuationToken": self.next_token,
        }


def page_query(*, prefix: str, after: str | None = None, token: str | None = None) -> dict[str, str]:
    """The query of a page: behind ``token`` or, in a first page, behind the key ``after``."""
    # Encoded, since XML can't say every character that a key may have.
    query = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
    if after is not None:
        query["start-after"] = after
    if token is not None:
        query["continuation-token"] = token
    return query


def read_page(bucket: str, content: bytes) -> Page:
    """Read an answer. Raises ``StorageUnavailable`` where it is none of S3's."""
    try:
        root = ET.fromstring(content)  # noqa: S314 - see the import
    except ET.ParseError as error:
        raise StorageUnavailable(f"listing {bucket} failed: the answer is no XML ({error})") from error
    space = root.tag.rpartition("}")[0] + "}" if root.tag.startswith("{") else ""
    if root.tag != f"{space}ListBucketResult":
        raise StorageUnavailable(f"listing {bucket} failed: the answer is not S3's ({root.tag})")
    decode = unquote_plus if root.findtext(f"{space}EncodingType") == "url" else str
    key, size, etag, modified, storage = (
        f"{space}{name}" for name in ("Key", "Size", "ETag", "LastModified", "StorageClass")
    )
    objects = []
    for item in root.iterfind(f"{space}Contents"):
        fields = {child.tag: child.text or "" for child in item}
        try:
            objects.append(
                SourceObject(
                    bucket=bucket,
                    key=decode(fields[key]),
                    size=int(fields[size]),
                    etag=fields[etag],
                    modified=int(datetime.fromisoformat(fields[modified]).timestamp()),
                    archived=fields.get(storage) in ARCHIVED_CLASSES,
                )
            )
        except KeyError as error:
            lacking = str(error.args[0]).removeprefix(space)
            raise StorageUnavailable(
                f"listing {bucket} failed: the answer has an object without {lacking!r}"
            ) from error
        except (ValueError, OverflowError) as error:
            raise StorageUnavailable(f"listing {bucket} failed: the answer is not S3's ({error})") from error
    more = root.findtext(f"{space}IsTruncated") == "true"
    return Page(objects, more, root.findtext(f"{space}NextContinuationToken") if more else None)


def objects_below(prefix: Location, ask: Callable[[Mapping[str, str]], Page]) -> Iterator[SourceObject]:
    """Every object below a prefix, in S3's order, as ``pages_below`` brings them."""
    for page in pages_below(prefix, ask):
        yield from page.objects


def pages_below(
    prefix: Location, ask: Callable[[Mapping[str, str]], Page], *, after: str | None = None
) -> Iterator[ListedPage]:
    """The pages of what lies below a prefix and behind the key ``after``, that ``ask`` brings for their queries.

    Raises what ``ask`` raises, and ``StorageUnavailable`` where the pages don't go forward.
    """

    def pages() -> Iterator[Mapping[str, Any]]:
        token = None
        while True:
            page = ask(page_query(prefix=prefix.key, after=after if token is None else None, token=token))
            yield page.as_fields()
            token = page.next_token

    for page in going_forward(
        pages(),
        what=str(prefix),
        items="Contents",
        identity=lambda item: item.key,
        markers=("NextContinuationToken",),
    ):
        yield ListedPage(page["Contents"], page["IsTruncated"])
