"""The helper's task: whatever becomes of a chunk, the message is acknowledged."""

from types import SimpleNamespace
from typing import Any

import pytest

from archiver import wiring
from archiver.archive.crew_plan import Invitation
from archiver.archive.helper import Help, Needless
from archiver.errors import LimitExceeded, StorageUnavailable
from archiver.settings import load_settings
from archiver.worker.envelope import LETTER_HEADER
from tasks import crew
from tests.support.jobs import logged
from tests.unit.worker.test_invitations import INVITATION, letter

# Celery is pinned; what it will call task_acks_on_failure_or_timeout one day is no matter.
pytestmark = pytest.mark.filterwarnings(
    "ignore:\\s*The 'task_acks_on_failure_or_timeout' setting:PendingDeprecationWarning"
)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SQS_SOURCE_QUEUE": "input-queue",
        "S3_DESTINATION_BUCKET": "zip-storage",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    load_settings()
    monkeypatch.setattr(wiring, "services", lambda: None)
    client = SimpleNamespace(change_message_visibility=lambda **_: None)
    monkeypatch.setattr(crew, "process_sqs_client", lambda *_, **__: client)


def run(monkeypatch: pytest.MonkeyPatch, outcome: Help | Exception, *, receives: int = 1) -> tuple[Any, list[Any]]:
    asked: list[Any] = []

    def help_build(invitation: Invitation, *, services: object, redelivered: bool) -> Help:
        asked.append((invitation, redelivered))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(crew, "help_build", help_build)
    body = INVITATION.model_dump_json()
    header = letter(body, receives=receives).as_dict()
    crew.build.push_request(**{LETTER_HEADER: header})
    try:
        return crew.build.run(body), asked
    finally:
        crew.build.pop_request()


def test_it_returns_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    with logged() as lines:
        figures, asked = run(monkeypatch, Help(2, 9, 70_000_000, 1.23456))

    assert figures == {"chunks": 2, "parts": 9, "bytes": 70_000_000, "seconds": 1.235}
    assert asked == [(INVITATION, False)]
    assert {(line["request_id"], line["correlation_id"], line["turn"]) for line in lines} == {("job-1", "c-1", 2)}


@pytest.mark.parametrize(
    ("error", "skipped", "level"),
    [
        (Needless("the job is over"), "the job is over", "info"),
        (StorageUnavailable("S3 is away"), "storage_unavailable", "warning"),
        (LimitExceeded("not there"), "limit_exceeded", "warning"),
        (MemoryError(), "MemoryError", "error"),
        (ZeroDivisionError("a bug"), "ZeroDivisionError", "error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_it_never_fails(error: Exception, skipped: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with logged() as lines:
        figures, asked = run(monkeypatch, error, receives=2)

    assert figures == {"skipped": skipped}
    assert asked == [(INVITATION, True)]
    assert [line["log_level"] for line in lines if line["event"] == "nothing built"] == [level]
