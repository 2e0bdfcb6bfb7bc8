"""What a worker looks at when it starts, and says when it is ready."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from archiver.aws.dead_letters import NO_POLICY
from archiver.errors import QueueUnavailable
from archiver.settings import Settings
from archiver.worker import startup
from archiver.worker.startup import announce_worker
from tests.support.jobs import logged

SETTINGS = {"sqs_source_queue": "input", "s3_destination_bucket": "archives", "part_size_mib": 16}


@dataclass
class World:
    """A queue with a dead-letter queue and buckets, any of which may be missing or out of reach."""

    url: str = "https://sqs.example/1/input"
    dlq: object = field(default_factory=object)
    error: Exception | None = None
    buckets: dict[str, Exception] = field(default_factory=dict)
    looked_at: list[str] = field(default_factory=list)

    def dead_letter_queue(self) -> object:
        if self.error is not None:
            raise self.error
        return self.dlq

    def head_bucket(self, *, Bucket: str) -> None:  # noqa: N803  # boto3's name
        self.looked_at.append(Bucket)
        if Bucket in self.buckets:
            raise self.buckets[Bucket]


def announced(monkeypatch: pytest.MonkeyPatch, world: World, **settings: str) -> list[Any]:
    """The log of a worker in that world."""

    def open_queue(name: str, *, timeouts: object, region: str | None) -> World:
        assert (name, region) == ("input", "eu-west-1")
        return world

    def new_client(service: str, *, timeouts: object, region: str | None) -> World:
        assert (service, region) == ("s3", "eu-west-1")
        return world

    monkeypatch.setattr(startup, "open_queue", open_queue)
    monkeypatch.setattr(startup, "new_client", new_client)
    with logged() as lines:
        announce_worker(Settings.model_validate({**SETTINGS, "aws_region": "eu-west-1", **settings}))
    return lines


def status(code: int) -> ClientError:
    """What a HEAD of a bucket answers: no body, so that boto3 makes a code of the status."""
    return ClientError(
        {"Error": {"Code": str(code), "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": code}},  # type: ignore[typeddict-item]  # the part that is looked at
        "HeadBucket",
    )


def test_it_names_its_version_and_the_settings_that_are_no_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    (ready,) = announced(monkeypatch, World())
    assert ready["event"] == "archiver ready"
    assert ready["version"]
    assert ready["part_size_mib"] == 16
    assert "visibility_timeout_seconds" not in ready


def test_a_queue_without_a_redrive_policy_is_an_error_that_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    warned, ready = announced(monkeypatch, World(dlq=None))
    assert (warned["event"], warned["log_level"], warned["queue"]) == (NO_POLICY, "error", World.url)
    assert ready["event"] == "archiver ready"


def test_a_queue_out_of_reach_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    warned, ready = announced(monkeypatch, World(error=QueueUnavailable("input: away")))
    assert warned["event"] == "the source queue's redrive policy could not be read"
    assert (warned["queue"], warned["error"]) == ("input", "input: away")
    assert ready["event"] == "archiver ready"


def test_a_bucket_that_is_not_there_is_an_error_that_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(buckets={"archives": status(404)})
    missing, ready = announced(monkeypatch, world, s3_source_bucket="photos")
    assert world.looked_at == ["photos", "archives"]
    assert (missing["event"], missing["log_level"]) == ("no such bucket", "error")
    assert (missing["setting"], missing["bucket"]) == ("S3_DESTINATION_BUCKET", "archives")
    assert ready["event"] == "archiver ready"


def test_who_may_not_list_a_bucket_may_be_right_to_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (ready,) = announced(monkeypatch, World(buckets={"archives": status(403)}))
    assert ready["event"] == "archiver ready"


def test_a_bucket_out_of_reach_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(buckets={"archives": EndpointConnectionError(endpoint_url="https://s3.example")})
    warned, ready = announced(monkeypatch, world)
    assert (warned["event"], warned["log_level"]) == ("a bucket could not be looked at", "warning")
    assert ready["event"] == "archiver ready"
