"""Log lines for people: one an event, short, and nothing twice."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from archiver import logs
from tests.support.log_lines import restored_logging

ID = "f5d93e0b-7cea-4e9f-9c95-800f29491e0d"
KEY = f"{'e9ba6638' * 8}/download-2026-11-26.zip"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with restored_logging():
        yield


def job(attempt: int = 1) -> None:
    """The lines of a job, as the task and the pipeline write them."""
    log = structlog.get_logger("archiver.archive.pipeline")
    bound: dict[str, Any] = {"request_id": ID, "sqs_message_id": ID, "correlation_id": "order-7", "attempt": attempt}
    with structlog.contextvars.bound_contextvars(**bound):
        log.info("job started", task="archiver.build_archive", seconds_waited=0.234)
        with structlog.contextvars.bound_contextvars(archive_key=KEY):
            log.info("sources resolved", files=1, missing=0)
            log.info("progress", step="resolved", bytes_done=0)
            log.info("progress", step="uploading", bytes_done=5)
            log.info("progress", step="completed", bytes_done=10)
            log.info("the link is presigned: it ends with the role's session", seconds=604800)
            log.info("archive ready", archive=f"https://cdn/{KEY}", reused=False)
            log.info("consumer notified")
        log.info("job done", archive=f"https://cdn/{KEY}", files=1, size=10, seconds=0.286, bytes_copied=0)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]


def test_a_job_is_a_few_short_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=True)
    job()

    told = lines(capsys)
    assert [line.partition("] ")[2] for line in told] == [
        f"job started job=f5d93e0b request_id={ID} correlation_id=order-7 seconds_waited=0.234",
        "sources resolved job=f5d93e0b files=1",
        "progress job=f5d93e0b step=uploading bytes_done=5",
        "the link is presigned: it ends with the role's session job=f5d93e0b seconds=604800",
        "job done job=f5d93e0b archive=https://cdn/e9ba6638…/download-2026-11-26.zip files=1 size=10 seconds=0.286",
    ]
    assert all(len(line.split()[0]) == len("08:52:21") for line in told)


def test_what_is_no_news_is_told_once_and_a_later_attempt_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=True)
    job()
    capsys.readouterr()
    job(attempt=2)

    told = lines(capsys)
    assert not any("presigned" in line for line in told)
    assert all("attempt=2" in line for line in told)


def test_a_failure_is_told_once_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=True)
    log = structlog.get_logger("tasks.archive")
    log.warning("message dead-lettered", code="missing_sources", reason="1 missing source(s): a", dlq="https://sqs/dlq")
    log.warning("job failed", code="missing_sources", reason="1 missing source(s): a", kind="permanent")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("job failed", kind="unexpected")

    text = capsys.readouterr().err
    assert text.count("missing_sources") == 1
    assert "ValueError: broken" in text
    assert "dead-lettered" not in text


def test_a_librarys_line_keeps_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=True)
    logging.getLogger("celery.worker").info("ready")

    assert "celery.worker" in capsys.readouterr().err


def test_for_debugging_all_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=True, debug=True)
    job()

    told = lines(capsys)
    assert len(told) == 9
    assert all(f"request_id={ID}" in line and "sqs_message_id" in line for line in told)


def test_json_has_every_line_and_field(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    job()

    told = lines(capsys)
    assert len(told) == 9
    assert all(f'"request_id": "{ID}"' in line and '"attempt": 1' in line for line in told)
    assert sum(KEY in line for line in told) == 8
