"""What the doctor makes of a bucket's lifecycle rules and of a dead-letter queue;
the rest of it is tested on a real server."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from archiver.aws.queues import Queue
from archiver.cli.checks import lifecycle, redrive


class Bucket:
    """A bucket with these rules; an error in their place is raised."""

    def __init__(self, rules: list[dict[str, Any]] | Exception) -> None:
        self.rules = rules

    def get_bucket_lifecycle_configuration(self, *, Bucket: str) -> dict[str, Any]:  # noqa: N803 boto3's names
        if isinstance(self.rules, Exception):
            raise self.rules
        return {"Rules": self.rules}


def rule(days: int = 2, *, status: str = "Enabled", **more: Any) -> dict[str, Any]:
    return {"ID": "x", "Status": status, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}} | more


def denied(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetBucketLifecycleConfiguration")


@pytest.mark.parametrize(
    ("rules", "state", "detail"),
    [
        ([rule(7, Filter={"Prefix": ""}), rule(2, Filter={})], "ok", "after 2 day"),
        ([rule(3, Prefix="")], "ok", "after 3 day"),
        ([rule(status="Disabled", Filter={})], "warning", "none"),
        ([rule(Filter={"Prefix": "logs/"})], "warning", "none"),
        ([rule(Prefix="logs/")], "warning", "none"),
        ([rule(Filter={"Tag": {"Key": "a", "Value": "b"}})], "warning", "none"),
        ([{"ID": "x", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}], "warning", "none"),
        (denied("NoSuchLifecycleConfiguration"), "warning", "none"),
        (denied("AccessDenied"), "warning", "can't be read"),
        (EndpointConnectionError(endpoint_url="http://s3"), "warning", "can't be read"),
    ],
)
def test_only_a_rule_for_every_upload_counts(rules: Any, state: str, detail: str) -> None:
    check = lifecycle(Bucket(rules), "zip-storage")

    assert check.state == state
    assert detail in check.detail
    assert (check.mend is None) == (state == "ok")


class DeadLetterQueue:
    """A dead-letter queue that takes messages of this size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {
            "Attributes": {
                "ApproximateNumberOfMessages": "0",
                "MessageRetentionPeriod": "1209600",
                "MaximumMessageSize": str(self.size),
            }
        }


@pytest.mark.parametrize(("size", "state"), [(1_048_576, "ok"), (262_144, "warning")])
def test_dead_letters_have_the_room_that_messages_have(size: int, state: str) -> None:
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:input-dlq", "maxReceiveCount": 50})
    found = {"RedrivePolicy": policy, "MessageRetentionPeriod": "345600", "MaximumMessageSize": "1048576"}
    queue = Queue(DeadLetterQueue(size), "https://sqs.eu-west-1.amazonaws.com/1/input")  # type: ignore[arg-type]  # as far as asked

    (check,) = redrive(queue, found, 5)

    assert check.state == state
    assert ("takes 262144 bytes" in check.detail) == (state == "warning")
