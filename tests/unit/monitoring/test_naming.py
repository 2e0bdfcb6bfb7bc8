"""Names: unique, legal, and recognizable, since what looks like an inbox may be deleted."""

import json
import re

import pytest

from archiver.monitoring.naming import CONTROL, EVENTS, REPLIES, Names, attended_at, inbox_policy, queue_arn

NAMES = Names("fleet")
TOKEN = "0123456789ab"


def test_only_what_is_broadcast_has_a_topic() -> None:
    assert NAMES.topic(EVENTS) == "fleet-events"
    assert NAMES.topic(CONTROL) == "fleet-control"
    assert NAMES.topic(REPLIES) is None
    assert set(NAMES.topics) == {"fleet-events", "fleet-control"}


@pytest.mark.parametrize("host", ["web-1", "ip-10-0-0-1.eu-central-1.compute.internal", "ünïcode_host", "", "---", "é"])
def test_an_inbox_has_a_legal_name_whatever_the_host(host: str) -> None:
    names = Names("a" * 20)

    name = names.inbox(host=host, pid=4_194_304, token=TOKEN)

    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name)  # API_CreateQueue
    assert names.is_inbox(name)


@pytest.mark.parametrize(
    "name",
    [
        "fleet-inbox-photos",
        "fleet-inbox-host-1",
        f"fleet-inbox-host-1-{TOKEN}-dlq",
        f"fleet-inbox-host-one-{TOKEN}",
        f"other-inbox-host-1-{TOKEN}",
        f"my-fleet-inbox-host-1-{TOKEN}",
        f"fleet-inbox--1-{TOKEN[:-1]}G",
    ],
)
def test_a_queue_that_only_looks_alike_is_no_inbox(name: str) -> None:
    assert not NAMES.is_inbox(name)


def test_a_prefix_is_no_pattern() -> None:
    assert not Names("a.c").is_inbox(f"abc-inbox-host-1-{TOKEN}")


def test_the_policy_lets_the_topics_in_and_nobody_else() -> None:
    (statement,) = json.loads(inbox_policy(["arn:one", "arn:two"], attended_at=5))["Statement"]

    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": ["arn:one", "arn:two"]}}


def test_the_policy_tells_when_the_owner_was_seen() -> None:
    assert attended_at(inbox_policy([], attended_at=1_700_000_000.9)) == 1_700_000_000


@pytest.mark.parametrize(
    "policy",
    [None, "", "{}", '{"Id": "default"}', '{"Id": "attended-"}', '{"Id": "un-attended-5"}', '{"Id": 5}', "[]", "{"],
)
def test_a_policy_of_somebody_else_tells_nothing(policy: str | None) -> None:
    assert attended_at(policy) is None


def test_a_queue_is_where_its_topic_is() -> None:
    arn = queue_arn("arn:aws-cn:sns:cn-north-1:123456789012:fleet-events", "an-inbox")

    assert arn == "arn:aws-cn:sqs:cn-north-1:123456789012:an-inbox"
