"""The transport of a monitored process: the source queue's adapter as it is, and Celery's monitoring beside it.

Every queue but the source queue is local (``monitor``); exchanges that broadcast are topics. In a worker nothing
here waits for SNS or SQS; elsewhere opening the inbox and sending a command do, and say what went wrong.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from queue import Empty
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from kombu.exceptions import OperationalError
from kombu.transport import virtual

from archiver.errors import QueueUnavailable
from archiver.logs import get_logger
from archiver.monitoring.monitor import Monitor, process_monitor
from archiver.monitoring.naming import CONTROL, EVENTS, REPLIES
from archiver.worker import channel, transport

log = get_logger(__name__)

#: How long one look into a local queue waits, in seconds.
LOOK_SECONDS = 0.2


class Channel(channel.Channel):
    """A channel of the source queue and of local queues."""

    supports_fanout = True

    @property
    def monitor(self) -> Monitor:
        options = self.transport_options
        source, *_ = options["predefined_queues"].values()  # the crew's is behind it
        return process_monitor(
            prefix=options["monitoring_prefix"], source_queue=source["url"], region=options.get("region")
        )

    # Exchanges and queues.

    def exchange_declare(self, exchange: str | None = None, type: str = "direct", *args: Any, **kwargs: Any) -> Any:
        # Celery's events are a topic exchange; with SNS each receiver has them all.
        return super().exchange_declare(exchange, "fanout" if exchange == EVENTS else type, *args, **kwargs)

    def queue_declare(self, queue: str | None = None, passive: bool = False, **_: Any) -> Any:  # noqa: ARG002 kombu's
        """Nothing to do: others make the source queue, and the rest is local."""
        return virtual.base.queue_declare_ok_t(queue, 0, 0)  # type: ignore[attr-defined]  # amqp's, imported there

    def queue_bind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", *args: Any, **kwargs: Any
    ) -> Any:
        if self._is_source(queue) or exchange is None:
            return super().queue_bind(queue, exchange, routing_key, *args, **kwargs)
        self.monitor.bind(queue, exchange, routing_key)
        if self.hub:
            self.monitor.open_soon()
        else:
            with _failing_clearly():
                self.monitor.open()
        return None

    # Receiving.

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        if self._is_source(queue):
            return super().basic_consume(queue, no_ack, *args, **kwargs)
        virtual.Channel.basic_consume(self, queue, no_ack, *args, **kwargs)
        if self.hub:
            self.monitor.on_arrival(queue, partial(self.hub.call_soon, self._deliver_all, queue))
        return None

    def basic_cancel(self, consumer_tag: str) -> Any:
        queue = self._tag_to_queue.get(consumer_tag)
        if queue is None or self._is_source(queue):
            return super().basic_cancel(consumer_tag)
        virtual.Channel.basic_cancel(self, consumer_tag)
        self.monitor.forget(queue)
        return None

    def _deliver_all(self, queue: str) -> None:
        """In the event loop: hand over what has arrived."""
        try:
            while True:
                self.connection._deliver(self.monitor.take(queue), queue)
        except Empty:
            pass
        except Exception as error:
            log.warning("a monitoring message could not be handled", error=repr(error))

    def _get_bulk(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        if self._is_source(queue):
            return super()._get_bulk(queue, *args, **kwargs)
        return self.connection._deliver(self.monitor.take(queue, seconds=LOOK_SECONDS), queue)

    # Sending.

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> Any:
        if exchange == REPLIES:
            return [routing_key]
        return super()._lookup(exchange, routing_key, default)

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> Any:
        if self._is_source(queue):
            return super()._put(queue, message, **kwargs)
        # The address of a reply begins with the inbox of who asked (control.Mailbox).
        self.monitor.soon(self.monitor.reply, queue.partition(".")[0], json.dumps(message))
        return None

    def _put_fanout(self, exchange: str, message: dict[str, Any], *_: Any, **__: Any) -> None:
        if exchange != CONTROL:
            self.monitor.soon(self.monitor.publish, exchange, json.dumps(message))
            return
        with _failing_clearly():
            self.monitor.publish(exchange, json.dumps(message))


@contextmanager
def _failing_clearly() -> Iterator[None]:
    """kombu tries again without end where it gets AWS's error itself; a person wants to know."""
    try:
        yield
    except (ClientError, BotoCoreError, QueueUnavailable) as error:
        raise OperationalError(f"monitoring needs SNS and SQS: {error}") from error


class Transport(transport.Transport):
    """The transport of ``broker_transport`` where MONITORING=1."""

    Channel = Channel
    implements = transport.Transport.implements.extend(exchange_type=frozenset(["direct", "topic", "fanout"]))
