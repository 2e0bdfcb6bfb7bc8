"""What `archiver watch` makes of events; tests/integration/test_flower.py has a real worker's."""

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from archiver.cli.ending import Ending
from archiver.cli.watch import JsonLines, Lines, _follow
from tests.support.command import BUCKETS, CREDENTIALS, NOWHERE, QUEUES, run_process

watch = import_module("archiver.cli.watch")  # the package has the command under this name
MONITORED = CREDENTIALS | QUEUES | BUCKETS | {"AWS_ENDPOINT_URL": NOWHERE, "MONITORING": "1"}
MIB = 1024 * 1024


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "uuid": "ours", **fields}


def progress(step: str, done: int) -> dict[str, Any]:
    return event(
        "archive-progress",
        step=step,
        entries=2,
        bytes_done=done * MIB,
        bytes_total=8 * MIB,
        parts_done=done // 4,
        parts_total=2,
        rate=2 * MIB,
    )


SUMMARY = {"archive": "https://cdn.example.com/key.zip", "files": 2, "size": 8 * MIB}
DONE = event("task-succeeded", runtime=4.0, result=str(SUMMARY))


def test_a_job_is_told_from_its_start_to_its_archive(capsys: pytest.CaptureFixture[str]) -> None:
    others = {"type": "task-succeeded", "uuid": "somebody's"}
    events = [event("task-started"), others, progress("resolved", 0), progress("uploading", 4), None, DONE]

    assert _follow(iter(events), "ours", Lines(), timeout=60)

    assert capsys.readouterr().out.splitlines() == [
        "started",
        "2 entries, 8.0 MiB",
        "uploading: 50%, 4.0 MiB of 8.0 MiB, part 1 of 2, 2.0 MiB/s",
        "done in 4.0 s: https://cdn.example.com/key.zip: 2 files, 8.0 MiB",
    ]


def test_it_is_told_how_many_work_on_a_job(capsys: pytest.CaptureFixture[str]) -> None:
    def chunk(number: int, kind: str, *, host: str = "b", of: str = "ours") -> dict[str, Any]:
        named = {"name": "archiver.build_chunk", "root_id": of} if kind == "task-received" else {}
        return {"type": kind, "uuid": f"chunk-{number}", "hostname": host, **named}

    events = [
        event("task-started"),
        chunk(1, "task-received"),
        chunk(1, "task-started"),
        # another's
        chunk(2, "task-received", of="theirs"),
        chunk(2, "task-started"),
        # a second helper, and the first with its next chunk
        chunk(3, "task-received"),
        chunk(3, "task-started", host="c"),
        chunk(1, "task-succeeded"),
        chunk(4, "task-received"),
        chunk(4, "task-started"),
        # and alone with one of them again
        chunk(4, "task-failed"),
        chunk(3, "task-succeeded"),
        chunk(5, "task-received"),
        chunk(5, "task-started"),
        DONE,
    ]

    assert _follow(iter(events), "ours", Lines(), timeout=60)

    assert capsys.readouterr().out.splitlines()[:-1] == [
        "started",
        "2 workers are at work on it",
        "3 workers are at work on it",
        "2 workers are at work on it",
    ]


def test_a_failed_attempt_is_not_the_end_and_a_permanent_failure_is(capsys: pytest.CaptureFixture[str]) -> None:
    failed = event("archive-failed", permanent=False, attempt=1, code="storage_unavailable", reason="S3 is down")
    given_up = event(
        "archive-failed", permanent=True, attempt=2, code="missing_sources", reason="1 missing source(s): a"
    )

    assert not _follow(iter([failed, given_up, DONE]), "ours", Lines(), timeout=60)

    assert capsys.readouterr().out.splitlines() == [
        "attempt 1 failed, another one follows: S3 is down (storage_unavailable)",
        "failed: 1 missing source(s): a (missing_sources)",
    ]


def test_without_any_news_it_gives_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert not _follow(silence(), "ours", JsonLines(), timeout=0)

    assert '"type": "timeout"' in capsys.readouterr().out


def test_without_a_server_it_says_so() -> None:
    in_a_line = run_process("watch", "some-id", environment=MONITORED)
    as_an_object = run_process("watch", "some-id", "--json", environment=MONITORED)

    assert (in_a_line.exit_code, as_an_object.exit_code) == (1, 1)
    assert "127.0.0.1:1" in in_a_line.complaint
    assert as_an_object.error["code"] == "aws_unreachable"
    assert "127.0.0.1:1" in as_an_object.error["message"]


def test_without_monitoring_it_names_the_setting() -> None:
    outcome = run_process("watch", "some-id", environment=MONITORED | {"MONITORING": "0"})

    assert outcome.exit_code == 2
    assert "neither MONITORING=1 nor STATUS_PREFIX is set" in outcome.complaint


ENDED = Ending(
    "failed", {"status": "failed", "error": {"code": "missing_sources", "message": "1 missing source(s): a"}}
)


def silence() -> Iterator[None]:
    while True:
        yield None


def test_of_a_request_that_has_ended_it_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert not _follow(silence(), "ours", Lines(), timeout=60, over=lambda _: ENDED)
    assert not _follow(silence(), "ours", JsonLines(), timeout=60, over=lambda _: ENDED)
    done = Ending("succeeded", {"archive": {"url": "https://cdn.example.com/key.zip"}})
    assert _follow(silence(), "ours", Lines(), timeout=60, over=lambda _: done)

    line, as_json, succeeded = capsys.readouterr().out.splitlines()
    assert line == "failed: 1 missing source(s): a (missing_sources)"
    assert json.loads(as_json) == {
        "type": "ended",
        "uuid": "ours",
        "state": "failed",
        "notification": ENDED.notification,
    }
    assert succeeded == "succeeded: https://cdn.example.com/key.zip"


def test_an_end_that_no_event_told_is_looked_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SILENCE_SECONDS", 0.0)
    answers = iter([None, None, ENDED])

    assert not _follow(silence(), "ours", Lines(), timeout=60, over=lambda _: next(answers), new=True)

    assert "1 missing source(s): a" in capsys.readouterr().out
