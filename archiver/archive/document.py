"""JSON as it comes in and goes out: one set of rules, for those who send payloads and for the worker alike.

A document is a JSON object (RFC 8259) with the text that it was read from, since JSON written anew is another text: a
number may be rounded, or grow (``1e15`` becomes ``1000000000000000.0``). The rules that are more than JSON's own:

- no NaN and no Infinity, which Python would take; no number that a double can't hold, nor one of hundreds of digits,
  which Python writes and another reader, or Python itself from 4,300 digits on, does not read;
- no lone surrogates, which are no Unicode text;
- at most ``MAX_DEPTH`` levels, since readers that recurse end at some depth.

Functions raise ``DocumentError``, whose message is a predicate: the caller knows what it is about.
"""

import json
import math
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from archiver.complaints import path
from archiver.errors import shown

#: The largest number of a double, as a whole number of 309 digits.
MAX_NUMBER = int(sys.float_info.max)
#: Deepest nesting of a payload, which itself needs four levels: the rest is its metadata's.
MAX_DEPTH = 64

_PARENTS = (dict, list, tuple)
_MAX_DIGITS = len(str(MAX_NUMBER))
# In place of what no double holds, until it is found and refused with its path.
_BEYOND = 10**_MAX_DIGITS
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


def read(text: str, *, depth: int = MAX_DEPTH, any_number: bool = False) -> Document:
    """The JSON object that ``text`` is.

    ``any_number`` is for an envelope around a payload: what no double holds is some number beyond that, there.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_float, parse_int=_int)
        if ("\\u" in text or not text.isascii()) and _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise DocumentError(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except UnicodeEncodeError:
        raise DocumentError("holds a lone surrogate, which is no Unicode text") from None
    except RecursionError:
        raise _too_deep(depth) from None
    if not isinstance(value, dict):
        raise DocumentError(f"is JSON, but no object: {type(value).__name__}")
    _check_values(value, depth, any_number=any_number)
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
        if "Circular" not in str(error):
            _check_values(value, MAX_DEPTH)  # which says where
        raise DocumentError(f"is no JSON: {error}") from None
    _check_values(value, MAX_DEPTH)
    return sendable(text)


def sendable(text: str) -> str:
    """JSON text that SQS takes: what it refuses in a body is written as escapes."""
    if text.isascii():
        return text
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


def _float(text: str) -> float | int:
    value = float(text)
    return value if math.isfinite(value) else _BEYOND


def _int(text: str) -> int:
    # int() refuses thousands of digits.
    return int(text) if len(text) <= _MAX_DIGITS + 1 else _BEYOND


def _check_values(value: object, depth: int, *, any_number: bool = False) -> None:
    """Levels, names and numbers. A number that is too large is told by the path to it."""
    level: list[object] = [value]
    for _ in range(depth):
        below: list[object] = []
        for parent in level:
            if isinstance(parent, dict):
                for name in parent:
                    if not isinstance(name, str):
                        raise DocumentError(f"holds the name {shown(name)}: keys should be strings")
                children: Iterable[object] = parent.values()
            elif isinstance(parent, _PARENTS):
                children = parent
            else:
                continue
            for child in children:
                # Nearly all are strings.
                if isinstance(child, str):
                    continue
                if isinstance(child, _PARENTS):
                    below.append(child)
                elif isinstance(child, int) and not any_number and not -MAX_NUMBER <= child <= MAX_NUMBER:
                    raise DocumentError(f"holds a number too large for a double: {path(_way_to(child, value) or ())}")
        if not below:
            return
        level = below
    raise _too_deep(depth)


def _way_to(sought: object, value: object) -> list[str | int] | None:
    """The steps from a value to one in it, which is found by its identity."""
    if value is sought:
        return []
    if isinstance(value, dict):
        steps: Iterable[tuple[str | int, object]] = value.items()
    elif isinstance(value, list | tuple):
        steps = enumerate(value)
    else:
        return None
    for step, child in steps:
        if (way := _way_to(sought, child)) is not None:
            return [step, *way]
    return None


def _too_deep(depth: int) -> DocumentError:
    return DocumentError(f"is nested deeper than {depth} levels")
