"""Names of the monitoring's topics and inboxes, and what an inbox's policy says of its owner."""

import json
import re
from dataclasses import dataclass

#: Celery's names for its exchanges (event_exchange and control_exchange are not configured otherwise).
EVENTS = "celeryev"
CONTROL = "celery.pidbox"
REPLIES = "reply.celery.pidbox"

#: SQS allows 80 characters in a queue's name; the prefix has up to 20. Source: SQS quotas.
_HOST_CHARACTERS = 30
_SEEN = "attended-"


@dataclass(frozen=True, slots=True)
class Names:
    """All names begin with the prefix, so that a policy can be narrowed to it."""

    prefix: str

    def topic(self, exchange: str) -> str | None:
        """The topic of a broadcasting exchange; None for an exchange that has none."""
        return dict(zip((EVENTS, CONTROL), self.topics, strict=True)).get(exchange)

    @property
    def topics(self) -> tuple[str, str]:
        return f"{self.prefix}-events", f"{self.prefix}-control"

    @property
    def inbox_prefix(self) -> str:
        return f"{self.prefix}-inbox-"

    def inbox(self, *, host: str, pid: int, token: str) -> str:
        """A name that no queue ever had: SQS wants a minute before it gives a name again (API_CreateQueue)."""
        host = re.sub(r"[^A-Za-z0-9]+", "-", host)[:_HOST_CHARACTERS].strip("-") or "host"
        return f"{self.inbox_prefix}{host}-{pid}-{token}"

    def is_inbox(self, name: str) -> bool:
        """Whether a queue is one of ours, so that it may be deleted: nobody else's name looks like this by chance."""
        return re.fullmatch(rf"{re.escape(self.inbox_prefix)}[A-Za-z0-9-]+-\d+-[0-9a-f]{{12}}", name) is not None


def inbox_policy(topic_arns: list[str], *, attended_at: float) -> str:
    """The queue policy of an inbox: the topics may send to it.

    Its ``Id`` holds the time at which the owner was last seen, in epoch seconds. A tag would be the natural place,
    but would need two more permissions; LastModifiedTimestamp is not kept by every emulator.
    """
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "*",
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arns}},
    }
    return json.dumps({"Version": "2012-10-17", "Id": f"{_SEEN}{int(attended_at)}", "Statement": [statement]})


def attended_at(policy: str | None) -> float | None:
    """When the inbox's owner was last seen, in epoch seconds; None where the policy does not tell."""
    try:
        before, mark, seconds = json.loads(policy or "{}").get("Id", "").partition(_SEEN)
        return float(seconds) if mark and not before else None
    except (AttributeError, ValueError):
        return None


def queue_arn(topic_arn: str, queue: str) -> str:
    """The ARN of a queue in the topic's account and region."""
    _, partition, _, region, account, _ = topic_arn.split(":", 5)
    return f"arn:{partition}:sqs:{region}:{account}:{queue}"
