"""A queue's name, whatever it was given as."""

import pytest

from archiver.aws.clients import new_sqs_client
from archiver.aws.naming import queue_name


@pytest.mark.parametrize(
    "given",
    ["q.fifo", "https://sqs.eu-west-1.amazonaws.com/1/q.fifo", "http://127.0.0.1:4566/queue/us-east-1/0/q.fifo/"],
)
def test_the_name_is_the_last_segment(given: str) -> None:
    assert queue_name(given) == "q.fifo"


def test_a_queue_urls_region_is_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    url = "https://sqs.eu-central-1.amazonaws.com/1/q"
    assert new_sqs_client(queue_url=url).meta.region_name == "eu-central-1"
    assert new_sqs_client(queue_url="q").meta.region_name == "us-east-1"
    # ECS names the region in a variable that boto3 does not read
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    assert new_sqs_client(queue_url="q", region="eu-west-3").meta.region_name == "eu-west-3"
