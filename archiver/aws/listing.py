"""A page of ListObjectsV2: asked for, and read in a small part of boto3's time.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from archiver.archive.location import Location
from archiver.archive.storage import ListedPage, SourceObject
from archiver.aws.listings import going_forward
from archiver.aws.page_text import FIELDS, ObjectText, text_of
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
        elements, texts = text_of(content)
        decode = unquote_plus if elements.get("EncodingType") == "url" else str
        objects = [_object(bucket, text, decode) for text in texts]
    except (ValueError, OverflowError) as error:
        raise StorageUnavailable(f"listing {bucket} failed: the answer is not S3's ({error})") from error
    more = elements.get("IsTruncated") == "true"
    return Page(objects, more, elements.get("NextContinuationToken") if more else None)


def _object(bucket: str, text: ObjectText, decode: Callable[[str], str]) -> SourceObject:
    key, modified, etag, size, storage = text
    if key is None or modified is None or etag is None or size is None:
        lacking = next(name for name, value in zip(FIELDS, text, strict=True) if value is None)
        raise ValueError(f"an object without {lacking}")
    seconds = int(datetime.fromisoformat(modified).timestamp())
    return SourceObject(bucket, decode(key), int(size), etag, seconds, archived=storage in ARCHIVED_CLASSES)


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
