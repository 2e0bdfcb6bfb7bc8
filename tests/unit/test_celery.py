"""The Celery app: settings that fail are one line, and the configuration keeps the promises of the queue."""

import sys
from types import SimpleNamespace
from typing import Any

import click
import pytest
from celery.signals import celeryd_init, setup_logging, worker_ready

from archiver import logs
from archiver.celery import ArchiverApp
from archiver.errors import SettingsError
from archiver.worker import startup
from archiver.worker.drain import Drain

# Celery is pinned; what it will call task_acks_on_failure_or_timeout one day is no matter.
pytestmark = pytest.mark.filterwarnings(
    "ignore:\\s*The 'task_acks_on_failure_or_timeout' setting:PendingDeprecationWarning"
)

ENVIRONMENT = {"SQS_SOURCE_QUEUE": "https://sqs.eu-west-1.amazonaws.com/1/input", "S3_DESTINATION_BUCKET": "archives"}


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> ArchiverApp:
    """An app that has not read its configuration yet, in an environment that has all that is needed."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MONITORING", raising=False)
    monkeypatch.delitem(sys.modules, "celeryconfig", raising=False)
    app = ArchiverApp("under-test", set_as_current=False)
    app.config_from_object("celeryconfig")
    return app


def test_a_message_is_acked_late_and_only_after_success(app: ArchiverApp) -> None:
    assert app.conf.task_acks_late
    assert not app.conf.task_acks_on_failure_or_timeout
    assert app.conf.task_reject_on_worker_lost
    assert app.conf.worker_prefetch_multiplier == 1
    assert not app.conf.worker_cancel_long_running_tasks_on_connection_loss


def test_the_queue_is_known_by_its_name_and_found_by_what_the_setting_says(app: ArchiverApp) -> None:
    assert app.conf.task_default_queue == "input"
    assert app.conf.broker_transport_options["predefined_queues"] == {"input": {"url": ENVIRONMENT["SQS_SOURCE_QUEUE"]}}


@pytest.mark.parametrize("monitoring", ["0", "1"])
def test_without_monitoring_nothing_of_it_is_there(
    app: ArchiverApp, monkeypatch: pytest.MonkeyPatch, monitoring: str
) -> None:
    monkeypatch.setenv("MONITORING", monitoring)
    on = monitoring == "1"
    assert app.conf.worker_enable_remote_control is on
    assert app.conf.worker_send_task_events is on
    assert app.conf.broker_transport == f"archiver.{'monitoring.channel' if on else 'worker.transport'}:Transport"


def test_a_missing_setting_is_one_line_to_a_command(app: ArchiverApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3_DESTINATION_BUCKET")
    with click.Context(click.Command("celery")), pytest.raises(click.ClickException) as failure:
        app.conf.task_default_queue  # noqa: B018  # reading is what loads it
    assert failure.value.exit_code == 2
    assert "S3_DESTINATION_BUCKET" in failure.value.message


@pytest.mark.parametrize("command", ["control", "events", "flower", "inspect", "status", "worker"])
def test_what_needs_monitoring_says_that_it_is_off(
    app: ArchiverApp, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("MONITORING", "0")
    with click.Context(click.Group("celery")) as context:
        context.invoked_subcommand = command
        if command == "worker":
            assert app.conf.task_default_queue == "input"
            return
        with pytest.raises(click.ClickException, match="set MONITORING=1 here and for the workers") as failure:
            app.conf.task_default_queue  # noqa: B018  # reading is what loads it
    assert failure.value.exit_code == 2


def test_a_missing_setting_is_our_error_to_a_program(app: ArchiverApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3_DESTINATION_BUCKET")
    with pytest.raises(SettingsError, match="S3_DESTINATION_BUCKET"):
        app.conf.task_default_queue  # noqa: B018


def test_a_worker_has_the_drain_and_no_banner(app: ArchiverApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "check_configuration", lambda _: None)
    worker = SimpleNamespace(app=app, quiet=False)
    celeryd_init.send(sender="worker", instance=worker, conf=None)
    assert worker.quiet
    assert Drain in app.steps["worker"]


def test_a_worker_that_is_ready_says_so(app: ArchiverApp, monkeypatch: pytest.MonkeyPatch) -> None:
    announced: list[Any] = []
    monkeypatch.setattr(startup, "announce_worker", announced.append)
    worker_ready.send(sender=None)
    assert [settings.s3_destination_bucket for settings in announced] == ["archives"]


def test_logging_is_ours_and_not_celerys(app: ArchiverApp, monkeypatch: pytest.MonkeyPatch) -> None:
    configured: list[dict[str, bool]] = []
    monkeypatch.setattr(logs, "configure", lambda **options: configured.append(options))
    monkeypatch.setenv("APP_DEBUG", "1")
    answers = setup_logging.send(sender=None)
    assert answers  # a receiver: Celery leaves logging alone
    assert configured == [{"debug": True, "console": False}]
