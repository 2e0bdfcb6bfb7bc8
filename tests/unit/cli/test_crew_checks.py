"""What the doctor makes of the crew's queue, and of a right that it lacks there."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from archiver.aws.queues import Queue
from archiver.cli.crew_checks import dead_letters, encryption, receiving, timing
from archiver.settings import Settings

URL = "https://sqs.eu-west-1.amazonaws.com/1/crew"
SETTINGS = Settings(
    sqs_source_queue="input", s3_destination_bucket="zip", sqs_crew_queue="crew", visibility_timeout_seconds=120
)
EMPTY = {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "2"}


class Sqs:
    """SQS as far as asked, which denies some operations."""

    def __init__(self, *denied: str) -> None:
        self.denied = denied
        self.asked: list[str] = []

    def receive_message(self, **_: Any) -> dict[str, Any]:
        return self._answer("ReceiveMessage")

    def change_message_visibility(self, **_: Any) -> dict[str, Any]:
        self._answer("ChangeMessageVisibility")
        raise refusal("ReceiptHandleIsInvalid", "ChangeMessageVisibility")

    def _answer(self, operation: str) -> dict[str, Any]:
        self.asked.append(operation)
        if operation in self.denied:
            raise refusal("AccessDeniedException", operation)
        return {}


def refusal(code: str, operation: str) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(answer, operation)


def queue(*denied: str, name: str = "crew") -> Queue:
    return Queue(Sqs(*denied), URL.replace("crew", name))  # type: ignore[arg-type]  # as far as asked


# ---- receiving ----


def test_who_may_receive_is_told_what_waits() -> None:
    check = receiving(queue(), EMPTY, queue(name="input"))

    assert (check.state, check.detail) == ("ok", "crew: 0 chunks waiting, 2 in work")


def test_a_worker_that_may_not_receive_is_warned() -> None:
    check = receiving(queue("ReceiveMessage"), EMPTY, queue(name="input"))

    assert check.state == "warning"
    assert "sqs:ReceiveMessage" in str(check.mend)


def test_an_operator_who_may_not_receive_is_not_blamed() -> None:
    check = receiving(queue("ReceiveMessage"), EMPTY, queue("ChangeMessageVisibility", name="input"))

    assert check.state == "ok"
    assert "only its own role" in check.detail


def test_a_chunk_that_waits_is_left_to_the_workers() -> None:
    asked = queue("ReceiveMessage")

    check = receiving(asked, EMPTY | {"ApproximateNumberOfMessages": "7"}, queue(name="input"))

    assert check.state == "ok"
    assert asked.client.asked == []  # type: ignore[attr-defined]  # ours


def test_what_is_no_denial_is_not_taken_for_one() -> None:
    class Broken(Sqs):
        def receive_message(self, **_: Any) -> dict[str, Any]:
            raise refusal("ServiceUnavailable", "ReceiveMessage")

    with pytest.raises(ClientError, match="ServiceUnavailable"):
        receiving(Queue(Broken(), URL), EMPTY, queue(name="input"))  # type: ignore[arg-type]  # as far as asked


# ---- attributes ----


def test_dead_letters_are_a_warning() -> None:
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:crew-dlq", "maxReceiveCount": 5})

    right, wrong = dead_letters(queue(), {}), dead_letters(queue(), {"RedrivePolicy": policy})

    assert (right.state, right.mend) == ("ok", None)
    assert wrong.state == "warning"
    assert "crew-dlq" in wrong.detail
    assert str(wrong.mend).endswith(f"--queue-url {URL} --attributes RedrivePolicy=")


@pytest.mark.parametrize(
    ("kept", "delay", "state", "mend"),
    [
        (14_400, 0, "ok", None),
        (900, 0, "ok", None),
        (86_400, 0, "ok", None),
        (899, 0, "warning", "MessageRetentionPeriod=14400"),
        (60, 0, "warning", "MessageRetentionPeriod=14400"),
        (345_600, 0, "warning", "MessageRetentionPeriod=14400"),
        (14_400, 30, "warning", "DelaySeconds=0"),
    ],
)
def test_chunks_live_for_hours_and_come_at_once(kept: int, delay: int, state: str, mend: str | None) -> None:
    check = timing(queue(), {"MessageRetentionPeriod": str(kept), "DelaySeconds": str(delay)}, SETTINGS)

    assert check.state == state
    assert check.mend is None or check.mend.endswith(str(mend))
    assert (check.mend is None) == (mend is None)


def test_a_chunk_outlives_the_worker_that_died_with_it() -> None:
    hours = SETTINGS.model_copy(update={"visibility_timeout_seconds": 20_000})

    check = timing(queue(), {"MessageRetentionPeriod": "14400"}, hours)

    assert check.state == "warning"
    assert str(check.mend).endswith("MessageRetentionPeriod=20000")


@pytest.mark.parametrize(
    ("ours", "theirs", "state", "says"),
    [
        ({}, {}, "ok", "as that of payloads"),
        ({"KmsMasterKeyId": "k"}, {"KmsMasterKeyId": "k"}, "ok", "as that of payloads"),
        ({"SqsManagedSseEnabled": "true"}, {"SqsManagedSseEnabled": "true"}, "ok", "as that of payloads"),
        ({"SqsManagedSseEnabled": "true"}, {"KmsMasterKeyId": "k"}, "warning", "KmsMasterKeyId=k"),
        ({"SqsManagedSseEnabled": "false"}, {"SqsManagedSseEnabled": "true"}, "warning", "SqsManagedSseEnabled=true"),
        ({"KmsMasterKeyId": "other"}, {"KmsMasterKeyId": "k"}, "ok", "kms:GenerateDataKey"),
    ],
)
def test_chunks_are_encrypted_as_payloads_are(
    ours: dict[str, str], theirs: dict[str, str], state: str, says: str
) -> None:
    check = encryption(queue(), ours, theirs)

    assert check.state == state
    assert says in f"{check.detail} {check.mend}"
