"""Clients of the region where the source queue lives, and what an answer of theirs means."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from archiver.monitoring.clients import POLL_SECONDS, Clients, unless_gone
from tests.unit.monitoring.messaging import Messaging, failure

URL = "https://sqs.eu-west-3.amazonaws.com/123456789012/source"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.mark.parametrize(("queue", "region"), [(URL, "eu-west-3"), ("source", "us-west-2")])
def test_clients_live_where_the_source_queue_lives(queue: str, region: str) -> None:
    clients = Clients(queue, "us-west-2")

    made: list[Any] = [clients.sns, clients.sqs, clients.polling]

    assert {client.meta.region_name for client in made} == {region}


def test_nothing_is_waited_for_but_a_poll() -> None:
    clients = Clients(URL, None)

    sending: list[Any] = [clients.sns, clients.sqs]
    polling: Any = clients.polling
    assert all(client.meta.config.read_timeout <= 5 for client in sending)
    assert all(client.meta.config.retries["total_max_attempts"] == 1 for client in sending)
    assert polling.meta.config.read_timeout > POLL_SECONDS


def test_a_topic_is_asked_for_once(messaging: Messaging) -> None:
    clients = messaging.clients()

    arns = {clients.topic_arn("fleet-events") for _ in range(3)}

    assert len(arns) == 1
    assert messaging.calls == ["create_topic"]


@pytest.mark.parametrize("code", ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"])
def test_a_missing_queue_is_no_answer(code: str) -> None:
    def ask(**_: object) -> str:
        raise failure(code)

    assert unless_gone(ask, QueueUrl=URL) is None


def test_any_other_error_stays_one() -> None:
    def ask(**_: object) -> str:
        raise failure("AccessDenied")

    with pytest.raises(ClientError, match="AccessDenied"):
        unless_gone(ask)


def test_an_answer_is_handed_on() -> None:
    assert unless_gone(lambda **arguments: arguments, QueueName="a") == {"QueueName": "a"}
