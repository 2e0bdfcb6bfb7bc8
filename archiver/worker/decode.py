"""An SQS message becomes one Celery task call, whatever its bytes.

A body that is a job (a raw JSON payload, the same inside an SNS notification, or a Celery call of
``archiver.build_archive`` from another service) becomes a call of that task. Anything else becomes a call of
``archiver.refuse_message``, which dead-letters it with a reason. Nothing here raises or returns None: one bad
message must not stop the worker, nor be lost.

The payload travels as the JSON text that came: kombu's decoder would turn ``{"__type__": ...}`` objects, which a
payload's metadata may hold, into something else, and numbers that are written anew are rounded, or grow.

Options of a Celery call: an ``expires`` in the past refuses the job, a ``time_limit`` is passed on; ``eta`` or
``countdown``, callbacks, chains, chords and compression are refused, because this queue can't honour them: SQS's
own DelaySeconds delays a job, the notification continues it. Results are not sent back, so ``reply_to`` is ignored.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from archiver.archive.document import MAX_DEPTH, Document, DocumentError, items, members, read
from archiver.aws.letters import Letter
from archiver.errors import (
    InvalidPayload,
    LimitExceeded,
    MessageExpired,
    PermanentError,
    UnknownTask,
    UnreadableMessage,
    UnsupportedCall,
)

BUILD_TASK = "archiver.build_archive"
REFUSE_TASK = "archiver.refuse_message"

#: The Celery message header that carries the letter, as a plain dict, from the worker's process into its pool.
LETTER_HEADER = "archiver_letter"

#: What a Celery call adds to its payload's nesting.
CALL_DEPTH = 3
#: An eta closer than this is a job for now: ``countdown=0`` and clocks that differ.
ETA_TOLERANCE_SECONDS = 2.0
#: Longest quotation of foreign text in a reason.
QUOTE_CHARACTERS = 80

_TASK_ID = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class _Call:
    """A readable job: its payload and, from a Celery call, its id and time limits in seconds."""

    payload: Document
    task_id: str | None = None
    timelimit: tuple[float | None, float | None] = (None, None)
    correlation_id: str | None = None


def decode(
    message: Mapping[str, Any], *, queue: str, queue_url: str, max_body_bytes: int, now: float
) -> dict[str, Any]:
    """The kombu envelope (a Celery protocol-2 task message) for one message as ReceiveMessage returns it.

    ``now`` is epoch seconds. Never raises. Source: Celery's message protocol, version 2.
    """
    letter = Letter.from_message(message, queue_url)
    try:
        call = _read(letter.body, max_body_bytes=max_body_bytes, now=now)
    except PermanentError as error:
        return _refusal(letter, queue, error)
    except Exception as error:
        # The last line of defence: a message that breaks the decoder is a bad message, not the worker's end.
        return _refusal(letter, queue, UnreadableMessage(f"The body could not be decoded ({type(error).__name__})"))
    if call.correlation_id is not None and letter.correlation_id is None:
        letter = replace(letter, correlation_id=call.correlation_id)
    return _envelope(
        letter,
        queue,
        task=BUILD_TASK,
        args=[call.payload.text],
        argsrepr=_short(call.payload.value),
        task_id=call.task_id or letter.message_id,
        timelimit=call.timelimit,
    )


def _read(body: str, *, max_body_bytes: int, now: float) -> _Call:
    size = len(body.encode(errors="surrogatepass"))
    if size > max_body_bytes:
        raise LimitExceeded(f"The body has {size} bytes, over the limit of {max_body_bytes} (MAX_BODY_BYTES)")
    payload = _object(_plain(body))
    document = payload.value
    if _is_celery(document):
        return _read_celery(document, now=now)
    if document.get("Type") == "Notification" and isinstance(document.get("Message"), str):
        return _read_sns(document)
    return _Call(payload)


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


def _object(text: str, *, depth: int = MAX_DEPTH) -> Document:
    try:
        return read(text, depth=depth)
    except DocumentError as error:
        raise UnreadableMessage(f"The body {error}") from None


def _read_sns(document: dict[str, Any]) -> _Call:
    inner = _object(document["Message"])
    attributes = document.get("MessageAttributes")
    correlation = attributes.get("Correlation-Id") if isinstance(attributes, dict) else None
    value = correlation.get("Value") if isinstance(correlation, dict) else None
    return _Call(inner, correlation_id=value if isinstance(value, str) and value else None)


def _is_celery(document: dict[str, Any]) -> bool:
    return isinstance(document.get("body"), str) and isinstance(document.get("properties"), dict)


def _read_celery(document: dict[str, Any], *, now: float) -> _Call:
    headers = document.get("headers") or {}
    if not isinstance(headers, dict):
        raise UnreadableMessage("The Celery message's headers are no object")
    if headers.get("compression"):
        raise UnsupportedCall("A compressed Celery message is not accepted")
    text, content = _celery_content(document)
    if "task" in headers:  # protocol 2
        if not (isinstance(content, list) and len(content) == 3):
            raise UnreadableMessage("The Celery message's body is not [args, kwargs, embed]")
        options, (args, kwargs, embed) = headers, content
        texts = dict(zip(("args", "kwargs"), items(text), strict=False))
    elif isinstance(content, dict) and "task" in content:  # protocol 1
        options, args, kwargs, embed = content, content.get("args") or [], content.get("kwargs") or {}, content
        texts = members(text)
    else:
        raise UnreadableMessage("The Celery message names no task")
    if options["task"] != BUILD_TASK:
        raise UnknownTask(f"This worker has no task {_quote(str(options['task']))}")
    _check_options(options, embed if isinstance(embed, dict) else {}, now=now)
    task_id = options.get("id")
    return _Call(
        _payload_of(args, kwargs, texts),
        task_id=task_id if isinstance(task_id, str) and _TASK_ID.fullmatch(task_id) else None,
        timelimit=_time_limits(options.get("timelimit")),
    )


def _celery_content(document: dict[str, Any]) -> tuple[str, Any]:
    """The text of a Celery message's body and what it says."""
    content_type = document.get("content-type")
    if content_type != "application/json":
        raise UnsupportedCall(f"Only JSON is accepted as a Celery serializer, not {_quote(str(content_type))}")
    body, encoding = document["body"], document["properties"].get("body_encoding")
    try:
        text = body if encoding in (None, "utf-8") else base64.b64decode(body, validate=True).decode()
    except (binascii.Error, ValueError):
        raise UnreadableMessage("The Celery message's body is not base64 of UTF-8 text") from None
    # Wrapped, so that one function reads every kind of JSON with the same rules.
    content = _object(f'{{"content": {text}}}', depth=MAX_DEPTH + CALL_DEPTH)
    return members(content.text)["content"], content.value["content"]


