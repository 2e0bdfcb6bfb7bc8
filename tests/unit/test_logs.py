"""Every line of every library is one JSON object with what is bound in it."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from billiard import util as billiard_util

from archiver import logs
from tests.support.log_lines import restored_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with restored_logging():
        yield


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_our_lines_and_a_librarys_look_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("archiver.x").info("part done", number=3)
        logging.getLogger("celery.worker").info("Task %s received", "t", extra={"data": {"args": "secret payload"}})
        # what Celery says of each task's begin and end, ours say with more
        logging.getLogger("celery.app.trace").info("Task %s succeeded", "t", extra={"data": {}})
    ours, celerys = lines(capsys)
    assert list(ours)[:3] == ["timestamp", "level", "message"]
    assert (ours["message"], ours["number"], ours["request_id"], ours["level"]) == ("part done", 3, "r-1", "info")
    assert (celerys["message"], celerys["request_id"]) == ("Task t received", "r-1")
    assert "secret" not in json.dumps(celerys)


def test_an_exception_is_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(capsys)
    assert "ValueError: broken" in line["exception"]


def test_debug_is_for_app_debug(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger("a").debug("hidden")
    logs.configure(debug=True)
    structlog.get_logger("a").debug("shown")
    assert [line["message"] for line in lines(capsys)] == ["shown"]


def test_sdk_chatter_is_a_warning_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("botocore.credentials").info("Found credentials")
    logging.getLogger("urllib3.connectionpool").warning("Retrying")
    assert [line["message"] for line in lines(capsys)] == ["Retrying"]


def test_nothing_in_a_line_is_harmful_or_without_end(capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://b.s3.amazonaws.com/k?X-Amz-Signature=5ecre7"
    logs.configure()
    with structlog.contextvars.bound_contextvars(correlation_id=url):
        structlog.get_logger("a").info(
            "all kinds", text=f"{url} \x1b[2J", names=[url] * 1000, nested={"a": {"b": (url,)}}, error=ValueError(url)
        )
        logging.getLogger("urllib3").warning("Retrying %s", url.replace("=", "%3D"))
        try:
            raise ValueError(url + "x" * 1_000_000)
        except ValueError:
            logging.getLogger("celery").exception("failed")
    text = capsys.readouterr().err
    assert "5ecre7" not in text
    first, second, third = (json.loads(line) for line in text.splitlines())
    assert first["text"].endswith("X-Amz-Signature=REDACTED \ufffd[2J")
    assert first["names"][-1] == "… and 980 more"
    assert second["message"].startswith("Retrying https://b.s3")
    assert "ValueError" in third["exception"]
    assert all(len(line) < 100_000 for line in text.splitlines())


def test_a_traceback_for_people_shows_no_variables(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=True)
    variable = "".join(["5ec", "re7"])  # in the frame, and in no line of the source
    try:
        raise ValueError(len(variable))
    except ValueError:
        structlog.get_logger().exception("failed")
    text = capsys.readouterr().err
    assert "ValueError: 6" in text
    assert "5ecre7" not in text


def test_the_pools_lines_look_like_all_others_and_hold_no_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(debug=True)
    billiard_util._logger = None  # as Celery does before it sets logging up
    logs.configure(debug=True)
    billiard_util.get_logger().error("Process %r exited with %r", "ForkPoolWorker-1", "signal 9 (SIGKILL)")
    billiard_util.get_logger().debug("job %r", "secret")
    logging.getLogger("celery.pool").debug("TaskPool: Apply %s (args:%r)", "trace", ("secret",))
    (line,) = lines(capsys)
    assert line["message"] == "Process 'ForkPoolWorker-1' exited with 'signal 9 (SIGKILL)'"
    assert line["level"] == "error"


def test_console_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=True)
    structlog.get_logger("a").info("hello", number=3)
    text = capsys.readouterr().err
    assert "hello" in text
    assert "number=3" in text
    assert not text.startswith("{")


def test_configuring_again_doubles_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.configure()
    structlog.get_logger("a").info("once")
    assert len(lines(capsys)) == 1


@pytest.mark.parametrize(
    "value",
    [
        ["k" * 1000] * 5000,
        {f"{number}{'k' * 1000}": ["v" * 1000] * 100 for number in range(5000)},
        [[[["k" * 1000] * 100] * 100] * 100] * 100,
        list(range(10**6)),
        {f"k{number}" for number in range(5000)},
    ],
    ids=["names", "mapping", "nested", "numbers", "set"],
)
def test_a_list_in_a_line_is_counted_and_cut(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger("a").warning("many", value=value)

    (line,) = lines(capsys)
    assert "more" in json.dumps(line["value"])
    assert len(json.dumps(line)) < 20_000
