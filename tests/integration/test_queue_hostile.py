"""Messages that mean harm, or do it without meaning to: each ends with its reason, and none gives a secret away."""

import base64
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from devtools.localstack import LocalStack
from devtools.messages import Message, receive
from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient, StartWorker
from tests.integration.conftest import Journal, command
from tests.support.command import run
from tests.support.envelopes import celery_v1, celery_v2, outer
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack

SECRET = "5ecre75ecre75ecre7"
PRESIGNED = (
    "https://bucket.s3.eu-west-1.amazonaws.com/a.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    f"&X-Amz-Credential={SECRET}&X-Amz-Security-Token={SECRET}&X-Amz-Signature={SECRET}"
)
#: In each body's metadata, which the consumer gets and no log line does.
MARKER = "b0dymark3r"


def log_lines(worker: Worker) -> list[dict[str, Any]]:
    """The worker's log; fails where a line is no JSON object."""
    return [json.loads(line) for line in worker.output().splitlines()]


def by_request(letters: list[Message]) -> dict[str, tuple[str, str]]:
    return {
        letter.attributes["Request-Id"]: (letter.attributes["Error-Code"], letter.attributes["Error-Message"])
        for letter in letters
    }


def test_time_limits_that_are_none_stop_no_process(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    # given a worker that has nothing to do
    worker = scripted_worker()
    children = worker.children()
    # when calls arrive whose limits once ended the worker, or one of its processes each
    limits = [[10**400, None], [None, 10**400], [1e-9, None], [0.001, None], [-1, None], ["1", "2"], [1e300, None]]
    for number, timelimit in enumerate(limits):
        make = celery_v1 if number % 2 else celery_v2
        client.send(outer(make(id=f"call-{number}", timelimit=timelimit)))
    client.send(outer(celery_v2([command("succeed")], id="good", timelimit=[43_200, None])))
    # then each is refused with a reason that names the limit, under the call's own id
    dead = by_request(client.dead_letters(len(limits)))
    assert set(dead) == {f"call-{number}" for number in range(len(limits))}
    assert {code for code, _ in dead.values()} == {"unsupported_call"}
    assert all("time_limit=" in reason for _, reason in dead.values())
    # and the next job is done, by the same processes
    assert [line["id"] for line in journal.wait("end")] == ["good"]
    assert worker.alive()
    assert worker.children() == children
    assert log_lines(worker)


@pytest.mark.parametrize(("timelimit", "name"), [([2, None], "time_limit=2"), ([None, 2], "soft_time_limit=2")])
def test_a_job_that_its_limit_ends_is_a_dead_letter_with_that_reason(
    timelimit: list[int | None],
    name: str,
    scripted_worker: Callable[..., Worker],
    client: StackClient,
    journal: Journal,
) -> None:
    # given a call with a limit, and a job that takes longer
    worker = scripted_worker()
    client.send(outer(celery_v2([command("hold")], id="too-long", timelimit=timelimit)))
    # when the limit has ended it
    (dead,) = client.dead_letters(1)
    # then its first attempt was its last one, and the consumer is told
    code, reason = by_request([dead])["too-long"]
    assert code == "time_limit_exceeded"
    assert f" {name} " in reason
    assert dead.attributes["Receive-Count"] == "1"
    assert [line["code"] for line in journal.wait("failure notified")] == ["time_limit_exceeded"]
    # and the log says it under the request's id
    assert worker.wait_for_log("message dead-lettered")
    told = [line for line in log_lines(worker) if line["message"] in ("job failed", "message dead-lettered")]
    assert {(line["request_id"], line["code"]) for line in told} == {("too-long", "time_limit_exceeded")}
    assert all(line.get("request_id") == "too-long" for line in log_lines(worker) if "time limit" in line["message"])
    # and the worker goes on
    client.send(command("succeed"))
    assert journal.wait("end")
    assert len(journal.lines("begin")) == 2


def test_a_pool_that_loses_processes_logs_json(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    # given jobs whose first attempts take their process along
    worker = scripted_worker(APP_DEBUG="1")
    for _ in range(3):
        client.send(command("die"))
    # when all are done
    assert len(journal.wait("end", count=3)) == 3
    # then the worker has told of the processes, and in its own form
    lost = [line for line in log_lines(worker) if "exited with" in line["message"] and "SIGKILL" in line["message"]]
    assert len(lost) == 3


def test_a_correlation_id_of_control_characters_costs_no_reason(
    scripted_worker: Callable[..., Worker], client: StackClient
) -> None:
    # given an SNS notification whose correlation id SQS would refuse as an attribute, and one without end
    scripted_worker()
    for value in ("nul \0 esc \x1b[2J", "x" * 200_000):
        attributes = {"Correlation-Id": {"Type": "String", "Value": value}}
        client.send({"Type": "Notification", "Message": "no job", "MessageAttributes": attributes})
    # when both are dead letters
    dead = client.dead_letters(2)
    # then both have their reason, and a correlation id that can be read
    assert {letter.attributes["Error-Code"] for letter in dead} == {"unreadable_message"}
    found = sorted(letter.attributes["Correlation-Id"] for letter in dead)
    assert found == ["nul \ufffd esc \ufffd[2J", "x" * 255 + "…"]


def test_no_output_of_a_hostile_run_holds_a_secret(
    start_worker: StartWorker, client: StackClient, sqs: "SQSClient", stack: Stack, localstack: LocalStack
) -> None:
    # given a worker that says all it can
    worker = start_worker(APP_DEBUG="1", NOTIFY_FAILURES="1", S3_SOURCE_BUCKET=stack.source_bucket)
    client.put("there.txt", b"here")
    # when presigned URLs stand wherever a message has a text
    marked = {"metadata": {"marker": MARKER}}
    failing: list[dict[str, Any]] = [
        {"files": [{"source": PRESIGNED}]},
        {"files": [{"source": "there.txt"}], "compression": PRESIGNED},
        {"files": [{"source": "there.txt", "destination": {"url": PRESIGNED}}]},
        {"files": [{"source": "there.txt"}], "filename": PRESIGNED},
        {"files": [{"source": f"s3://b/{'x' * 90}?versionId=1&{PRESIGNED}"}]},
        {"files": PRESIGNED},
    ]
    succeeding: dict[str, Any] = {
        "files": [{"source": "there.txt", PRESIGNED: 1}, {"source": PRESIGNED}],
        "on_missing": "skip",
        PRESIGNED: PRESIGNED,
    }
    for payload in [*failing, succeeding]:
        client.send(payload | marked, Correlation_Id="r-7")
    client.send(succeeding | marked, Correlation_Id=PRESIGNED)
    client.send(outer(celery_v2([marked], task=PRESIGNED)))
    client.send(outer(celery_v2([marked], eta=PRESIGNED)))
    # then each has ended
    dead = client.dead_letters(len(failing) + 2)
    assert len(dead) == len(failing) + 2
    told = receive(sqs, stack.output_url, count=len(failing) + 4, seconds=120)
    assert len(told) == len(failing) + 4
    # and no attribute, no notification, and no line of the log has the secret
    for letter in dead:
        assert SECRET not in json.dumps(dict(letter.attributes))
    for notification in told:
        assert SECRET not in notification.body
        assert SECRET not in json.dumps(dict(notification.attributes))
    assert eventually(lambda: worker.output().count("job done") >= 2)
    log = worker.output()
    assert log_lines(worker)
    assert SECRET not in log
    assert "REDACTED" in log
    # nor a body, nor a receipt handle, which the emulator makes of the queue's name
    assert MARKER not in log
    for token in re.findall(r"(?:[A-Za-z0-9+/]{4}){10,}", log):
        assert stack.names.input_queue.encode() not in base64.b64decode(token)
    # and the operator's commands tell the reasons, not the secret
    for letter in dead:
        client.sqs.send_message(
            QueueUrl=stack.input_dlq_url,
            MessageBody=letter.body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in letter.attributes.items()
            },
        )
    environment = localstack.environment | stack.environment
    listed = run("dlq", "list", environment=environment)
    ids = [item["message_id"] for item in run("dlq", "list", "--json", environment=environment).json]
    shown = [run("dlq", "show", message_id, environment=environment) for message_id in ids]
    assert len(ids) == len(dead)
    for outcome in (listed, *shown):
        assert outcome.exit_code == 0
        assert "Code" in outcome.stdout or "code:" in outcome.stdout
        assert SECRET not in outcome.stdout
