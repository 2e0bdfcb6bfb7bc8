"""Logging: structlog for our lines, and the same formatter for those of Celery, kombu and botocore.

JSON, one object a line, on standard error; a console format for people. What ``bind_contextvars`` has bound (the
request, its message, its archive) is in every line, also in those of libraries.
"""

import logging
import sys
from typing import Any

import structlog

#: Libraries that say little of use below a warning, whatever our level.
_QUIET = ("boto3", "botocore", "s3transfer", "urllib3", "kombu", "amqp", "asyncio")


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
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            _lead,
            structlog.processors.JSONRenderer(default=str),
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.INFO if debug else logging.WARNING)
    logging.captureWarnings(True)


def _lead(_: Any, __: str, line: dict[str, Any]) -> dict[str, Any]:
    """What a reader looks for first comes first."""
    return {key: line.pop(key) for key in ("timestamp", "level", "message") if key in line} | line
