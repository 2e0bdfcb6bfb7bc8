"""The Celery app: ``celery -A archiver worker``."""

import threading
import warnings
from typing import Any

import click
from celery import Celery
from celery.signals import celeryd_init, setup_logging, worker_process_shutdown, worker_ready

from archiver import logs
from archiver.errors import SettingsError
from archiver.loading import loading
from archiver.logs import get_logger
from archiver.settings import load_settings
from archiver.trace_export import flush

log = get_logger(__name__)

#: Commands of Celery and Flower's own that have nothing to talk to where monitoring is off.
MONITORING_COMMANDS = frozenset({"control", "events", "flower", "inspect", "status"})
#: No part of the package: every Celery app without a configuration of its own would load it where we are installed.
CONFIGURATION = "celeryconfig"


# Celery's own command `events` has -d twice, of which click warns whoever runs it.
warnings.filterwarnings("ignore", "The parameter -d is used more than once", UserWarning)


class ArchiverApp(Celery):  # type: ignore[misc]  # celery has no types
    """Celery, with a configuration whose faults are one line for whoever runs a command."""

    def _load_config(self) -> Any:
        try:
            conf = super()._load_config()
        except SettingsError as error:
            if click.get_current_context(silent=True) is None:
                raise
            raise _Unusable(str(error)) from None
        except ModuleNotFoundError as error:
            if error.name != CONFIGURATION:
                raise
            reason = "celeryconfig and tasks are not on the path: run it in the checkout or in the image"
            if click.get_current_context(silent=True) is None:
                raise ModuleNotFoundError(reason, name=error.name) from None
            raise _Unusable(reason) from None
        context = click.get_current_context(silent=True)
        if (
            context is not None
            and context.find_root().invoked_subcommand in MONITORING_COMMANDS
            and not conf.worker_enable_remote_control
        ):
            from archiver.monitoring.control import MONITORING_OFF

            raise _Unusable(MONITORING_OFF)
        return conf


class _Unusable(click.ClickException):
    """Ends a ``celery`` command with one line and click's exit code for a wrong use."""

    exit_code = 2


app = ArchiverApp("archiver", include=["tasks.archive", "tasks.crew"], control="archiver.monitoring.control:Control")
app.config_from_object(CONFIGURATION)


def _set_up_logging(**_: Any) -> None:
    """Celery leaves logging to whom this signal has a receiver; the pool's children come here, too."""
    settings = load_settings()
    logs.configure(debug=settings.app_debug, console=settings.dev_mode)
    threading.excepthook = _thread_failed


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Python's own hook would print lines that are no JSON."""
    if failure.exc_value is not None and not isinstance(failure.exc_value, SystemExit):
        name = failure.thread.name if failure.thread else None
        log.error("a thread failed", thread=name, exc_info=failure.exc_value)


def _prepare_worker(instance: Any, **_: Any) -> None:
    """No banner between the JSON lines, and the steps that only a worker has."""
    with loading():
        from archiver.worker.drain import Drain
        from archiver.worker.protect import Protect
        from archiver.worker.startup import Unfit, check_configuration, check_machine, preload

        try:
            check_machine()
            check_configuration(load_settings())
        except Unfit as unfit:
            # A signal's receiver can end a program by no other exception.
            click.echo(f"Error: {unfit}", err=True)
            raise SystemExit(_Unusable.exit_code) from None
        preload(load_settings())
    _set_up_logging()  # Celery warns of root's privileges before it does so itself
    instance.quiet = True
    instance.app.steps["worker"].update((Drain, Protect))
    instance.app.Task.Request = "archiver.worker.request:Request"
    if load_settings().monitoring:
        from archiver.monitoring.worker import prepare_worker

        prepare_worker()


def _announce(**_: Any) -> None:
    from archiver.worker.startup import announce_worker

    announce_worker(load_settings())


def _send_last_spans(**_: Any) -> None:
    """A process of the pool ends, and its threads with it."""
    flush()


setup_logging.connect(_set_up_logging)
celeryd_init.connect(_prepare_worker)
worker_ready.connect(_announce)
worker_process_shutdown.connect(_send_last_spans)
