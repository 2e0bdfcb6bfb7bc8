"""An SQS message becomes one Celery task call, whatever its bytes.

A body that is a job (a raw JSON payload, the same inside an SNS notification, or a Celery call of
``archiver.build_archive`` from another service, which ``celery_call`` reads) becomes a call of that task. Anything else
becomes a call of ``archiver.refuse_message``, which dead-letters it with a reason. Nothing here raises or returns None:
one bad message must not stop the worker, nor be lost.

The payload travels as the JSON text that came: kombu's decoder would turn ``{"__type__": ...}`` objects, which a
payload's metadata may hold, into something else, and numbers that are written anew are rounded, or grow.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from archiver import trace_context
from archiver.archive.document import Document, DocumentError, read
from archiver.archive.pointer import is_pointer
from archiver.aws.letters import Letter, as_correlation_id
from archiver.errors import LimitExceeded, PermanentError, UnreadableMessage
from archiver.worker.celery_call import read_call, read_id
from archiver.worker.envelope import BUILD_TASK, envelope, refusal

#: Keys of which a payload has one, and no envelope of SNS's or kombu's does: what has one is a payload, whatever else
#: it holds.
PAYLOAD_KEYS = frozenset({"files", "manifest"})


@dataclass(frozen=True, slots=True)
class _Call:
    """A readable job: its payload and, from a Celery call, its time limits in seconds (hard, soft)."""

    payload: Document
    timelimit: tuple[int | None, int | None] = (None, None)


def decode(
    message: Mapping[str, Any], *, queue: str, queue_url: str, max_body_bytes: int, now: float
) -> dict[str, Any]:
    """The kombu envelope (a Celery protocol-2 task message) for one message as ReceiveMessage returns it.

    ``now`` is epoch seconds. Never raises. Source: Celery's message protocol, version 2.
    """
    letter = Letter.from_message(message, queue_url)
    task_id = letter.message_id
    try:
        _check_size(letter.body, max_body_bytes)
        document = _object(_plain(letter.body))
        task_id = _call_id(document.value) or task_id
        letter = replace(
            letter,
            correlation_id=letter.correlation_id or as_correlation_id(_sns_attribute(document.value, "Correlation-Id")),
            trace=letter.trace or _trace(document.value),
        )
        call = _read(document, now=now)
    except Exception as error:
        return refusal(letter, queue, _verdict(error), task_id=task_id)
    return envelope(
        letter,
        queue,
        task=BUILD_TASK,
        args=[call.payload.text],
        argsrepr=_short(call.payload.value),
        task_id=task_id,
        timelimit=call.timelimit,
    )


def call_id(letter: Letter) -> str | None:
    """The id that a Celery call brings along; None where the message is no such call, or none with an id."""
    try:
        return _call_id(_object(_plain(letter.body)).value)
    except PermanentError:
        return None


def payload_of(letter: Letter) -> Document | None:
    """The payload in a message that is to be refused, for its metadata; None where it can't be read."""
    try:
        document = _object(_plain(letter.body))
        return read_call(document.value).payload() if _is_celery(document.value) else _read(document, now=0).payload
    except PermanentError:
        return None


def _verdict(error: Exception) -> PermanentError:
    if isinstance(error, PermanentError):
        return error
    # The last line of defence: a message that breaks the decoder is a bad message, not the worker's end.
    return UnreadableMessage(f"The body could not be decoded ({type(error).__name__})")


def _check_size(body: str, max_body_bytes: int) -> None:
    size = len(body.encode(errors="surrogatepass"))
    if size > max_body_bytes:
        raise LimitExceeded(f"The body has {size} bytes, over the limit of {max_body_bytes} (MAX_BODY_BYTES)")


def _read(document: Document, *, now: float) -> _Call:
    if _is_celery(document.value):
        call = read_call(document.value)
        call.check(now=now)
        return _Call(call.payload(), timelimit=call.time_limits())
    if _is_sns(document.value):
        return _Call(_object(document.value["Message"]))
    return _Call(document)


def _plain(body: str) -> str:
    """The body's JSON text, unwrapped from base64 where it comes from kombu."""
    text = body.strip().removeprefix("\ufeff")
    if not text:
        raise UnreadableMessage("The body is empty")
    if text[0] in '{["' or not re.fullmatch(r"[A-Za-z0-9+/\s]+={0,2}", text):
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text


def _object(text: str) -> Document:
    if is_pointer(text):
        # What it leads to is no matter of the decoder's, which does no I/O: the text travels on.
        return Document({}, text)
    try:
        return read(text, any_number=True)
    except DocumentError as error:
        raise UnreadableMessage(f"The body {error}") from None


def _is_sns(document: dict[str, Any]) -> bool:
    """Source: SNS Developer Guide, HTTP/HTTPS notification JSON format; the body is the same on SQS."""
    return (
        document.get("Type") == "Notification"
        and isinstance(document.get("Message"), str)
        and PAYLOAD_KEYS.isdisjoint(document)
    )


def _sns_attribute(document: dict[str, Any], name: str) -> object:
    attributes = document.get("MessageAttributes") if _is_sns(document) else None
    attribute = attributes.get(name) if isinstance(attributes, dict) else None
    return attribute.get("Value") if isinstance(attribute, dict) else None


def _trace(document: dict[str, Any]) -> dict[str, str]:
    """The trace that the sender of a Celery call or of an SNS notification goes on with."""
    headers = document.get("headers") if _is_celery(document) else None
    if isinstance(headers, dict):
        return trace_context.checked_from(headers)
    return trace_context.checked_from({name: _sns_attribute(document, name) for name in trace_context.NAMES})


def _is_celery(document: dict[str, Any]) -> bool:
    """Source: kombu's virtual transport, ``Channel.prepare_message``: a body of text beside its properties."""
    return (
        isinstance(document.get("body"), str)
        and isinstance(document.get("properties"), dict)
        and PAYLOAD_KEYS.isdisjoint(document)
    )


def _call_id(document: dict[str, Any]) -> str | None:
    return read_id(document) if _is_celery(document) else None


def _short(payload: dict[str, Any]) -> str:
    """What Celery's events and Flower show instead of the payload."""
    if not payload:
        return "what a pointer leads to"
    files = payload.get("files")
    if payload.get("manifest") is not None:
        return f"{len(files) if isinstance(files, list) else 0} files and those of a manifest"
    if not isinstance(files, list):
        return "no files"
    return "1 file" if len(files) == 1 else f"{len(files)} files"
