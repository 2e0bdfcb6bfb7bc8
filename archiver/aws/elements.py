"""The XML elements that S3 answers with."""

import xml.etree.ElementTree as ET


def root_of(body: bytes) -> str:
    """The name of the XML element that the body of an answer is, whatever its namespace; empty where it is none.

    S3 may send white space before it, which keeps the connection alive.
    """
    try:
        return ET.fromstring(body.strip()).tag.rpartition("}")[2]  # noqa: S314 of what is none of S3's the name is all
    except (ET.ParseError, LookupError, ValueError):  # the latter two: an encoding that is none, or not the parser's
        return ""


def fields_of(body: bytes) -> dict[str, str]:
    """The texts of the elements directly below the root of such a body, by their names. Raises ``ParseError``."""
    root = ET.fromstring(body.strip())  # noqa: S314 it has been taken for S3's
    return {child.tag.rpartition("}")[2]: child.text or "" for child in root}
