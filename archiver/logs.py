"""Logging: structlog for our lines, and the same formatter for those of Celery, kombu and botocore.

JSON, one object a line, on standard error; for people the shorter lines of ``archiver.console``. What
``bind_contextvars`` has bound (the request, its message, its archive) is in every line, also in those of libraries.
Whatever is in a line passes ``archiver.text.presentable``: no secret of a URL, no control character, and nothing
without end.
"""

import logging
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, cast

from archiver.console import News, shortened
from archiver.text import presentable


@contextmanager
def _not_loading(package: str) -> Iterator[None]:
    """Let an import do without an optional package, unless that is there already."""
    modules = cast("dict[str, Any]", sys.modules)
    hidden = package not in modules
    if hidden:
        modules[package] = None
    try:
        yield
    finally:
        if hidden:
            del modules[package]


# For tracebacks that we print plainly structlog would load all of rich, which takes longer than all else of it. So
# everybody has structlog from here.
with _not_loading("rich"):
    import structlog
    from structlog.contextvars import bound_contextvars

__all__ = ["bound_contextvars", "configure", "get_logger"]

get_logger = structlog.get_logger

#: Libraries that say little of use below a warning, whatever our level.
_QUIET = ("boto3", "botocore", "s3transfer", "urllib3", "kombu", "amqp", "asyncio")
#: Libraries of which each failed attempt is a warning, and only their giving up is of use.
_TIRELESS = ("opentelemetry",)
#: Loggers whose debug lines hold whole messages: the pool's, with the arguments of each job.
_NO_DEBUG = ("celery.pool", "celery.concurrency", "multiprocessing")
#: billiard's logger hands nothing to the root's handler, and without one of its own Python prints its bare text.
_APART = ("multiprocessing",)

#: Celery's own lines on the begin and the end of each task, which ours tell with more; they have the task as ``data``.
_REPEATING = ("celery.app.trace", "celery.worker.strategy")
#: What CloudWatch reads of a line: ours, and nested deeper than a line's other values.
_EMBEDDED = "_aws"

#: Longest text in a line, longest text in a list or object, and longest traceback, in characters.
TEXT_CHARACTERS = 2_000
ELEMENT_CHARACTERS = 200
TRACEBACK_CHARACTERS = 20_000
#: Most elements of a list or object in a line, and how deep they may be nested.
MAX_ELEMENTS = 20
MAX_DEPTH = 4
#: After so many characters of a line's values nothing more of a list or object is told but the number.
LINE_CHARACTERS = 8_000
#: What a number counts for.
SHORT_VALUE = 8


def configure(*, debug: bool = False, console: bool = False) -> None:
    """Send every logger of the process through one handler. Calling it again replaces the handler."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    rendering: list[Any] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,  # rich's would show the variables of each frame
                sort_keys=debug,
            )
        ]
        if console
        else [
            structlog.processors.EventRenamer("message"),
            _lead,
            structlog.processors.JSONRenderer(default=str),
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _present,
                *([shortened] if console and not debug else []),
                *rendering,
            ],
        )
    )
    if console and not debug:
        handler.addFilter(News())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.INFO if debug else logging.WARNING)
    for name in _TIRELESS:
        logging.getLogger(name).setLevel(logging.INFO if debug else logging.ERROR)
    for name in _NO_DEBUG:
        logging.getLogger(name).setLevel(logging.INFO)
    for name in _APART:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
    for name in _REPEATING:
        logging.getLogger(name).addFilter(_says_more)
    logging.captureWarnings(True)


def _says_more(record: logging.LogRecord) -> bool:
    return not hasattr(record, "data")


def _present(_: Any, __: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
    room = _Room()
    return {
        key: presentable(value, limit=TRACEBACK_CHARACTERS, lines=True)
        if key in ("exception", "stack") and isinstance(value, str)
        else value
        if key == _EMBEDDED
        else _presentable(value, room)
        for key, value in line.items()
    }


class _Room:
    """What is left of a line."""

    def __init__(self) -> None:
        self.left = LINE_CHARACTERS

    def text(self, value: str, depth: int) -> str:
        shown = presentable(value, limit=ELEMENT_CHARACTERS if depth else TEXT_CHARACTERS)
        self.left -= len(shown)
        return shown


def _presentable(value: object, room: _Room, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | int | float):
        room.left -= SHORT_VALUE
        return value
    if isinstance(value, str):
        return room.text(value, depth)
    if depth == MAX_DEPTH or not isinstance(value, Mapping | list | tuple | set | frozenset):
        return room.text(str(value), depth)
    shown: dict[str, Any] = {}
    elements: list[Any] = []
    for told, item in enumerate(value.items() if isinstance(value, Mapping) else value):
        if told == MAX_ELEMENTS or room.left <= 0:
            more = f"and {len(value) - told} more"
            return shown | {"…": more} if isinstance(value, Mapping) else [*elements, f"… {more}"]
        if isinstance(value, Mapping):
            shown[room.text(str(item[0]), depth)] = _presentable(item[1], room, depth + 1)
        else:
            elements.append(_presentable(item, room, depth + 1))
    return shown if isinstance(value, Mapping) else elements


def _lead(_: Any, __: str, line: dict[str, Any]) -> dict[str, Any]:
    """What a reader looks for first comes first."""
    return {key: line.pop(key) for key in ("timestamp", "level", "message") if key in line} | line
