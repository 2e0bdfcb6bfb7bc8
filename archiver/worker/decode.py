"""An SQS message becomes one Celery task call, whatever its bytes.

A body that is a job (a raw JSON payload, the same inside an SNS notification, or a Celery call of
``archiver.build_archive`` from another service) becomes a call of that task. Anything else becomes a call of
``archiver.refuse_message``, which dead-letters it with a reason. Nothing here raises or returns None: one bad
message must not stop the worker, nor be lost.

The payload travels as the JSON text that came: kombu's decoder would turn ``{"__type__": ...}`` objects, which a
payload's metadata may hold, into something else, and numbers that are written anew are rounded, or grow.

Options of a Celery call: an ``expires`` in the past refuses the job, time limits within SQS's bounds are passed on;
``eta`` or ``countdown``, callbacks, chains, chords and compression are refused, because this queue can't honour them:
SQS's own DelaySeconds delays a job, the notification continues it. Results are not sent back, so ``reply_to`` is
ignored, as is every other option: what Celery gets is written here, value by value.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from archiver import trace_context
from archiver.archive.document import MAX_DEPTH, Document, DocumentError, items, members, read
from archiver.archive.pointer import is_pointer
from archiver.aws.letters import Letter, as_correlation_id
from archiver.errors import (
    InvalidPayload,
    LimitExceeded,
    MessageExpired,
    PermanentError,
    UnknownTask,
    UnreadableMessage,
    UnsupportedCall,
)
from archiver.worker.envelope import BUILD_TASK, envelope, refusal

#: What a Celery call adds to its payload's nesting.
CALL_DEPTH = 3
#: An eta closer than this is a job for now: ``countdown=0`` and clocks that differ.
ETA_TOLERANCE_SECONDS = 2.0
#: The longest time limit, in seconds: a job's message can't stay hidden for longer.
#: Source: API_ChangeMessageVisibility, VisibilityTimeout.
MAX_TIME_LIMIT_SECONDS = 43_200
#: Keys of which a payload has one, and no envelope of SNS's or kombu's does: what has one is a payload, whatever else
#: it holds.
PAYLOAD_KEYS = frozenset({"files", "manifest"})
#: Longest quotation of foreign text in a reason.
QUOTE_CHARACTERS = 80

_TASK_ID = re.compile(r"[\x21-\x7e]{1,255}")


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
        return _celery_call(document.value).payload() if _is_celery(document.value) else _read(document, now=0).payload
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
        return _read_celery(document.value, now=now)
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


def _object(text: str, *, depth: int = MAX_DEPTH) -> Document:
    if is_pointer(text):
        # What it leads to is no matter of the decoder's, which does no I/O: the text travels on.
        return Document({}, text)
    try:
        return read(text, depth=depth, any_number=True)
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


@dataclass(frozen=True, slots=True)
class _CeleryCall:
    """A Celery message of either protocol: its options, its arguments with their texts, what is embedded beside."""

    options: dict[str, Any]
    args: object
    kwargs: object
    embed: object
    texts: Mapping[str, str]  # of args and of kwargs

    def payload(self) -> Document:
        """The one argument of the call."""
        return _payload_in(self.args, self.kwargs, self.texts)


def _celery_call(document: dict[str, Any]) -> _CeleryCall:
    headers = document.get("headers") or {}
    if not isinstance(headers, dict):
        raise UnreadableMessage("The Celery message's headers are no object")
    if headers.get("compression"):
        raise UnsupportedCall("A compressed Celery message is not accepted")
    text, content = _celery_content(document)
    if "task" in headers:  # protocol 2
        if not (isinstance(content, list) and len(content) == 3):
            raise UnreadableMessage("The Celery message's body is not [args, kwargs, embed]")
        args, kwargs, embed = content
        return _CeleryCall(headers, args, kwargs, embed, dict(zip(("args", "kwargs"), items(text), strict=False)))
    if isinstance(content, dict) and "task" in content:  # protocol 1
        args, kwargs = content.get("args") or [], content.get("kwargs") or {}
        return _CeleryCall(content, args, kwargs, content, members(text))
    raise UnreadableMessage("The Celery message names no task")


def _read_celery(document: dict[str, Any], *, now: float) -> _Call:
    call = _celery_call(document)
    if call.options["task"] != BUILD_TASK:
        raise UnknownTask(f"This worker has no task {_quote(str(call.options['task']))}")
    _check_options(call.options, call.embed if isinstance(call.embed, dict) else {}, now=now)
    return _Call(call.payload(), timelimit=_time_limits(call.options.get("timelimit")))


def _call_id(document: dict[str, Any]) -> str | None:
    if not _is_celery(document):
        return None
    headers = document.get("headers")
    task_id = headers.get("id") if isinstance(headers, dict) else None
    if task_id is None:  # protocol 1 has it in the body
        try:
            task_id = _celery_call(document).options.get("id")
        except PermanentError:
            return None
    return task_id if isinstance(task_id, str) and _TASK_ID.fullmatch(task_id) else None


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
    if value is None:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        moment = datetime.fromisoformat(str(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise UnsupportedCall(f"{name}={_quote(str(value))} is no ISO 8601 time") from None


def _time_limits(value: object) -> tuple[int | None, int | None]:
    """The hard and the soft limit of a call, in seconds, as its ``timelimit`` has them."""
    if value is None:
        return None, None
    if not (isinstance(value, list) and len(value) == 2):
        raise UnsupportedCall(f"timelimit={_quote(str(value))} is not [hard, soft]")
    hard, soft = _time_limit(value[0], "time_limit"), _time_limit(value[1], "soft_time_limit")
    if hard is not None and soft is not None and soft > hard:
        raise UnsupportedCall(f"soft_time_limit={soft} is longer than time_limit={hard}")
    return hard, soft


def _time_limit(value: object, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_TIME_LIMIT_SECONDS:
        raise UnsupportedCall(
            f"{name}={_quote(str(value))} is no whole number of seconds from 1 to {MAX_TIME_LIMIT_SECONDS}"
        )
    return value


def _payload_in(args: object, kwargs: object, texts: Mapping[str, str]) -> Document:
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


def _quote(text: str) -> str:
    return repr(text if len(text) <= QUOTE_CHARACTERS else text[:QUOTE_CHARACTERS] + "…")
