"""The transport of a monitored process: the source queue's adapter as it is, and Celery's monitoring beside it.

Every queue but the source queue is local (``monitor``); exchanges that broadcast are topics. In a worker nothing
here waits for SNS or SQS; elsewhere opening the inbox and sending a command do, and say what went wrong.
"""

import json
from functools import partial
from queue import Empty
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from kombu.exceptions import OperationalError
from kombu.transport import virtual

from archiver.monitoring.monitor import Monitor, process_monitor
from archiver.monitoring.naming import CONTROL, EVENTS, REPLIES
from archiver.monitoring.sweep import UNATTENDED_SECONDS, sweep_quietly
from archiver.worker import channel

log = structlog.get_logger(__name__)

#: How long one look into a local queue waits, in seconds.
LOOK_SECONDS = 0.2


class Channel(channel.Channel):
    """A channel of the source queue and of local queues."""

    supports_fanout = True

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        options = connection.client.transport_options
        (source,) = options["predefined_queues"].values()
        self._monitor_options = {
            "prefix": options["monitoring_prefix"],
            "source_queue": source["url"],
            "region": options.get("region"),
        }
        super().__init__(connection, **kwargs)

    @property
    def monitor(self) -> Monitor:
        return process_monitor(**self._monitor_options)

    # Exchanges and queues.

    def exchange_declare(self, exchange: str | None = None, type: str = "direct", *args: Any, **kwargs: Any) -> Any:
        # Celery's events are a topic exchange; with SNS each receiver has them all.
        return super().exchange_declare(exchange, "fanout" if exchange == EVENTS else type, *args, **kwargs)

    def queue_declare(self, queue: str | None = None, passive: bool = False, **kwargs: Any) -> Any:
        if queue is None or self._is_source(queue):
            return super().queue_declare(queue=queue, passive=passive, **kwargs)
        self.monitor.declare(queue)
        return virtual.base.queue_declare_ok_t(queue, 0, 0)  # type: ignore[attr-defined]  # amqp's, imported there

    def queue_bind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", *args: Any, **kwargs: Any
    ) -> Any:
        if self._is_source(queue) or exchange is None:
            return super().queue_bind(queue, exchange, routing_key, *args, **kwargs)
        self.monitor.bind(queue, exchange, routing_key)
        if self.hub:
            self.monitor.open_later(
                first=partial(sweep_quietly, self.monitor.clients, self.monitor.names, UNATTENDED_SECONDS)
            )
            return None
        try:
            self.monitor.open()
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(error) from error
        return None

    def queue_delete(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        if self._is_source(queue):
            return super().queue_delete(queue, *args, **kwargs)
        self.monitor.forget(queue)
        return None

    # Receiving.

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        if self._is_source(queue):
            return super().basic_consume(queue, no_ack, *args, **kwargs)
        virtual.Channel.basic_consume(self, queue, no_ack, *args, **kwargs)
        if self.hub:
            self.monitor.on_arrival(queue, partial(self.hub.call_soon, self._deliver, queue))
        return None

    def basic_cancel(self, consumer_tag: str) -> Any:
        queue = self._tag_to_queue.get(consumer_tag)
        if queue is None or self._is_source(queue):
            return super().basic_cancel(consumer_tag)
        virtual.Channel.basic_cancel(self, consumer_tag)
        self.monitor.forget(queue)
        if self.hub:  # a worker that stops; Flower goes on with the same inbox
            self.monitor.close_if_idle()
        return None

    def _deliver(self, queue: str) -> None:
        """In the event loop: hand over what has arrived."""
        try:
            while True:
                message = self.monitor.take(queue)
                deliver = self.connection._callbacks.get(queue) if self.connection is not None else None
                if deliver is not None:
                    deliver(message)
        except Empty:
            pass
        except Exception as error:
            log.warning("a monitoring message could not be handled", error=repr(error))

    def _get_bulk(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        if self._is_source(queue):
            return super()._get_bulk(queue, *args, **kwargs)
        message = self.monitor.take(queue, seconds=LOOK_SECONDS)
        self.connection._deliver(message, queue)
        return None

    # Sending.

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> Any:
        if exchange == REPLIES:
            return [routing_key]
        return super()._lookup(exchange, routing_key, default)

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> Any:
        if self._is_source(queue):
            return super()._put(queue, message, **kwargs)
        # The address of a reply begins with the inbox of who asked (control.Mailbox).
        self.monitor.reply(queue.partition(".")[0], json.dumps(message))
        return None

    def _put_fanout(self, exchange: str, message: dict[str, Any], *_: Any, **__: Any) -> None:
        if exchange != CONTROL:
            self.monitor.publish(exchange, json.dumps(message))
            return
        try:
            self.monitor.publish_now(exchange, json.dumps(message))
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> OperationalError:
    """kombu tries again without end where it gets the error itself; a person wants to know."""
    return OperationalError(f"monitoring needs SNS and SQS: {error}")


class Transport(channel.Transport):
    """The transport of ``broker_transport`` where MONITORING=1."""

    Channel = Channel
    implements = channel.Transport.implements.extend(exchange_type=frozenset(["direct", "topic", "fanout"]))
