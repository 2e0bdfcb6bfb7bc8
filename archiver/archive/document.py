"""JSON as it comes in and goes out: one set of rules, for those who send payloads and for the worker alike.

A document is a JSON object (RFC 8259) with the text that it was read from, since JSON written anew is another text: a
number may be rounded, or grow (``1e15`` becomes ``1000000000000000.0``). The rules that are more than JSON's own:

- no NaN and no Infinity, which Python would take; no number that a double can't hold, or of thousands of digits;
- no lone surrogates, which are no Unicode text;
- at most ``MAX_DEPTH`` levels, since readers that recurse end at some depth.

Functions raise ``DocumentError``, whose message is a predicate: the caller knows what it is about.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from archiver.errors import shown

#: Deepest nesting of a payload, which itself needs four levels: the rest is its metadata's.
MAX_DEPTH = 64

_SPACE = re.compile(r"[ \t\n\r]*")
# Half of a pair, as JSON writes it; whether the other half is there shows only in the value.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
# What JSON allows in a string and SQS refuses in a body:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_REFUSED_BY_SQS = re.compile("[\ud800-\udfff\ufffe\uffff]")


class DocumentError(ValueError):
    """The text or the value is no document; the message is a predicate without its subject."""


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object and its text."""

    value: dict[str, Any]
    text: str

    def member(self, name: str) -> str | None:
        """The text of a member as it came; None where there is none."""
        return members(self.text).get(name)


def as_document(payload: object) -> Document:
    """The document that ``payload`` is, be it JSON text, a document already, or a value to be written."""
    if isinstance(payload, Document):
        return payload
    if isinstance(payload, str):
        return read(payload)
    if not isinstance(payload, dict):
        raise DocumentError(f"must be a JSON object, not {shown(payload)}")
    return Document(payload, write(payload))


def read(text: str, *, depth: int = MAX_DEPTH) -> Document:
    """The JSON object that ``text`` is."""
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise DocumentError(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except UnicodeEncodeError:
        raise DocumentError("holds a lone surrogate, which is no Unicode text") from None
    except DocumentError:
        raise
    except ValueError:
        # int() refuses a number of thousands of digits.
        raise DocumentError("holds a number that is too long to be read") from None
    except RecursionError:
        raise _too_deep(depth) from None
    if not isinstance(value, dict):
        raise DocumentError(f"is JSON, but no object: {type(value).__name__}")
    _check_levels(value, depth)
    return Document(value, text)


def write(value: object) -> str:
    """The JSON text of a Python value, as compact as JSON can be, and such that SQS takes it."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        raise DocumentError("holds a lone surrogate, which is no Unicode text") from None
    except RecursionError:
        raise _too_deep(MAX_DEPTH) from None
    except (TypeError, ValueError) as error:
        raise DocumentError(f"is no JSON: {error}") from None
    _check_levels(value, MAX_DEPTH)
    return sendable(text)


def sendable(text: str) -> str:
    """JSON text that SQS takes: what it refuses in a body is written as escapes."""
    return _REFUSED_BY_SQS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def members(text: str) -> dict[str, str]:
    """The texts of the members of a JSON object that was read before; the last of a name counts, as for ``json``."""
    found = {}
    at = _after_space(text, _after_space(text, 0) + 1)
    while text[at] != "}":
        name, at = _VALUES.raw_decode(text, at)
        start = _after_space(text, _after_space(text, at) + 1)  # over the colon
        _, at = _VALUES.raw_decode(text, start)
        found[name] = text[start:at]
        at = _after_comma(text, at)
    return found


def items(text: str) -> list[str]:
    """The texts of the items of a JSON array that was read before."""
    found = []
    at = _after_space(text, _after_space(text, 0) + 1)
    while text[at] != "]":
        start = at
        _, at = _VALUES.raw_decode(text, start)
        found.append(text[start:at])
        at = _after_comma(text, at)
    return found


_VALUES = json.JSONDecoder()


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _after_comma(text: str, at: int) -> int:
    at = _after_space(text, at)
    return _after_space(text, at + 1) if text[at] == "," else at


def _no_constant(name: str) -> NoReturn:
    raise DocumentError(f"holds {name}, which is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise DocumentError(f"holds {shown(text)}, which is too large a number")
    return value


def _check_levels(value: object, depth: int) -> None:
    level: list[object] = [value]
    for _ in range(depth):
        below: list[object] = []
        for parent in level:
            if isinstance(parent, dict):
                _check_names(parent)
                below += [child for child in parent.values() if isinstance(child, dict | list | tuple)]
            elif isinstance(parent, list | tuple):
                below += [child for child in parent if isinstance(child, dict | list | tuple)]
        if not below:
            return
        level = below
    raise _too_deep(depth)


def _check_names(value: Mapping[object, object]) -> None:
    for name in value:
        if not isinstance(name, str):
            raise DocumentError(f"holds the name {shown(name)}: keys should be strings")


def _too_deep(depth: int) -> DocumentError:
    return DocumentError(f"is nested deeper than {depth} levels")
