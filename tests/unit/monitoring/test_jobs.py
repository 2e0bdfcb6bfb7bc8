"""A job's own events, which no job may wait or fail for."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from archiver.monitoring.jobs import PROGRESS, job_events, send_nothing

REQUEST = SimpleNamespace(hostname="celery@worker", id="job")


class Events:
    """An app's events; without a dispatcher while ``down``."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.down = False

    @contextmanager
    def default_dispatcher(self, *, hostname: str) -> Iterator[Any]:
        if self.down:
            raise ConnectionError("down")
        yield SimpleNamespace(send=lambda kind, **fields: self.sent.append((hostname, kind, fields)))


def test_an_event_names_its_job_and_worker() -> None:
    events = Events()

    job_events(SimpleNamespace(events=events), REQUEST)(PROGRESS, bytes_done=5)

    assert events.sent == [("celery@worker", "archive-progress", {"uuid": "job", "bytes_done": 5})]


def test_an_event_that_can_not_be_sent_is_nothing_to_the_job() -> None:
    events = Events()
    tell = job_events(SimpleNamespace(events=events), REQUEST)
    events.down = True

    tell(PROGRESS, bytes_done=5)

    assert events.sent == []


def test_without_monitoring_nobody_is_told() -> None:
    send_nothing(PROGRESS, bytes_done=5)
