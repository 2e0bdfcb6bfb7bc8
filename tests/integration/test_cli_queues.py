"""The commands that work on queues, on a real server: submit and dlq."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from archiver.client import ArchiverClient
from devtools.localstack import LocalStack
from devtools.messages import depth, receive, send
from devtools.stack import Stack
from tests.conftest import StackClient
from tests.support.command import Outcome, run, run_process
from tests.support.envelopes import celery_v2, outer
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from devtools.worker import Worker

pytestmark = pytest.mark.localstack


@pytest.fixture
def environment(localstack: LocalStack, stack: Stack) -> dict[str, str]:
    return localstack.environment | stack.environment


def test_submit_sends_the_payload_as_raw_json(sqs: "SQSClient", stack: Stack, environment: dict[str, str]) -> None:
    payload = '{"files": [{"source": "ä.jpg"}], "metadata": {"order": 7}}'

    outcome = run("submit", "-", "--correlation-id", "abc", environment=environment, stdin=payload)

    (message,) = receive(sqs, stack.input_url, count=1, seconds=LONG_ENOUGH)
    assert (outcome.exit_code, outcome.stdout) == (0, f"{message.id}\n")
    assert message.json == json.loads(payload)
    assert message.attributes == {"Correlation-Id": "abc"}


def test_submit_as_a_process_prints_json(sqs: "SQSClient", stack: Stack, environment: dict[str, str]) -> None:
    outcome = run_process("submit", "--source", "a.jpg", "--prefix", "b", "--json", environment=environment)

    (message,) = receive(sqs, stack.input_url, count=1, seconds=LONG_ENOUGH)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.json == {"request_id": message.id}
    assert message.json == {"files": [{"source": "a.jpg"}, {"source": "b/"}]}


def test_submit_to_a_queue_that_does_not_exist_names_the_setting(environment: dict[str, str]) -> None:
    outcome = run("submit", "--source", "a.jpg", environment=environment | {"SQS_SOURCE_QUEUE": "not-there"})

    assert outcome.exit_code == 1
    assert outcome.complaint.startswith("error: SQS_SOURCE_QUEUE='not-there': ")


def test_submit_can_wait_only_where_there_is_a_notification(environment: dict[str, str]) -> None:
    del environment["SQS_DESTINATION_QUEUE"]

    outcome = run("submit", "--source", "a.jpg", "--wait", environment=environment)

    assert outcome.exit_code == 2
    assert "SQS_DESTINATION_QUEUE" in outcome.complaint


def test_submit_waits_for_its_own_notification_and_leaves_the_others(
    client: StackClient, sqs: "SQSClient", stack: Stack, environment: dict[str, str], worker: "Worker"
) -> None:
    client.put("source.jpg", b"picture")
    others = {send(sqs, stack.output_url, {"request_id": f"other-{number}"}) for number in range(12)}

    outcome = run("submit", "--source", "source.jpg", "--wait", environment=environment)

    assert outcome.exit_code == 0, outcome
    _, archive, url, told = outcome.stdout.splitlines()
    assert archive.startswith(f"s3://{stack.archive_bucket}/")
    assert url.startswith("http://")
    assert told.startswith("1 file, ")
    left = receive(sqs, stack.output_url, count=len(others), seconds=LONG_ENOUGH)
    assert {message.id for message in left} == others
    assert depth(sqs, stack.output_url) == (0, 0, 0)
    assert {message.receive_count for message in left} == {2}  # our look, and this one
    # A failure is waited for as well: in the dead-letter queue.
    failed = run("submit", "--source", "gone.jpg", "--wait", "--json", environment=environment)
    assert failed.exit_code == 1
    assert failed.json["status"] == "failed"
    assert failed.json["error"] == {"code": "missing_sources", "message": "1 missing source(s): gone.jpg"}
    assert eventually(lambda: depth(sqs, stack.input_dlq_url)[0] == 1)
    worker.kill()  # how it stops is another test's business


def test_submit_gives_up_waiting(environment: dict[str, str], sqs: "SQSClient", stack: Stack) -> None:
    other = send(sqs, stack.output_url, "not even JSON")

    outcome = run("submit", "--source", "a.jpg", "--wait", "--timeout", "1", environment=environment)

    assert outcome.exit_code == 1
    assert outcome.complaint.startswith("error: no notification within 1 s")
    assert [message.id for message in receive(sqs, stack.output_url, count=1, seconds=LONG_ENOUGH)] == [other]


@pytest.fixture
def letters(sqs: "SQSClient", stack: Stack) -> list[str]:
    """Three dead letters with reasons, then one that SQS itself has moved."""
    ids = [
        send(
            sqs,
            stack.input_dlq_url,
            {"files": [{"source": f"gone-{number}.jpg"}]},
            attributes={
                "Error-Code": "missing_sources",
                "Error-Message": f"1 missing source(s): gone-{number}.jpg",
                "Original-Message-Id": f"original-{number}",
                "Receive-Count": "1",
                "Attempts": "1",
                "Correlation-Id": f"order-{number}",
            },
        )
        for number in range(3)
    ]
    return [*ids, send(sqs, stack.input_dlq_url, "not json")]


def listed(environment: dict[str, str]) -> list[str]:
    outcome = run("dlq", "list", "--json", environment=environment)
    assert outcome.exit_code == 0
    return [letter["message_id"] for letter in outcome.json]


def test_dlq_list_shows_reasons_and_takes_nothing_away(letters: list[str], environment: dict[str, str]) -> None:
    outcome = run("dlq", "list", environment=environment)

    assert outcome.exit_code == 0
    assert all(f"original-{number}" in outcome.stdout for number in range(3))
    assert letters[3] in outcome.stdout, "SQS has moved it: its request is the message"
    assert "1 missing source(s): gone-2.jpg" in outcome.stdout
    assert "no_reason" in outcome.stdout
    assert eventually(lambda: set(listed(environment)) == set(letters))


def test_dlq_list_has_what_a_program_wants(letters: list[str], environment: dict[str, str]) -> None:
    first = run("dlq", "list", "--json", environment=environment).json[0]

    assert first.pop("since").startswith("20")
    assert first == {
        "message_id": letters[0],
        "request_id": "original-0",
        "attempts": 1,
        "error": {"code": "missing_sources", "message": "1 missing source(s): gone-0.jpg"},
        "attributes": {"Correlation-Id": "order-0"},
    }


def test_dlq_list_of_an_empty_queue_says_so(environment: dict[str, str]) -> None:
    assert run("dlq", "list", environment=environment).stdout == "no dead letters\n"
    assert listed(environment) == []


def test_dlq_show_has_the_body(letters: list[str], environment: dict[str, str]) -> None:
    text = run("dlq", "show", letters[1], environment=environment)
    assert text.exit_code == 0
    assert "reason: 1 missing source(s): gone-1.jpg" in text.stdout
    assert '"source": "gone-1.jpg"' in text.stdout

    def shown() -> Outcome:
        return run("dlq", "show", letters[3], "--json", environment=environment)

    assert eventually(lambda: shown().exit_code == 0)


def test_dlq_takes_the_requests_id(letters: list[str], environment: dict[str, str]) -> None:
    by_request = run("dlq", "show", "original-1", "--json", environment=environment).json
    assert by_request["message_id"] == letters[1]
    assert eventually(lambda: set(listed(environment)) == set(letters))

    assert run("dlq", "drop", "original-2", environment=environment).stdout == "dropped 1 message(s)\n"
    assert eventually(lambda: set(listed(environment)) == {letters[0], letters[1], letters[3]})

    redriven = run("dlq", "redrive", "original-0", environment=environment)
    assert redriven.stdout.startswith("original-0 is now request ")
    assert eventually(lambda: set(listed(environment)) == {letters[1], letters[3]})


def test_dlq_redrives_a_request_with_two_dead_letters_once(
    sqs: "SQSClient", stack: Stack, environment: dict[str, str]
) -> None:
    reasons = {"Error-Code": "missing_sources", "Request-Id": "twice", "Original-Message-Id": "twice"}
    ids = {send(sqs, stack.input_dlq_url, "{}", attributes=reasons) for _ in range(2)}

    outcome = run("dlq", "redrive", "twice", environment=environment)

    assert outcome.exit_code == 1
    assert outcome.complaint.startswith("error: ID='twice': 2 dead letters are of this request: redrive one of ")
    assert all(one in outcome.complaint for one in ids)
    assert eventually(lambda: set(listed(environment)) == ids)
    assert run("dlq", "drop", "twice", environment=environment).stdout == "dropped 2 message(s)\n"


def test_watch_and_status_tell_of_a_request_among_the_dead_letters(
    letters: list[str], environment: dict[str, str]
) -> None:
    environment |= {"STATUS_PREFIX": "status/"}
    assert letters

    for command in ("watch", "status"):
        in_a_line = run(command, "original-1", environment=environment)
        assert in_a_line.exit_code == 1
        assert in_a_line.stdout == "failed: 1 missing source(s): gone-1.jpg (missing_sources)\n"
        as_json = run(command, "original-1", "--json", environment=environment).json
        assert (as_json["state"], as_json["notification"]["error"]["code"]) == ("failed", "missing_sources")
        assert eventually(lambda: set(listed(environment)) == set(letters))


def test_dlq_redrive_gives_one_message_back_without_its_reasons(
    letters: list[str], sqs: "SQSClient", stack: Stack, environment: dict[str, str]
) -> None:
    outcome = run("dlq", "redrive", letters[1], "--json", environment=environment)

    (message,) = receive(sqs, stack.input_url, count=1, seconds=LONG_ENOUGH)
    assert outcome.json == {"redriven": [{"message_id": letters[1], "was": "original-1", "request_id": message.id}]}
    assert message.json == {"files": [{"source": "gone-1.jpg"}]}
    assert message.attributes == {"Correlation-Id": "order-1"}
    assert eventually(lambda: listed(environment) == [letters[0], *letters[2:]])


def test_dlq_knows_a_celery_call_by_the_calls_id(sqs: "SQSClient", stack: Stack, environment: dict[str, str]) -> None:
    # given a call that SQS has moved, and one that the worker has, when its sender's clock was ahead
    exhausted = send(sqs, stack.input_dlq_url, outer(celery_v2(id="call-1")))
    reasons = {"Error-Code": "message_expired", "Original-Message-Id": "original", "Request-Id": "call-2"}
    refused = send(sqs, stack.input_dlq_url, outer(celery_v2(id="call-2")), attributes=reasons)

    shown = {
        letter["message_id"]: letter["request_id"]
        for letter in run("dlq", "list", "--json", environment=environment).json
    }
    assert shown == {exhausted: "call-1", refused: "call-2"}
    assert eventually(lambda: len(listed(environment)) == 2)
    assert "request: call-1\n" in run("dlq", "show", exhausted, environment=environment).stdout
    assert eventually(lambda: len(listed(environment)) == 2)

    # the worker will know the redriven call by its id again
    redriven = run("dlq", "redrive", refused, environment=environment)
    assert redriven.stdout == "call-2 is now request call-2\n"
    (message,) = receive(sqs, stack.input_url, count=1, seconds=LONG_ENOUGH)
    assert message.attributes == {}


def test_dlq_shows_what_a_terminal_bears(sqs: "SQSClient", stack: Stack, environment: dict[str, str]) -> None:
    body = "no JSON \x9b2J ?X-Amz-Signature=5ecre7"
    letter = send(sqs, stack.input_dlq_url, body, attributes={"Correlation-Id": "two\nlines"})

    shown = run("dlq", "show", letter, environment=environment).stdout

    assert "no JSON \ufffd2J ?X-Amz-Signature=REDACTED\n" in shown
    assert "Correlation-Id: two lines\n" in shown
    assert eventually(lambda: listed(environment) == [letter])
    assert run("dlq", "show", letter, "--json", environment=environment).json["body"] == body


def test_dlq_redrive_all_empties_the_queue(
    letters: list[str], sqs: "SQSClient", stack: Stack, environment: dict[str, str]
) -> None:
    outcome = run("dlq", "redrive", "--all", environment=environment)

    assert outcome.stdout == "started: SQS moves about 4 message(s)\n"
    assert len(receive(sqs, stack.input_url, count=4, seconds=LONG_ENOUGH)) == 4
    assert eventually(lambda: listed(environment) == [])


def test_dlq_drop_deletes_what_is_named(letters: list[str], environment: dict[str, str]) -> None:
    outcome = run("dlq", "drop", letters[0], letters[3], environment=environment)

    assert outcome.stdout == "dropped 2 message(s)\n"
    assert eventually(lambda: listed(environment) == letters[1:3])


def test_dlq_drop_of_all_asks_first(letters: list[str], environment: dict[str, str]) -> None:
    refused = run("dlq", "drop", "--all", environment=environment, stdin="n\n")
    assert refused.exit_code == 1
    assert eventually(lambda: listed(environment) == letters)

    unasked = run("dlq", "drop", "--all", "--json", environment=environment)
    assert (unasked.exit_code, unasked.error["code"]) == (2, "usage")

    assert run("dlq", "drop", "--all", "--yes", "--json", environment=environment).exit_code == 0
    assert listed(environment) == []


@pytest.mark.parametrize("command", ["show", "redrive", "drop"])
def test_dlq_names_a_message_that_is_not_there(command: str, letters: list[str], environment: dict[str, str]) -> None:
    outcome = run("dlq", command, "no-such-id", environment=environment)

    assert outcome.exit_code == 1
    assert outcome.complaint.startswith("error: ID='no-such-id': there is no such dead letter")


@pytest.mark.parametrize("command", ["redrive", "drop"])
def test_dlq_wants_ids_or_all(command: str, environment: dict[str, str]) -> None:
    for arguments in ((), ("some-id", "--all")):
        outcome = run("dlq", command, *arguments, environment=environment)
        assert (outcome.exit_code, outcome.complaint) == (2, "error: give either IDs or --all (usage)")


def test_dlq_of_a_queue_that_has_none_says_so(stack: Stack, environment: dict[str, str]) -> None:
    alone = f"{stack.names.input_queue}-dlq"

    outcome = run("dlq", "list", environment=environment | {"SQS_SOURCE_QUEUE": alone})

    assert outcome.exit_code == 1
    assert outcome.complaint.startswith(f"error: SQS_SOURCE_QUEUE='{alone}' has no dead-letter queue")


def test_the_client_sends_what_a_worker_takes(sqs: "SQSClient", stack: Stack) -> None:
    archiver = ArchiverClient(stack.names.input_queue, sqs=sqs)

    with ThreadPoolExecutor(4) as threads:
        ids = list(threads.map(lambda number: archiver.submit([f"{number}.jpg"]), range(8)))

    assert {message.id for message in receive(sqs, stack.input_url, count=8, seconds=LONG_ENOUGH)} == set(ids)
