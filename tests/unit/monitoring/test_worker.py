"""What a monitored worker does differently: few heartbeats, a shutdown that drains."""

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.signals import worker_init
from celery.worker.control import Panel

from archiver.monitoring.worker import HEARTBEAT_SECONDS, prepare_worker


class Worker:
    """A worker that is being set up."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Celery:
    """An app that was prepared; Celery's commands and signals are as before afterwards."""
    monkeypatch.setattr(Panel, "data", dict(Panel.data))
    monkeypatch.setattr(Panel, "meta", dict(Panel.meta))
    monkeypatch.setattr(worker_init, "receivers", list(worker_init.receivers or ()))
    app = Celery("monitored", set_as_current=False)
    prepare_worker()
    return app


@pytest.mark.parametrize(("asked", "given"), [(None, HEARTBEAT_SECONDS), (5, 5)])
def test_heartbeats_are_rare_unless_somebody_wants_them(app: Celery, asked: float | None, given: float) -> None:
    worker = Worker({"heartbeat_interval": asked})

    worker_init.send(sender=worker)

    assert worker.options["heartbeat_interval"] == given


def test_a_heartbeat_that_is_asked_for_promises_the_next_one_when_it_comes(app: Celery) -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    dispatcher = SimpleNamespace(send=lambda kind, **fields: sent.append((kind, fields)))
    consumer = SimpleNamespace(event_dispatcher=dispatcher, heart=SimpleNamespace(interval=30.0))

    Panel.data["heartbeat"](SimpleNamespace(consumer=consumer))

    ((kind, fields),) = sent
    assert kind == "worker-heartbeat"
    assert fields["freq"] == 30.0
    assert "sw_ver" in fields


def test_a_shutdown_by_remote_control_is_a_sigterm(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, signal.Signals]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))

    Panel.data["shutdown"](SimpleNamespace(), msg="")

    assert killed == [(os.getpid(), signal.SIGTERM)]
