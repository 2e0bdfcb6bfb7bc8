"""An error in the worker's event loop, of the kind that Celery takes for a lost connection, soon after the start."""

from typing import Any

from celery.signals import worker_ready


def _lose(sender: Any, **_: Any) -> None:
    def fail() -> None:
        raise OSError("connection lost")

    if sender.restart_count == 0:
        sender.hub.call_later(2, fail)


worker_ready.connect(_lose, weak=False)
