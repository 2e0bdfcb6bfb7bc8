"""Celery's events, for those who listen without Celery."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

from archiver.monitoring.monitor import Monitor, process_monitor
from archiver.monitoring.naming import EVENTS
from archiver.settings import Settings

Event = dict[str, Any]

_QUEUE = "listening"


@contextmanager
def listening(settings: Settings, *, tick_seconds: float = 1.0) -> Iterator[Iterator[Event | None]]:
    """All events from now on, and None whenever there was none for ``tick_seconds``.

    Raises ``ClientError`` and ``BotoCoreError`` where it can't listen.
    """
    monitor = process_monitor(
        prefix=settings.monitoring_prefix, source_queue=settings.sqs_source_queue, region=settings.aws_region
    )
    monitor.bind(_QUEUE, EVENTS, "#")
    monitor.open()
    try:
        yield _events(monitor, tick_seconds)
    finally:
        monitor.forget(_QUEUE)


def _events(monitor: Monitor, tick_seconds: float) -> Iterator[Event | None]:
    while True:
        try:
            yield from decode(monitor.take(_QUEUE, seconds=tick_seconds))
        except Empty:
            yield None


def decode(message: dict[str, Any]) -> list[Event]:
    """The events in a kombu message: one, or several that a worker has sent together."""
    body = message["body"]
    if message["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body)
    found = json.loads(body)
    return found if isinstance(found, list) else [found]
