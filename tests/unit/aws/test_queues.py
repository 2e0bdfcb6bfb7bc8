"""A queue by name or URL: looked up once, asked, sent to; what SQS refuses names the queue and its setting."""

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from archiver.aws.queues import Queue, dead_letter_url, no_such_queue, queue_name
from archiver.errors import QueueUnavailable

URL = "https://sqs.eu-central-1.amazonaws.com/000000000000/input-queue"
POLICY = json.dumps(
    {"deadLetterTargetArn": "arn:aws:sqs:eu-central-1:000000000000:input-queue-dlq", "maxReceiveCount": "2"}
)


@pytest.fixture
def client() -> Any:
    return boto3.client("sqs", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    "given",
    ["q.fifo", "https://sqs.eu-west-1.amazonaws.com/1/q.fifo", "http://127.0.0.1:4566/queue/us-east-1/0/q.fifo/"],
)
def test_the_name_is_the_last_segment(given: str) -> None:
    assert queue_name(given) == "q.fifo"


def test_a_name_is_looked_up_once(client: Any, stub: Stubber) -> None:
    stub.add_response("get_queue_url", {"QueueUrl": URL}, {"QueueName": "input-queue"})
    queue = Queue(client, "input-queue")
    assert [queue.url, queue.url] == [URL, URL]


def test_a_queue_that_is_not_there_is_named_with_its_setting(client: Any, stub: Stubber) -> None:
    stub.add_client_error("get_queue_url", "AWS.SimpleQueueService.NonExistentQueue", "it does not exist")
    with pytest.raises(QueueUnavailable, match="SQS_SOURCE_QUEUE='typo': it does not exist") as caught:
        _ = Queue(client, "typo", setting="SQS_SOURCE_QUEUE").url
    assert no_such_queue(caught.value.__cause__)  # type: ignore[arg-type]  # there is a cause


def test_an_answer_without_a_url_is_a_failure(client: Any, stub: Stubber) -> None:
    stub.add_response("get_queue_url", {}, {"QueueName": "input-queue"})
    with pytest.raises(QueueUnavailable, match="names no URL"):
        _ = Queue(client, "input-queue").url


def test_a_standard_queue_gets_no_group(client: Any, stub: Stubber) -> None:
    stub.add_response("send_message", {"MessageId": "m"}, {"QueueUrl": URL, "MessageBody": "{}"})
    assert Queue(client, URL).send("{}", group_id="g", deduplication_id="d") == "m"


@pytest.mark.parametrize("given", ["x" * 129, "a b", "ü", ""])
def test_ids_that_a_fifo_queue_would_refuse_are_made_to_fit(client: Any, stub: Stubber, given: str) -> None:
    sent: list[dict[str, Any]] = []
    client.meta.events.register("provide-client-params.sqs.SendMessage", lambda params, **_: sent.append(params))
    for _ in range(2):
        stub.add_response("send_message", {"MessageId": "m"})

    Queue(client, f"{URL}.fifo").send("{}", group_id=given, deduplication_id=f"{given}1")
    Queue(client, f"{URL}.fifo").send("{}", group_id=given, deduplication_id=f"{given}2")

    assert sent[0]["MessageGroupId"] == sent[1]["MessageGroupId"]
    ids = {message["MessageGroupId"] for message in sent} | {message["MessageDeduplicationId"] for message in sent}
    assert len(ids) == 3
    assert all(re.fullmatch(r"[0-9a-f]{64}", text) for text in ids if text not in {"1", "2"})


def test_a_standard_queue_gets_the_tenant_as_its_group(client: Any, stub: Stubber) -> None:
    expected = {"QueueUrl": URL, "MessageBody": "{}", "MessageGroupId": "acme"}
    stub.add_response("send_message", {"MessageId": "m"}, expected)
    assert Queue(client, URL).send("{}", group_id="g", deduplication_id="d", tenant="acme") == "m"