def _check_options(options: dict[str, Any], embed: dict[str, Any], *, now: float) -> None:
    eta, expires = _moment(options.get("eta"), "eta"), _moment(options.get("expires"), "expires")
    if eta is not None and eta > now + ETA_TOLERANCE_SECONDS:
        raise UnsupportedCall("eta and countdown are not accepted: delay a job with SQS's DelaySeconds")
    if expires is not None and expires <= now:
        raise MessageExpired(f"The call expired at {options['expires']}")
    for key in ("callbacks", "errbacks", "chain", "chord"):
        if embed.get(key):
            raise UnsupportedCall(f"{key} are not accepted: continue from the notification")


def _moment(value: object, name: str) -> float | None:
    """Epoch seconds of an ISO 8601 time, UTC where it names no zone, or of a number of seconds."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    try:
        moment = datetime.fromisoformat(str(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise UnsupportedCall(f"{name}={_quote(str(value))} is no ISO 8601 time") from None


def _time_limits(value: object) -> tuple[float | None, float | None]:
    if isinstance(value, list) and len(value) == 2 and all(_is_limit(item) for item in value):
        return value[0], value[1]
    return None, None


def _is_limit(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0)


def _payload_of(args: object, kwargs: object, texts: dict[str, str]) -> Document:
    """The one argument of a call; ``texts`` has the texts of its args and its kwargs."""
    if isinstance(args, list) and isinstance(kwargs, dict):
        if len(args) == 1 and not kwargs:
            payload, text = args[0], items(texts["args"])[0]
        elif not args and set(kwargs) == {"payload"}:
            payload, text = kwargs["payload"], members(texts["kwargs"])["payload"]
        else:
            raise InvalidPayload(f"{BUILD_TASK} takes one argument, payload: got {len(args)} and {len(kwargs)} named")
        if isinstance(payload, dict):
            return Document(payload, text)
        raise InvalidPayload(f"payload is no object: {type(payload).__name__}")
    raise InvalidPayload("The Celery call's args are no list or its kwargs no object")


def _refusal(letter: Letter, queue: str, error: PermanentError) -> dict[str, Any]:
    return _envelope(
        letter,
        queue,
        task=REFUSE_TASK,
        args=[error.code, error.message],
        argsrepr=error.code,
        task_id=letter.message_id,
        timelimit=(None, None),
    )


def _envelope(
    letter: Letter,
    queue: str,
    *,
    task: str,
    args: list[str],
    argsrepr: str,
    task_id: str,
    timelimit: tuple[float | None, float | None],
) -> dict[str, Any]:
    return {
        "body": json.dumps([args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {
            "lang": "py",
            "task": task,
            "id": task_id,
            "root_id": task_id,
            "parent_id": None,
            "group": None,
            "shadow": None,
            "eta": None,
            "expires": None,
            "retries": max(0, letter.receive_count - 1),  # what monitoring shows; Celery itself retries nothing here
            "timelimit": list(timelimit),
            "argsrepr": argsrepr,
            "kwargsrepr": "",
            "origin": "",
            LETTER_HEADER: letter.as_dict(),
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": "",
            "priority": 0,
            "body_encoding": "utf-8",
            "delivery_tag": letter.receipt_handle,
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }


def _short(payload: dict[str, Any]) -> str:
    """What Celery's events and Flower show instead of the payload."""
    files = payload.get("files")
    if not isinstance(files, list):
        return "no files"
    return "1 file" if len(files) == 1 else f"{len(files)} files"


def _quote(text: str) -> str:
    return repr(text if len(text) <= QUOTE_CHARACTERS else text[:QUOTE_CHARACTERS] + "…")
