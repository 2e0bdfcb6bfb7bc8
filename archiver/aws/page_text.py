"""The texts in a page of ListObjectsV2, by a pattern where it is written as S3 writes it, else by an XML parser.

The pattern takes a third of the parser's time. It knows but one way to write a page: elements in S3's namespace or in
none, ASCII, no white space between them, and of all references that of the quotation mark around an ETag. What is not
that from its first character to its last is the parser's, be it allowed or broken.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import NamedTuple

#: The fields of an object that are taken, in this order.
FIELDS = ("Key", "LastModified", "ETag", "Size", "StorageClass")

# There is never more than one way to match, or a hostile page would take for ever.
_TEXT = "[ !-%'-;=?-~]*"
_SIMPLE = rf"<([A-Za-z]+)(?:>({_TEXT})</\1>|/>)"
_BEGIN = re.compile(
    r"""(?:<\?xml version=(?:"1.0"|'1.0') encoding=(?:"(?i:utf-8)"|'(?i:utf-8)')\?>[ \t\r\n]*)?<ListBucketResult"""
    r"""(?: xmlns="http://s3.amazonaws.com/doc/2006-03-01/")?>""".replace(".", r"\.")
)
_SIMPLES = re.compile(f"(?:{_SIMPLE})*")
_ONE_SIMPLE = re.compile(_SIMPLE)
_OBJECT = re.compile(
    rf"<Contents>(?:<Key>({_TEXT})</Key>|<LastModified>({_TEXT})</LastModified>"
    rf"|<ETag>((?:&quot;)?{_TEXT}(?:&quot;)?)</ETag>|<Size>({_TEXT})</Size>|<StorageClass>({_TEXT})</StorageClass>"
    rf"|<(?!(?:{'|'.join(FIELDS)})>)([A-Za-z]+)>{_TEXT}</\6>)*</Contents>"
)
_END = re.compile(r"</ListBucketResult>[ \t\r\n]*")


#: What an object's fields say; None where it has no such field.
ObjectText = tuple[str | None, str | None, str | None, str | None, str | None]


class PageText(NamedTuple):
    """The texts of a page's simple elements, the first of each name, and of each object's ``FIELDS``, the last."""

    elements: dict[str, str]
    objects: Sequence[ObjectText]


def text_of(content: bytes) -> PageText:
    """The texts. Raises ``ValueError`` where the content is no page of S3's."""
    return plain_text_of(content) or parsed_text_of(content)


def plain_text_of(content: bytes) -> PageText | None:
    """The texts, None where the content is not written in the way that the pattern knows."""
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        return None
    begin = _BEGIN.match(text)
    if begin is None:
        return None
    objects: list[ObjectText] = []
    stop = _end_of_simples(text, begin.end())
    before = text[begin.end() : stop]
    while found := _OBJECT.match(text, stop):
        key, modified, etag, size, storage = found.group(1, 2, 3, 4, 5)
        objects.append((key, modified, etag and etag.replace("&quot;", '"'), size, storage))
        stop = found.end()
    end = _end_of_simples(text, stop)
    if not _END.fullmatch(text, end):
        return None
    elements: dict[str, str] = {}
    for name, value in _ONE_SIMPLE.findall(before + text[stop:end]):
        elements.setdefault(name, value)
    return None if "Contents" in elements else PageText(elements, objects)


def parsed_text_of(content: bytes) -> PageText:
    """The texts, however the page is written. Raises ``ValueError`` where the content is no page of S3's."""
    try:
        root = ET.fromstring(content)  # noqa: S314 expat, which bounds what entities come to
    except (ET.ParseError, LookupError) as error:  # the latter: an encoding that is none
        raise ValueError(f"no XML ({error})") from error
    space = root.tag.rpartition("}")[0] + "}" if root.tag.startswith("{") else ""
    if root.tag != f"{space}ListBucketResult":
        raise ValueError(f"not S3's ({root.tag})")
    one, two, three, four, five = [f"{space}{name}" for name in FIELDS]
    elements: dict[str, str] = {}
    objects: list[ObjectText] = []
    for child in root:
        if child.tag == f"{space}Contents":
            fields = {field.tag: field.text or "" for field in child}
            objects.append((fields.get(one), fields.get(two), fields.get(three), fields.get(four), fields.get(five)))
        elif child.tag.startswith(space):
            elements.setdefault(child.tag[len(space) :], child.text or "")
    return PageText(elements, objects)


def _end_of_simples(text: str, start: int) -> int:
    """Where the simple elements end that begin there, be they none."""
    found = _SIMPLES.match(text, start)
    assert found is not None
    return found.end()
