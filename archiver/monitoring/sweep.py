"""Inboxes and subscriptions that nobody attends to any more: what killed processes leave."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from archiver.aws.queues import queue_name
from archiver.monitoring.clients import Clients, no_such_queue
from archiver.monitoring.naming import Names, attended_at

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = structlog.get_logger(__name__)

#: An inbox without a sign of life for this long is nobody's: its owner gives one every four minutes (inbox.py).
UNATTENDED_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class SweptInboxes:
    """Names of the queues that were deleted (or would be), subscriptions that ended, and inboxes in use."""

    queues: tuple[str, ...]
    subscriptions: tuple[str, ...]
    attended: int


def sweep_inboxes(
    sns: Any, sqs: "SQSClient", *, names: Names, unattended_seconds: float, now: float, dry_run: bool = False
) -> SweptInboxes:
    """Delete the inboxes whose owner gave no sign of life since ``now - unattended_seconds``, and subscriptions of
    inboxes that are no more.

    An owner that was only away opens another inbox. Raises ``ClientError`` and ``BotoCoreError``.
    """
    deleted: list[str] = []
    attended: set[str] = set()
    for url in _inbox_urls(sqs, names):
        seen = _last_seen(sqs, url)
        if seen is None:
            continue
        if now - seen < unattended_seconds:
            attended.add(queue_name(url))
            continue
        deleted.append(queue_name(url))
        if not dry_run:
            sqs.delete_queue(QueueUrl=url)
    ended = []
    for arn, queue in _subscriptions(sns, names):
        # A queue that was just made may not be listed yet.
        if queue in deleted or (queue not in attended and not _exists(sqs, queue)):
            ended.append(arn)
            if not dry_run:
                sns.unsubscribe(SubscriptionArn=arn)
    return SweptInboxes(tuple(deleted), tuple(ended), len(attended))


def sweep_quietly(clients: Clients, names: Names, unattended_seconds: float) -> None:
    """The sweep of a worker that starts: whatever fails there is for the next one."""
    try:
        swept = sweep_inboxes(
            clients.sns, clients.sqs, names=names, unattended_seconds=unattended_seconds, now=time.time()
        )
    except (ClientError, BotoCoreError) as error:
        log.info("leftovers of monitoring could not be swept", error=repr(error))
    else:
        if swept.queues or swept.subscriptions:
            log.info("leftovers of monitoring swept", queues=swept.queues, subscriptions=len(swept.subscriptions))


def _inbox_urls(sqs: "SQSClient", names: Names) -> Iterator[str]:
    for page in sqs.get_paginator("list_queues").paginate(QueueNamePrefix=names.inbox_prefix):
        yield from (url for url in page.get("QueueUrls", ()) if names.is_inbox(queue_name(url)))


def _last_seen(sqs: "SQSClient", url: str) -> float | None:
    """When the owner was last seen, in epoch seconds; None for a queue that is just being deleted."""
    try:
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy", "CreatedTimestamp"])
    except ClientError as error:
        if no_such_queue(error):
            return None
        raise
    attributes: Any = answer.get("Attributes", {})
    seen = attended_at(attributes.get("Policy"))
    return float(attributes["CreatedTimestamp"]) if seen is None else seen


def _subscriptions(sns: Any, names: Names) -> Iterator[tuple[str, str]]:
    """ARN and queue of the inboxes' subscriptions."""
    for topic in names.topics:
        arn = sns.create_topic(Name=topic)["TopicArn"]
        for page in sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn):
            for item in page.get("Subscriptions", ()):
                queue = item["Endpoint"].rsplit(":", 1)[-1]
                if item["Protocol"] == "sqs" and names.is_inbox(queue) and item["SubscriptionArn"].startswith("arn:"):
                    yield item["SubscriptionArn"], queue


def _exists(sqs: "SQSClient", queue: str) -> bool:
    try:
        sqs.get_queue_url(QueueName=queue)
    except ClientError as error:
        if no_such_queue(error):
            return False
        raise
    return True
