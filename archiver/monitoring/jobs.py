"""A job's own events, beside Celery's: how far it is, and why an attempt failed.

Their types begin with ``archive-``, not with ``task-``: Celery takes an unknown task event for a new state.
"""

from collections.abc import Callable
from typing import Any

from archiver.logs import get_logger

log = get_logger(__name__)

PROGRESS = "archive-progress"
FAILED = "archive-failed"

#: ``send("archive-progress", bytes_done=…)``
SendEvent = Callable[..., None]


def send_nothing(kind: str, **fields: Any) -> None:
    """What sends events where there is no monitoring."""


def job_events(app: Any, request: Any) -> SendEvent:
    """What sends events of the job of this request, from any of its threads. It returns at once and never raises."""
    hostname, task_id = request.hostname, request.id

    def send(kind: str, **fields: Any) -> None:
        try:
            with app.events.default_dispatcher(hostname=hostname) as dispatcher:
                dispatcher.send(kind, uuid=task_id, **fields)
        except Exception as error:
            log.debug("an event could not be sent", error=repr(error))

    return send
