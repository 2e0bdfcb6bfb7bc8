"""The kombu transport of the source queue: what its channels have in common, and where they are connected to."""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from kombu.asynchronous import set_event_loop
from kombu.transport.SQS import Transport as KombuTransport

from archiver.aws.clients import PROMPT, new_client
from archiver.text import redacted
from archiver.worker.channel import Channel


class Transport(KombuTransport):
    """The transport of ``broker_transport``."""

    Channel = Channel
    # A client error, too, means: connect again. Without it one at the wrong moment ends the worker.
    connection_errors = (*KombuTransport.connection_errors, ClientError)  # type: ignore[assignment]  # one longer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Of the instance alone: by the class's kombu decides who takes broker_url apart, which has nothing to tell.
        self.can_parse_url = True

    def as_uri(self, *_: Any, **__: Any) -> str:
        """Where messages come from, as "Connected to", Flower and `inspect stats` name it: the endpoint and the queues.

        kombu's own would be made of ``broker_url``, which names neither.
        """
        options: Any = getattr(self.client, "transport_options", {})
        queues = options.get("predefined_queues", {})
        first = next(iter(queues.values()), {"url": None})
        try:
            client = new_client("sqs", timeouts=PROMPT, queue=first["url"], region=options.get("region"))
        except (BotoCoreError, ValueError) as error:
            return f"SQS ({error})"
        return f"{redacted(client.meta.endpoint_url)}, queue {', '.join(queues)}"

    def register_with_event_loop(self, _: Any, loop: Any) -> None:
        """Give every channel the loop. A lost connection resets it, and kombu forgets it: none would poll again."""
        set_event_loop(loop)
        for channel in self.channels:
            channel.hub = loop
