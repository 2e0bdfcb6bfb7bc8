"""What Flower shows of this service beyond Celery's own: how far a job is, what it built, and the queues.

``flowerconfig`` brings it in. Flower's tables have the fields of Celery's events and no others, so that what the
service tells in events of its own (``archiver.monitoring.jobs``) goes into the column of the result.
"""

import asyncio
import logging
from collections import OrderedDict
from queue import Empty
from typing import Any

from archiver.aws.clients import BRIEF
from archiver.aws.queues import Queue, open_queue
from archiver.cli.output import files, size
from archiver.cli.watch import progress_line, result_of
from archiver.errors import QueueUnavailable
from archiver.logs import get_logger
from archiver.monitoring.events import decode
from archiver.monitoring.jobs import PROGRESS
from archiver.monitoring.monitor import Monitor, process_monitor
from archiver.monitoring.naming import EVENTS
from archiver.settings import load_settings

log = get_logger(__name__)

#: Running jobs whose progress is known; beyond it the one that was heard of least lately is forgotten.
MAX_JOBS = 10_000

_QUEUE = "progress"
#: Attributes of a queue: SQS API Reference, GetQueueAttributes.
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
_RUNNING = ("RECEIVED", "STARTED")
#: Events of Celery's after which a job's progress is no news.
_ENDS = frozenset({"task-succeeded", "task-failed", "task-retried", "task-revoked", "task-rejected"})


class Progress:
    """The last progress of each running job, by its id. Each step is atomic: it comes from the inbox's thread."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, str] = OrderedDict()

    def listen(self, monitor: Monitor) -> None:
        """Hear the events that arrive from now on; makes no request."""
        monitor.bind(_QUEUE, EVENTS, "#")
        monitor.on_arrival(_QUEUE, lambda: self._take_all(monitor))

    def of(self, job: str) -> str | None:
        """A line on the job, where one is known."""
        return self._lines.get(job)

    def hear(self, event: dict[str, Any]) -> None:
        """Take an event in."""
        if event["type"] == PROGRESS:
            self._lines[event["uuid"]] = progress_line(event)
            self._lines.move_to_end(event["uuid"])
            if len(self._lines) > MAX_JOBS:
                self._lines.popitem(last=False)
        elif event["type"] in _ENDS:
            self._lines.pop(event["uuid"], None)

    def _take_all(self, monitor: Monitor) -> None:
        try:
            while True:
                for event in decode(monitor.take(_QUEUE)):
                    self.hear(event)
        except Empty:
            pass
        except Exception as error:
            log.warning("an event could not be read", error=repr(error))


class Broker:
    """In place of Flower's own, which does not know SQS: the source queue, and its dead letters.

    Made for each look at the page, with arguments that are of no use here.
    """

    def __init__(self, *_: object, **__: object) -> None:
        self._settings = load_settings()

    async def queues(self, _: object) -> list[dict[str, Any]]:
        """What Flower's page shows of a queue, by its names. Raises what says why nothing can be shown."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> list[dict[str, Any]]:
        source = open_queue(
            self._settings.sqs_source_queue,
            timeouts=BRIEF,
            region=self._settings.aws_region,
            setting="SQS_SOURCE_QUEUE",
        )
        rows = [_row(source)]
        try:
            if (dead := source.dead_letter_queue()) is not None:
                rows.append(_row(dead))
        except QueueUnavailable as error:
            log.warning("the dead letters can't be counted", error=error.message)
        return rows


def _row(queue: Queue) -> dict[str, Any]:
    found = queue.attributes(_COUNTS)
    ready, hidden, delayed = (int(found.get(name, 0)) for name in _COUNTS)
    return {
        "name": queue.name,
        "messages": ready + hidden + delayed,
        "messages_unacknowledged": hidden,
        "messages_ready": ready,
    }


_progress = Progress()


def describe(task: Any) -> Any:
    """A task as Flower is to show it: its ``format_task``. ``task`` is a copy, and may be changed."""
    if task.state in _RUNNING and (line := _progress.of(task.uuid)):
        task.result = line
    elif task.state == "SUCCESS" and (found := result_of({"result": task.result})):
        task.result = f"{files(found['files'])}, {size(found['size'])}: {found['archive']}"
    return task


def prepare() -> None:
    """Once, in Flower's own process, before it begins."""
    from flower import views

    for name in ("boto3", "botocore"):  # else in Flower's log with a few lines on each client
        logging.getLogger(name).setLevel(logging.WARNING)
    views.Broker = Broker
    settings = load_settings()
    _progress.listen(
        process_monitor(
            prefix=settings.monitoring_prefix, source_queue=settings.sqs_source_queue, region=settings.aws_region
        )
    )
