"""What a job's request tells, and what it hands over; tests/integration has it in a real worker."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import WorkerLostError
from celery.worker.request import Request as CeleryRequest

from archiver.errors import Cancelled, MissingSources, PermanentError, StorageUnavailable
from archiver.settings import Settings
from archiver.worker import request as request_module
from archiver.worker.attempts import LastAttemptFailed
from archiver.worker.envelope import BUILD_TASK, CHUNK_TASK, REFUSE_TASK
from archiver.worker.request import Request
from tests.support.jobs import logged


class Channel:
    """Where messages are refused."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, PermanentError, str]] = []
        self.draining = False

    def is_last_attempt(self, delivery_tag: str) -> bool:
        return False

    def refuse(self, delivery_tag: str, error: PermanentError, *, task_id: str) -> None:
        self.refused.append((delivery_tag, error, task_id))


def request(channel: Channel, task: str = BUILD_TASK) -> Request:
    made = Request.__new__(Request)
    made.id, made._type = "call-1", task
    made._message = SimpleNamespace(channel=channel, delivery_tag="tag")
    return made


def test_jobs_are_told_of_without_their_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CeleryRequest, "info", lambda self, safe=False: {"safe": safe})

    assert (
        request(Channel()).info() == request(Channel()).info(safe=False) == {"safe": True}
    )  # as `inspect active` asks


def test_events_quote_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(CeleryRequest, "send_event", lambda self, type, **fields: sent.append({"type": type} | fields))

    request(Channel()).send_event("task-failed", exception="?X-Amz-Signature=5ecre7", runtime=1.5)

    assert sent == [{"type": "task-failed", "exception": "?X-Amz-Signature=REDACTED", "runtime": 1.5}]


@pytest.mark.parametrize(
    ("error", "event", "told"),
    [
        (MissingSources(["a"]), "task-failed", "missing_sources: 1 missing source(s): a"),
        (LastAttemptFailed("storage_unavailable", "away"), "task-failed", "storage_unavailable: away"),
        (StorageUnavailable("away"), "task-retried", "storage_unavailable: away"),
        (ZeroDivisionError("a bug"), "task-retried", "ZeroDivisionError: a bug"),
        (WorkerLostError("signal 9"), "task-retried", "WorkerLostError: signal 9"),
    ],
    ids=["permanent", "last", "transient", "unexpected", "lost"],
)
def test_only_what_failed_for_good_is_a_failure_to_monitors(
    monkeypatch: pytest.MonkeyPatch, error: Exception, event: str, told: str
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(CeleryRequest, "send_event", lambda self, type, **fields: sent.append({"type": type} | fields))

    def on_failure(job: Request, exc_info: Any) -> None:
        """Celery's own, as far as it sends: nothing for a process that is lost and whose message comes back."""
        if not isinstance(error, WorkerLostError):
            job.send_event("task-failed", exception=repr(error), traceback="…")

    monkeypatch.setattr(CeleryRequest, "on_failure", on_failure)
    monkeypatch.setattr(request_module, "load_settings", Settings.model_construct)
    monkeypatch.setattr(request_module, "process_lost", lambda _: None)

    request(Channel()).on_failure(SimpleNamespace(exception=error))

    ((kind, exception),) = [(item["type"], item["exception"]) for item in sent]
    assert (kind, exception) == (event, told)


def test_a_revoked_job_is_refused_once_and_its_refusal_is_not_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel()
    # Celery's own, as far as it settles the message
    monkeypatch.setattr(CeleryRequest, "_announce_revoked", lambda self, *_: self.acknowledge())
    monkeypatch.setattr(CeleryRequest, "revoked", lambda self: True)
    job = request(channel)

    for _ in range(2):
        job._announce_revoked("terminated", True, 9, False)

    ((tag, error, task_id),) = channel.refused
    assert (tag, task_id) == ("tag", "call-1")
    assert isinstance(error, Cancelled)
    assert job.revoked()
    assert not request(channel, REFUSE_TASK).revoked()


def test_a_chunk_that_is_revoked_or_dies_is_no_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    acked: list[str] = []
    channel = Channel()
    monkeypatch.setattr(channel, "basic_ack", acked.append, raising=False)
    monkeypatch.setattr(CeleryRequest, "_announce_revoked", lambda self, *_: None)
    failed: list[Any] = []
    monkeypatch.setattr(CeleryRequest, "on_failure", lambda self, info, **_: failed.append(info))

    # terminated by remote control
    request(channel, CHUNK_TASK)._announce_revoked("terminated", True, 9, False)
    assert (acked, channel.refused) == (["tag"], [])

    # its process lost: the message is rejected, and no metric of a job is written
    chunk = request(channel, CHUNK_TASK)
    chunk._parent_id = "job-1"
    info = SimpleNamespace(exception=WorkerLostError("signal 9"))
    with logged() as lines:
        chunk.on_failure(info)
    assert failed == [info]
    assert [(line["event"], line["request_id"]) for line in lines] == [("a chunk ended without a word", "job-1")]

    # handed back by the drain: nothing is left to do
    chunk._already_cancelled = True
    chunk.on_failure(info)
    assert failed == [info]
