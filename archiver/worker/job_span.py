"""The span of one attempt at a job, below the span of whoever sent the message."""

from contextlib import AbstractContextManager

from archiver.archive.pipeline import Delivery
from archiver.archive.spans import Attributes, Span, Tracer
from archiver.aws.letters import Letter
from archiver.aws.queues import queue_name


def job_span(tracer: Tracer, delivery: Delivery, letter: Letter | None) -> AbstractContextManager[Span]:
    """A span named ``job`` for the length of the block; ``letter`` is None for a job without a message."""
    return tracer.span(
        "job",
        {**_attributes(delivery), **({} if letter is None else _message_attributes(delivery, letter))},
        kind="internal" if letter is None else "consumer",
        parent=None if letter is None else letter.trace,
    )


def _attributes(delivery: Delivery) -> Attributes:
    return {
        "archiver.request_id": delivery.request_id,
        "archiver.attempt": delivery.attempt,
        "archiver.hand_backs": delivery.hand_backs,
    }


def _message_attributes(delivery: Delivery, letter: Letter) -> Attributes:
    """Source: OpenTelemetry semantic conventions, messaging spans and those of AWS SQS."""
    return {
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": queue_name(letter.queue_url),
        "messaging.message.id": letter.message_id,
        "messaging.message.conversation_id": delivery.correlation_id,
        "messaging.message.body.size": len(letter.body.encode(errors="surrogatepass")),
        "aws.sqs.queue.url": letter.queue_url,
    }
