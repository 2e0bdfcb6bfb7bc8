"""A log line as a person reads it (DEV_MODE): one for each event, with short ids, and nothing that was just said.

The lines of a job in JSON repeat each other on purpose, so that each can be counted alone; here the last of them that
tells a thing tells it. With APP_DEBUG every line and every field is shown.
"""

import logging
import re
from collections.abc import MutableMapping
from typing import Any

#: Characters of an id that tell it from the others on a screen.
SHORT = 8

#: What `job done` and `job failed` say as well.
_SAID_AGAIN = frozenset({"archive ready", "consumer notified", "message dead-lettered", "job cancelled"})
#: The steps of a progress that are in `sources resolved` and `job done`.
_ENDS = frozenset({"resolved", "completed"})
#: What is no news from the second time on.
_ONCE = "the link is presigned"
#: The line that introduces a job: it alone has its whole ids.
_FIRST = "job started"

_LONG_ID = re.compile(r"\b[0-9a-f]{64}\b")
_OURS = ("archiver.", "tasks.")
#: Fields of the job, which are in each of its lines.
_OF_THE_JOB = ("request_id", "sqs_message_id", "correlation_id", "trace_id", "span_id", "attempt", "archive_key")
_INTRODUCED = ("request_id", "correlation_id", "trace_id")


class News(logging.Filter):
    """Lets through what the lines before and behind do not say."""

    def __init__(self) -> None:
        super().__init__()
        self._said = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is shown."""
        line = record.msg if isinstance(record.msg, dict) else {}
        event = str(line.get("event", ""))
        if event.startswith(_ONCE):
            self._said, said = True, self._said
            return not said
        return event not in _SAID_AGAIN and not (event == "progress" and line.get("step") in _ENDS)


def shortened(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: the same line with the time alone, the job's short id, and without what says nothing."""
    first = line.get("event") == _FIRST
    shown: dict[str, Any] = {name: line.pop(name) for name in ("event", "level", "exception", "stack") if name in line}
    shown["timestamp"] = str(line.pop("timestamp", ""))[11:19]
    logger = str(line.pop("logger", ""))
    if logger and not logger.startswith(_OURS):
        shown["logger"] = logger
    job = {name: line.pop(name) for name in _OF_THE_JOB if name in line}
    if "request_id" in job:
        shown["job"] = str(job["request_id"])[:SHORT]
    if first:
        shown |= {name: value for name, value in job.items() if name in _INTRODUCED}
        line.pop("task", None)
    if job.get("attempt", 1) != 1:
        shown["attempt"] = job["attempt"]
    return shown | {name: _short(value) for name, value in line.items() if value not in (0, False, None, "", [], ())}


def _short(value: object) -> object:
    return _LONG_ID.sub(lambda match: f"{match[0][:SHORT]}…", value) if isinstance(value, str) else value
