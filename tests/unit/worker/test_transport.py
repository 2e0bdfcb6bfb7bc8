"""What the channels of one connection have in common."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from archiver.worker.transport import Transport
from tests.unit.worker.conftest import CREW, NAME, Consumer, Loop

Connect = Callable[..., Consumer]


def test_every_channel_gets_the_loop_of_a_new_connection(connect: Connect) -> None:
    consumer = connect()
    transport = consumer.channel.connection
    loop = Loop()
    transport.register_with_event_loop(None, loop)
    assert consumer.channel.hub is loop


def test_a_client_error_at_the_wrong_moment_means_to_connect_again() -> None:
    assert ClientError in Transport.connection_errors


def test_a_connection_is_named_by_its_endpoint_and_queues(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://sqs.test:4566")
    transport = connect(crew=True).channel.connection
    assert transport.as_uri("sqs://") == f"http://sqs.test:4566, queue {NAME}, {CREW}"
