"""A Celery call from another service: what it asks for, and what of it this queue can't honour (pure).

Options of a call: an ``expires`` in the past refuses the job, time limits within SQS's bounds are passed on; ``eta`` or
``countdown``, callbacks, chains, chords and compression are refused, because this queue can't honour them: SQS's own
DelaySeconds delays a job, the notification continues it. Results are not sent back, so ``reply_to`` is ignored, as is
every other option: what Celery gets is written in ``envelope``, value by value.

Source: Celery's message protocol, versions 1 and 2.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from archiver.archive.document import MAX_DEPTH, Document, DocumentError, items, members, read
from archiver.errors import (
    InvalidPayload,
    MessageExpired,
    PermanentError,
    UnknownTask,
    UnreadableMessage,
    UnsupportedCall,
)
from archiver.worker.envelope import BUILD_TASK

#: What a Celery call adds to its payload's nesting.
CALL_DEPTH = 3
#: An eta closer than this is a job for now: ``countdown=0`` and clocks that differ.
ETA_TOLERANCE_SECONDS = 2.0
#: The longest time limit, in seconds: a job's message can't stay hidden for longer.
#: Source: API_ChangeMessageVisibility, VisibilityTimeout.
MAX_TIME_LIMIT_SECONDS = 43_200
#: Longest quotation of foreign text in a reason.
QUOTE_CHARACTERS = 80

_TASK_ID = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class CeleryCall:
    """A Celery message of either protocol: its options, its arguments with their texts, what is embedded beside."""

    options: dict[str, Any]
    args: object
    kwargs: object
    embed: object
    texts: Mapping[str, str]  # of args and of kwargs

    def payload(self) -> Document:
        """The one argument of the call."""
        args, kwargs = self.args, self.kwargs
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise InvalidPayload("The Celery call's args are no list or its kwargs no object")
        if len(args) == 1 and not kwargs:
            payload, text = args[0], items(self.texts["args"])[0]
        elif not args and set(kwargs) == {"payload"}:
            payload, text = kwargs["payload"], members(self.texts["kwargs"])["payload"]
        else:
            raise InvalidPayload(f"{BUILD_TASK} takes one argument, payload: got {len(args)} and {len(kwargs)} named")
        if not isinstance(payload, dict):
            raise InvalidPayload(f"payload is no object: {type(payload).__name__}")
        return Document(payload, text)

    def time_limits(self) -> tuple[int | None, int | None]:
        """Its hard and its soft limit, in seconds."""
        return _time_limits(self.options.get("timelimit"))

    def check(self, *, now: float) -> None:
        """Raise where it is no call of ours, has expired, or asks for what this queue can't honour."""
        if self.options["task"] != BUILD_TASK:
            raise UnknownTask(f"This worker has no task {_quote(str(self.options['task']))}")
        _check_options(self.options, self.embed if isinstance(self.embed, dict) else {}, now=now)


def read_call(document: dict[str, Any]) -> CeleryCall:
    """The call in a Celery message. Raises ``UnreadableMessage`` or ``UnsupportedCall`` where there is none."""
    headers = document.get("headers") or {}
    if not isinstance(headers, dict):
        raise UnreadableMessage("The Celery message's headers are no object")
    if headers.get("compression"):
        raise UnsupportedCall("A compressed Celery message is not accepted")
    text, content = _content(document)
    if "task" in headers:  # protocol 2
        if not (isinstance(content, list) and len(content) == 3):
            raise UnreadableMessage("The Celery message's body is not [args, kwargs, embed]")
        args, kwargs, embed = content
        return CeleryCall(headers, args, kwargs, embed, dict(zip(("args", "kwargs"), items(text), strict=False)))
    if isinstance(content, dict) and "task" in content:  # protocol 1
        args, kwargs = content.get("args") or [], content.get("kwargs") or {}
        return CeleryCall(content, args, kwargs, content, members(text))
    raise UnreadableMessage("The Celery message names no task")


def read_id(document: dict[str, Any]) -> str | None:
    """The id that a Celery message brings along; None where it has none that is fit for one."""
    headers = document.get("headers")
    task_id = headers.get("id") if isinstance(headers, dict) else None
    if task_id is None:  # protocol 1 has it in the body
        try:
            task_id = read_call(document).options.get("id")
        except PermanentError:
            return None
    return task_id if isinstance(task_id, str) and _TASK_ID.fullmatch(task_id) else None


def _content(document: dict[str, Any]) -> tuple[str, Any]:
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
    try:
        content = read(f'{{"content": {text}}}', depth=MAX_DEPTH + CALL_DEPTH, any_number=True)
    except DocumentError as error:
        raise UnreadableMessage(f"The body {error}") from None
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


def _quote(text: str) -> str:
    return repr(text if len(text) <= QUOTE_CHARACTERS else text[:QUOTE_CHARACTERS] + "…")
