"""What a worker looks at when it starts: the quick ones of ``archiver doctor``'s checks, a line for each that fails.

Nothing here stops the worker: queues, buckets and servers come into being, and come back, while it runs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from archiver.aws.clients import PROMPT, new_client
from archiver.aws.dead_letters import NO_POLICY, SMALL_DEAD_LETTERS
from archiver.aws.failures import refused_by
from archiver.aws.queues import MAX_MESSAGE_BYTES, Queue, no_such_queue, open_queue
from archiver.aws.topics import topic_region
from archiver.errors import QueueUnavailable
from archiver.settings import Settings

UNREACHABLE = "no answer from AWS"

_CREATE = "create it, or correct the setting: the worker goes on trying"
_CHECK_NETWORK = "check AWS_ENDPOINT_URL and the network: the worker goes on trying"
_SIZE = "MaximumMessageSize"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, as a log line: ``fields`` say where, why, and how to mend it."""

    level: Literal["warning", "error"]
    event: str
    fields: dict[str, Any]
    #: Whether no message can be taken until it is mended.
    takes_none: bool = False


def look_around(settings: Settings) -> Iterator[Finding]:
    """Look at queues, dead letters, buckets and the topic; what is as it should be says nothing.

    An endpoint that does not answer is told of once, and not asked again.
    """
    silent: set[str] = set()
    looks: list[Callable[[], Iterator[Finding]]] = [
        partial(_source_queue, settings),
        partial(_bucket, settings, "S3_SOURCE_BUCKET", settings.s3_source_bucket),
        partial(_bucket, settings, "S3_DESTINATION_BUCKET", settings.s3_destination_bucket),
        partial(_destination_queue, settings),
        partial(_crew_queue, settings),
        partial(_destination_topic, settings),
    ]
    for look in looks:
        for finding in look():
            if finding.event == UNREACHABLE:
                if finding.fields["endpoint"] in silent:
                    continue
                silent.add(finding.fields["endpoint"])
            yield finding


def _source_queue(settings: Settings) -> Iterator[Finding]:
    setting, given = "SQS_SOURCE_QUEUE", settings.sqs_source_queue
    try:
        queue = open_queue(given, timeouts=PROMPT, region=settings.aws_region, setting=setting)
        dlq = queue.dead_letter_queue()
    except (QueueUnavailable, BotoCoreError, ValueError) as error:
        if _is_denied(error):
            mend = "allow sqs:GetQueueUrl and sqs:GetQueueAttributes: without them no dead letter can be sent"
            yield Finding("error", "access to the queue is denied", {"setting": setting, "queue": given, "mend": mend})
        else:
            yield _no_queue(setting, given, error, takes_none=True)
        return
    if dlq is None:
        mend = "give the queue a RedrivePolicy: until then bad messages come back until they expire"
        yield Finding("error", NO_POLICY, {"queue": queue.url, "mend": mend})
    else:
        yield from _room(queue, dlq)


def _room(queue: Queue, dlq: Queue) -> Iterator[Finding]:
    try:
        room, needed = (int(one.attributes([_SIZE]).get(_SIZE, MAX_MESSAGE_BYTES)) for one in (dlq, queue))
    except (QueueUnavailable, BotoCoreError) as error:
        if not _is_denied(error):
            mend = "create it, or correct the RedrivePolicy"
            yield Finding(
                "warning",
                "the dead-letter queue could not be looked at",
                {"queue": dlq.url, "error": str(error), "mend": mend},
            )
    else:
        if room < needed:
            fields: dict[str, Any] = {
                "queue": dlq.url,
                "bytes": room,
                "source_queue_bytes": needed,
                "mend": f"raise its {_SIZE} to the source queue's",
            }
            yield Finding("error", SMALL_DEAD_LETTERS, fields)


