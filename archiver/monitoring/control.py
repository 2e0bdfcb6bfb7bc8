"""Celery's remote control on this transport: replies come to the inbox of who asks, and may take a second."""

from typing import Any

import click
from celery.app.control import Control as CeleryControl
from kombu.pidbox import Mailbox as KombuMailbox

#: The least time that replies get, in seconds: Celery's own default is one, SNS and SQS may need it all.
PATIENCE_SECONDS = 3.0
MONITORING_OFF = "monitoring is off: set MONITORING=1 here and for the workers"


class Mailbox(KombuMailbox):
    """A mailbox whose address for replies tells the inbox of this process."""

    @property
    def oid(self) -> str:
        connection: Any = self.connection
        return f"{connection.default_channel.monitor.inbox.name}.{super().oid}"


class Control(CeleryControl):  # type: ignore[misc]  # celery has no types
    """What ``app.control`` is."""

    Mailbox = Mailbox

    def broadcast(self, command: str, *args: Any, reply: bool = False, timeout: float = 1.0, **kwargs: Any) -> Any:
        """Send a command to workers. Raises ``click.ClickException`` where MONITORING is off."""
        if not self.app.conf.worker_enable_remote_control:
            raise click.ClickException(MONITORING_OFF)
        patience = max(timeout, PATIENCE_SECONDS) if reply and timeout else timeout
        return super().broadcast(command, *args, reply=reply, timeout=patience, **kwargs)
