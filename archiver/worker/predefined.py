"""kombu's SQS channel with the queues of ``predefined_queues`` found and asked in this service's way.

A queue's ``url`` may be a plain name, too, looked up when first needed: the queue may come into being after the worker.
Clients are those of ``aws.clients``, with the SDK's own credentials and region.
"""

from typing import Any

from kombu.transport import virtual
from kombu.transport.SQS import Channel as KombuChannel

from archiver.aws.clients import PROMPT, new_client
from archiver.aws.queues import Queue
from archiver.worker.polling import PollConnection

SYSTEM_ATTRIBUTES = ("ApproximateReceiveCount", "MessageGroupId", "SentTimestamp")
MESSAGE_ATTRIBUTES = ("All",)


class PredefinedQueues(KombuChannel):
    """A channel that knows where these queues are, and has a client for each. What it does there is ``channel``'s."""

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        self._clients: dict[str, Any] = {}
        super().__init__(connection, **kwargs)

    def _is_source(self, queue: str | None) -> bool:
        return queue in self.predefined_queues

    def _update_queue_cache(self, queue_name_prefix: str) -> None:
        if not self.predefined_queues:
            super()._update_queue_cache(queue_name_prefix)

    def _resolve_queue_url(self, queue: str) -> str:
        if not self._is_source(queue):
            return str(super()._resolve_queue_url(queue))
        url: str | None = self._queue_cache.get(queue)
        if url is None:
            url = self.predefined_queues[queue]["url"]
            url = Queue(self.sqs(queue), url).url
            self._queue_cache[queue] = url
        return url

    def queue_declare(self, queue: str | None = None, passive: bool = False, **kwargs: Any) -> Any:
        """Nothing to do for a queue that others create, and no reason to fail where they have not yet."""
        if self._is_source(queue):
            return virtual.base.queue_declare_ok_t(queue, 0, 0)  # type: ignore[attr-defined]  # amqp's, imported there
        return super().queue_declare(queue=queue, passive=passive, **kwargs)

    def sqs(self, queue: str | None = None) -> Any:
        """The queue's client; it outlives the connection, so that a job that outlives it can still be acked."""
        key = queue or ""
        if key not in self._clients:
            url = self.predefined_queues.get(queue, {}).get("url", "") if queue else ""
            self._clients[key] = new_client(
                "sqs", timeouts=PROMPT, queue=url, region=self.transport_options.get("region")
            )
        return self._clients[key]

    def asynsqs(self, queue: str | None = None) -> Any:
        if not self._is_source(queue):
            return super().asynsqs(queue)
        known = self._predefined_queue_async_clients
        if queue not in known:
            known[queue] = PollConnection(
                self.sqs(queue),
                message_system_attribute_names=list(SYSTEM_ATTRIBUTES),
                message_attribute_names=list(MESSAGE_ATTRIBUTES),
            )
        return known[queue]

    @property
    def get_message_attributes(self) -> dict[str, list[str]]:
        return {
            "MessageSystemAttributeNames": list(SYSTEM_ATTRIBUTES),
            "MessageAttributeNames": list(MESSAGE_ATTRIBUTES),
        }

    def forget(self, queue: str) -> None:
        """Look the queue's URL up again when it is next needed."""
        if self.connection is not None:
            self._queue_cache.pop(queue, None)
