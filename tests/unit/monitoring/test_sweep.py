"""What is swept; tests/integration/test_monitoring_sweep.py has the same from a real server."""

import pytest
from structlog.testing import capture_logs

from archiver.monitoring.naming import inbox_policy, queue_arn
from archiver.monitoring.sweep import UNATTENDED_SECONDS, SweptInboxes, sweep_inboxes, sweep_quietly
from tests.unit.monitoring.messaging import NAMES, Messaging, failure, refuse

NOW = 1_000_000.0


def leave(messaging: Messaging, number: int, *, seen: float | None) -> str:
    """An inbox that is subscribed to the events; ``seen=None`` has a policy that does not tell."""
    name = NAMES.inbox(host="host", pid=number, token=f"{number:012x}")
    clients = messaging.clients()
    topic = clients.topic_arn(NAMES.topics[0])
    policy = "{}" if seen is None else inbox_policy([topic], attended_at=seen)
    clients.sqs.create_queue(QueueName=name, Attributes={"Policy": policy})
    clients.sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=queue_arn(topic, name), Attributes={"RawMessageDelivery": "true"}
    )
    return name


def sweep(messaging: Messaging, *, dry_run: bool = False) -> SweptInboxes:
    clients = messaging.clients()
    return sweep_inboxes(
        clients.sns, clients.sqs, names=NAMES, unattended_seconds=UNATTENDED_SECONDS, now=NOW, dry_run=dry_run
    )


def test_an_inbox_goes_with_its_subscription_when_its_time_is_over(messaging: Messaging) -> None:
    dead = leave(messaging, 1, seen=NOW - UNATTENDED_SECONDS)
    live = leave(messaging, 2, seen=NOW - UNATTENDED_SECONDS + 1)

    swept = sweep(messaging)

    assert swept.queues == (dead,)
    assert len(swept.subscriptions) == swept.attended == 1
    assert set(messaging.queues) == {live}
    assert {queue for _, queue in messaging.subscribers} == {live}


def test_a_rehearsal_says_the_same_and_touches_nothing(messaging: Messaging) -> None:
    leave(messaging, 1, seen=0)
    leave(messaging, 2, seen=NOW)
    before = dict(messaging.queues), dict(messaging.subscriptions)

    rehearsed = sweep(messaging, dry_run=True)

    assert (messaging.queues, messaging.subscriptions) == before
    assert sweep(messaging) == rehearsed


def test_an_inbox_that_tells_nothing_is_as_old_as_its_queue(messaging: Messaging) -> None:
    old, new = leave(messaging, 1, seen=None), leave(messaging, 2, seen=None)
    messaging.queues[new].attributes["CreatedTimestamp"] = str(NOW - 1)

    assert sweep(messaging).queues == (old,)


def test_a_subscription_without_a_queue_ends(messaging: Messaging) -> None:
    torn = leave(messaging, 1, seen=NOW)
    del messaging.queues[torn]

    swept = sweep(messaging)

    assert swept.queues == ()
    assert len(swept.subscriptions) == 1
    assert messaging.subscriptions == {}


def test_a_queue_that_is_not_listed_yet_keeps_its_subscription(
    messaging: Messaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(messaging, 1, seen=NOW)
    monkeypatch.setattr(messaging, "_list_queues", lambda **_: [])

    assert sweep(messaging).subscriptions == ()


def test_a_queue_that_somebody_else_is_just_deleting_is_passed_over(messaging: Messaging) -> None:
    leave(messaging, 1, seen=0)

    def too_late(operation: str) -> None:
        if operation == "get_queue_attributes":
            raise failure("QueueDoesNotExist")

    messaging.trouble = too_late

    assert sweep(messaging).queues == ()


def test_other_queues_and_other_subscribers_stay(messaging: Messaging) -> None:
    clients = messaging.clients()
    topic = clients.topic_arn(NAMES.topics[0])
    clients.sqs.create_queue(QueueName=f"{NAMES.inbox_prefix}photos", Attributes={"Policy": "{}"})
    clients.sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=queue_arn(topic, "audit"), Attributes={"RawMessageDelivery": "true"}
    )

    assert sweep(messaging) == SweptInboxes((), (), 0)


def test_the_sweep_at_a_start_says_what_it_found_and_never_fails(messaging: Messaging) -> None:
    leave(messaging, 1, seen=0)
    with capture_logs() as logs:
        sweep_quietly(messaging.clients(), NAMES)
        sweep_quietly(messaging.clients(), NAMES)
        messaging.trouble = refuse
        sweep_quietly(messaging.clients(), NAMES)

    assert [line["event"] for line in logs] == [
        "leftovers of monitoring swept",
        "leftovers of monitoring could not be swept",
    ]
