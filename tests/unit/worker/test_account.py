"""What an attempt took, in the log and as metrics that CloudWatch takes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from archiver import logs
from archiver.archive.traffic import count_request
from archiver.worker.account import Account, process_lost
from tests.support.log_lines import check_metrics, read_lines, restored_logging
from tests.support.spans import Spans, told
from tests.unit.test_wiring import settings


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with restored_logging():
        yield


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def account(**more: Any) -> tuple[Account, Clock]:
    logs.configure()
    clock = Clock()
    options: dict[str, Any] = {"sent_at": 990.0, "first": True, "namespace": "Archiver/x", "clock": clock} | more
    return Account(**options), clock


def test_a_success_has_all_figures(capsys: pytest.CaptureFixture[str]) -> None:
    done, clock = account()
    clock.now = 1_012.5
    done.traffic.read(1)
    done.traffic.copied(2)
    done.traffic.uploaded(3)
    done.archive = {"files": 4}
    with done.traffic.counting():
        count_request()
        with ThreadPoolExecutor() as threads:
            threads.submit(copy_context().run, count_request).result()
    count_request()
    done.succeeded()

    (line,) = read_lines(capsys.readouterr().err)
    check_metrics(line)
    assert line["_aws"]["Timestamp"] == 1_012_500
    assert [directive["Dimensions"] for directive in line["_aws"]["CloudWatchMetrics"]] == [[["Outcome"]]]
    names = {metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert {name: line[name] for name in names} == {
        "Attempts": 1,
        "SecondsQueued": 10,
        "SecondsWorked": 12.5,
        "BytesRead": 1,
        "BytesCopied": 2,
        "BytesUploaded": 3,
        "Files": 4,
        "Parts": 2,
        "Requests": 2,
    }
    assert line["Outcome"] == "succeeded"


@pytest.mark.parametrize(
    ("code", "permanent", "given_up", "outcome"),
    [
        ("invalid_payload", True, False, "failed"),
        ("storage_unavailable", False, True, "failed"),
        ("storage_unavailable", False, False, "retried"),
        ("cancelled", True, False, "cancelled"),
    ],
)
def test_a_failure_has_its_code(
    code: str, permanent: bool, given_up: bool, outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failed, _ = account()
    failed.given_up = given_up
    failed.failed(code, permanent=permanent)

    (line,) = read_lines(capsys.readouterr().err)
    check_metrics(line)
    assert (line["Outcome"], line["Code"]) == (outcome, code)
    by_code = line["_aws"]["CloudWatchMetrics"][1]
    assert (by_code["Dimensions"], by_code["Metrics"]) == ([["Code"]], [{"Name": "Attempts", "Unit": "Count"}])


def test_a_redelivery_has_waited_for_no_worker(capsys: pytest.CaptureFixture[str]) -> None:
    again, _ = account(first=False)
    again.succeeded()
    (line,) = read_lines(capsys.readouterr().err)
    assert "SecondsQueued" not in line


def test_clocks_that_differ_make_nothing_negative() -> None:
    early, clock = account(sent_at=2_000.0)
    clock.now = 999.0
    assert (early.seconds_waited, early.took()["seconds"]) == (0, 0)


def test_metrics_are_off_where_nobody_asks_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    process_lost(settings())
    assert capsys.readouterr().err == ""
    process_lost(settings(metrics="emf", metrics_namespace="Archiver/y"))
    (line,) = read_lines(capsys.readouterr().err)
    check_metrics(line)
    assert (line["Outcome"], line["Code"]) == ("retried", "process_lost")


def test_the_span_of_the_attempt_is_told_with_metrics_and_without() -> None:
    spans = Spans()
    with spans.tracer.span("good") as good, spans.tracer.span("bad") as bad:
        done, _ = account(namespace=None, span=good)
        done.archive = {"files": 4}
        done.traffic.copied(2)
        done.succeeded()
        failed, _ = account(span=bad)
        failed.failed("storage_unavailable", permanent=False, reason="S3 is away")

    assert told(spans.named("good")) == {
        "archiver.seconds_waited": 10.0,
        "archiver.outcome": "succeeded",
        "archiver.bytes_read": 0,
        "archiver.bytes_copied": 2,
        "archiver.bytes_uploaded": 0,
        "archiver.files": 4,
        "archiver.parts": 1,
    }
    assert told(spans.named("bad"))["archiver.outcome"] == "retried"
    assert told(spans.named("bad"))["error.type"] == "storage_unavailable"
    assert spans.named("bad").status.description == "S3 is away"
