"""What a worker does differently where it is monitored."""

import os
import signal
from typing import Any

from celery.signals import worker_init
from celery.worker.control import control_command
from celery.worker.state import SOFTWARE_INFO

from archiver.logs import get_logger

log = get_logger(__name__)

#: Between two heartbeats of a worker, in seconds, unless --heartbeat-interval says otherwise. Celery's default of two
#: costs money on SNS. Whoever listens takes a worker for lost after twice this time (celery.events.state).
HEARTBEAT_SECONDS = 30.0


def prepare_worker() -> None:
    """Before the worker is set up."""
    worker_init.connect(_slow_heartbeats, weak=False)
    control_command(name="shutdown")(_shutdown)
    control_command(name="heartbeat")(_heartbeat)


def _slow_heartbeats(sender: Any, **_: Any) -> None:
    if sender.options.get("heartbeat_interval") is None:
        sender.options["heartbeat_interval"] = HEARTBEAT_SECONDS


def _heartbeat(state: Any) -> None:
    """Say that the worker is there, as whoever begins to listen asks for.

    Celery's own answer promises the next one in five seconds; then the worker would look lost until it comes.
    """
    state.consumer.event_dispatcher.send("worker-heartbeat", freq=state.consumer.heart.interval, **SOFTWARE_INFO)


def _shutdown(state: Any, msg: str = "", **_: Any) -> None:  # noqa: ARG001 Celery's arguments
    """Shut the worker down as SIGTERM does: it finishes what fits and hands the rest back."""
    log.warning("shutdown by remote control")
    os.kill(os.getpid(), signal.SIGTERM)