def _bucket(settings: Settings, setting: str, bucket: str | None) -> Iterator[Finding]:
    if bucket is None:
        return
    try:
        new_client("s3", timeouts=PROMPT, region=settings.aws_region).head_bucket(Bucket=bucket)
    except ClientError as error:
        # Who may not list the bucket is told 403, and may be right to use it.
        if refused_by(error).status == 404:
            yield Finding("error", "no such bucket", {"setting": setting, "bucket": bucket, "mend": _CREATE})
    except (BotoCoreError, ValueError) as error:
        yield _unreachable(error) or Finding(
            "warning", "a bucket could not be looked at", {"setting": setting, "bucket": bucket, "error": str(error)}
        )


def _destination_queue(settings: Settings) -> Iterator[Finding]:
    setting, given = "SQS_DESTINATION_QUEUE", settings.sqs_destination_queue
    if given is not None and (error := _failed_look(settings, setting, given)):
        yield _no_queue(setting, given, error)


def _crew_queue(settings: Settings) -> Iterator[Finding]:
    setting, given = "SQS_CREW_QUEUE", settings.sqs_crew_queue
    if given is not None and (error := _failed_look(settings, setting, given)):
        # No error: jobs are done without.
        fields = {"setting": setting, "queue": given, "error": str(error), "mend": _CREATE}
        yield Finding("warning", "no help from other workers: the queue can't be looked at", fields)


def _failed_look(settings: Settings, setting: str, given: str) -> Exception | None:
    try:
        open_queue(given, timeouts=PROMPT, region=settings.aws_region, setting=setting).attributes(["QueueArn"])
    except (QueueUnavailable, BotoCoreError, ValueError) as error:
        return None if _is_denied(error) else error
    return None


def _no_queue(setting: str, given: str, error: Exception, *, takes_none: bool = False) -> Finding:
    if isinstance(error.__cause__, ClientError) and no_such_queue(error.__cause__):
        fields = {"setting": setting, "queue": given, "mend": _CREATE}
        return Finding("error", "no such queue", fields, takes_none)
    fields = {"setting": setting, "queue": given, "error": str(error)}
    return _unreachable(error, takes_none=takes_none) or Finding(
        "warning", "a queue could not be looked at", fields, takes_none
    )


def _destination_topic(settings: Settings) -> Iterator[Finding]:
    setting, arn = "SNS_DESTINATION_TOPIC", settings.sns_destination_topic
    if arn is None:
        return
    try:
        client = new_client("sns", timeouts=PROMPT, region=settings.aws_region, in_region=topic_region(arn))
        client.get_topic_attributes(TopicArn=arn)
    except ClientError as error:
        refused = refused_by(error)
        if refused.status == 404:
            yield Finding("error", "no such topic", {"setting": setting, "topic": arn, "mend": _CREATE})
        elif refused.status != 403:
            fields = {"setting": setting, "topic": arn, "error": str(error)}
            yield Finding("warning", "the destination topic could not be looked at", fields)
    except (BotoCoreError, ValueError) as error:
        yield _unreachable(error) or Finding(
            "warning", "the destination topic could not be looked at", {"topic": arn, "error": str(error)}
        )


def _unreachable(error: Exception, *, takes_none: bool = False) -> Finding | None:
    """Where nobody answered at all: who was asked."""
    cause = error.__cause__ if isinstance(error, QueueUnavailable) else error
    if not isinstance(cause, ConnectionError | HTTPClientError) or "endpoint_url" not in cause.kwargs:
        return None
    url = urlsplit(str(cause.kwargs["endpoint_url"]))  # type: ignore[typeddict-item]  # of some of its subclasses alone
    fields = {"endpoint": f"{url.scheme}://{url.netloc}", "error": str(cause), "mend": _CHECK_NETWORK}
    return Finding("error", UNREACHABLE, fields, takes_none)


def _is_denied(error: Exception) -> bool:
    """Who may only send is told 403, and needs no more."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and refused_by(cause).is_denial
