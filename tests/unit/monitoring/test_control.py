"""``app.control``: who asks is told that monitoring is off, and waits long enough for replies where it is on."""

from typing import Any

import click
import pytest
from celery import Celery
from celery.app.control import Control as CeleryControl

from archiver.monitoring.control import PATIENCE_SECONDS, Control


def app(*, monitored: bool) -> Celery:
    made = Celery("monitored", control="archiver.monitoring.control:Control", set_as_current=False)
    made.conf.worker_enable_remote_control = monitored
    return made


@pytest.fixture
def broadcasts(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Celery's own control would send."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(
        CeleryControl, "broadcast", lambda self, command, **options: found.append({"command": command} | options)
    )
    return found


def test_celery_uses_it() -> None:
    assert isinstance(app(monitored=True).control, Control)


def test_without_monitoring_a_command_says_what_to_set(broadcasts: list[dict[str, Any]]) -> None:
    with pytest.raises(click.ClickException, match="monitoring is off: set MONITORING=1 here and for the workers"):
        app(monitored=False).control.broadcast("ping", reply=True)

    assert broadcasts == []


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"reply": True}, PATIENCE_SECONDS),
        ({"reply": True, "timeout": 0.5}, PATIENCE_SECONDS),
        ({"reply": True, "timeout": 10.0}, 10.0),
        ({"reply": False, "timeout": 0.5}, 0.5),
        ({"reply": True, "timeout": None}, None),
    ],
)
def test_replies_get_the_time_that_sns_and_sqs_take(
    broadcasts: list[dict[str, Any]], options: dict[str, Any], seconds: float | None
) -> None:
    app(monitored=True).control.broadcast("ping", **options)

    (sent,) = broadcasts
    assert (sent["command"], sent["timeout"]) == ("ping", seconds)