def test_a_fifo_queue_has_no_tenants_for_one_job_would_wait_for_another(client: Any, stub: Stubber) -> None:
    url = f"{URL}.fifo"
    expected = {"QueueUrl": url, "MessageBody": "{}", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    stub.add_response("send_message", {"MessageId": "m"}, expected)
    assert Queue(client, url).send("{}", group_id="g", deduplication_id="d", tenant="acme") == "m"


def test_a_fifo_queue_gets_a_group_and_a_deduplication_id(client: Any, stub: Stubber) -> None:
    url = f"{URL}.fifo"
    expected = {"QueueUrl": url, "MessageBody": "{}", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    stub.add_response("send_message", {"MessageId": "m"}, expected)
    assert Queue(client, url).send("{}", group_id="g", deduplication_id="d") == "m"


def test_an_answer_without_a_message_id_is_a_failure(client: Any, stub: Stubber) -> None:
    # What boto3 makes of a page that some gateway answers in SQS's place.
    stub.add_response("send_message", {}, {"QueueUrl": URL, "MessageBody": "{}"})
    with pytest.raises(QueueUnavailable, match="no MessageId"):
        Queue(client, URL).send("{}", group_id="g", deduplication_id="d")


def test_sqs_that_is_away_is_a_failure_that_names_the_queue() -> None:
    class Away:
        def send_message(self, **_: Any) -> None:
            raise EndpointConnectionError(endpoint_url=URL)

    with pytest.raises(QueueUnavailable, match="input-queue failed"):
        Queue(Away(), URL).send("{}", group_id="g", deduplication_id="d")  # type: ignore[arg-type]  # as far as asked


def test_the_dead_letter_queue_is_that_of_the_policy(client: Any, stub: Stubber) -> None:
    asked = {"QueueUrl": URL, "AttributeNames": ["RedrivePolicy"]}
    stub.add_response("get_queue_attributes", {"Attributes": {"RedrivePolicy": POLICY}}, asked)
    stub.add_response("get_queue_attributes", {"Attributes": {}}, asked)
    found = Queue(client, URL).dead_letter_queue()
    assert found is not None
    assert found.url == f"{URL}-dlq"
    assert Queue(client, URL).dead_letter_queue() is None


def test_a_final_slash_is_none_of_a_queues_name(client: Any) -> None:
    queue = Queue(client, f"{URL}.fifo/")
    assert (queue.url, queue.name, queue.is_fifo) == (f"{URL}.fifo", "input-queue.fifo", True)


def test_the_policys_queue_lives_beside_its_source() -> None:
    assert dead_letter_url(f"{URL}/", POLICY) == f"{URL}-dlq"
    assert dead_letter_url("http://127.0.0.1:4566/queue/us-east-1/000000000000/q", POLICY) == (
        "http://127.0.0.1:4566/queue/us-east-1/000000000000/input-queue-dlq"
    )
    assert dead_letter_url(URL, None) is None


def test_a_batch_is_one_request(client: Any, stub: Stubber) -> None:
    attributes = {"Correlation-Id": {"DataType": "String", "StringValue": "c"}}
    entries = [{"Id": str(n), "MessageBody": body, "MessageAttributes": attributes} for n, body in enumerate("ab")]
    sent = [{"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "5"} for entry in entries]
    answer = {"Successful": sent, "Failed": []}
    stub.add_response("send_message_batch", answer, {"QueueUrl": URL, "Entries": entries})

    Queue(client, URL).send_batch(["a", "b"], attributes=attributes)


def test_a_batch_that_is_not_sent_as_a_whole_is_a_failure(client: Any, stub: Stubber) -> None:
    failed = [{"Id": "1", "SenderFault": False, "Code": "InternalError", "Message": "later"}]
    sent = [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "5"}]
    stub.add_response("send_message_batch", {"Successful": sent, "Failed": failed})
    stub.add_client_error("send_message_batch", "AccessDenied", "not yours")

    queue = Queue(client, URL, setting="SQS_CREW_QUEUE")
    with pytest.raises(QueueUnavailable, match=r"1 of 2 messages not sent to SQS_CREW_QUEUE='http.*': later"):
        queue.send_batch(["a", "b"])
    with pytest.raises(QueueUnavailable, match="not yours"):
        queue.send_batch(["a"])
