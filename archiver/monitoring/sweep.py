"""Inboxes and subscriptions that nobody attends to any more: what killed processes leave."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from archiver.aws.queues import queue_name
from archiver.logs import get_logger
from archiver.monitoring.clients import Clients, unless_gone
from archiver.monitoring.naming import Names, attended_at

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = get_logger(__name__)

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
    seen = dict(_inboxes(sqs, names))
    dead = {url: name for url, (name, at) in seen.items() if now - at >= unattended_seconds}
    attended = {name for url, (name, _) in seen.items() if url not in dead}
    if not dry_run:
        for url in dead:
            sqs.delete_queue(QueueUrl=url)
    ended = []
    for arn, queue in _subscriptions(sns, names):
        # A queue that was just made may not be listed yet.
        gone = queue not in attended and unless_gone(sqs.get_queue_url, QueueName=queue) is None
        if queue in dead.values() or gone:
            ended.append(arn)
            if not dry_run:
                sns.unsubscribe(SubscriptionArn=arn)
    return SweptInboxes(tuple(dead.values()), tuple(ended), len(attended))


def sweep_quietly(clients: Clients, names: Names) -> None:
    """The sweep of a worker that starts: whatever fails there is for the next one."""
    try:
        swept = sweep_inboxes(
            clients.sns, clients.sqs, names=names, unattended_seconds=UNATTENDED_SECONDS, now=time.time()
        )
    except (ClientError, BotoCoreError) as error:
        log.info("leftovers of monitoring could not be swept", error=repr(error))
    else:
        if swept.queues or swept.subscriptions:
            log.info("leftovers of monitoring swept", queues=swept.queues, subscriptions=len(swept.subscriptions))


def _inboxes(sqs: "SQSClient", names: Names) -> Iterator[tuple[str, tuple[str, float]]]:
    """URL, name and when the owner was last seen, in epoch seconds; without queues that are just being deleted."""
    for page in sqs.get_paginator("list_queues").paginate(QueueNamePrefix=names.inbox_prefix):
        for url in page.get("QueueUrls", ()):
            if not names.is_inbox(queue_name(url)):
                continue
            asked: Any = ["Policy", "CreatedTimestamp"]
            answer = unless_gone(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=asked)
            if answer is not None:
                attributes: Any = answer.get("Attributes", {})
                seen = attended_at(attributes.get("Policy"))
                yield url, (queue_name(url), float(attributes["CreatedTimestamp"]) if seen is None else seen)


def _subscriptions(sns: Any, names: Names) -> Iterator[tuple[str, str]]:
    """ARN and queue of the inboxes' subscriptions."""
    for topic in names.topics:
        arn = sns.create_topic(Name=topic)["TopicArn"]
        for page in sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn):
            for item in page.get("Subscriptions", ()):
                queue = item["Endpoint"].rsplit(":", 1)[-1]
                if item["Protocol"] == "sqs" and names.is_inbox(queue) and item["SubscriptionArn"].startswith("arn:"):
                    yield item["SubscriptionArn"], queue
