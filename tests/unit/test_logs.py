"""Every line of every library is one JSON object with what is bound in it."""

import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from archiver import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_our_lines_and_a_librarys_look_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("archiver.x").info("part done", number=3)
        logging.getLogger("celery.worker").info("Task %s received", "t", extra={"data": {"args": "secret payload"}})
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
