"""The examples in docs/ of how to hear of archives do what they say."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archiver.client import Notifications
from devtools.localstack import CHECKOUT, LocalStack
from devtools.messages import depth, send
from devtools.stack import Stack
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

EXAMPLES = CHECKOUT / "docs" / "examples"
SUCCEEDED: dict[str, Any] = {
    "status": "succeeded",
    "metadata": {"order": 7},
    "substitutions": {"archiver_URL": "https://cdn.example.com/k.zip"},
    "archive": {
        "url": "https://cdn.example.com/k.zip",
        "bucket": "zip-storage",
        "key": "k.zip",
        "size": 7,
        "files": 1,
        "crc32": "00000000",
        "etag": "e",
    },
    "missing": [],
    "request_id": "r-1",
}
FAILED: dict[str, Any] = {
    "status": "failed",
    "metadata": None,
    "error": {"code": "missing_sources", "message": "1 missing source(s): a"},
    "request_id": "r-2",
}

#: As much of the SDK for JavaScript as the example has use for: what comes is in a file, what goes is printed.
SDK = """
import { readFileSync } from "node:fs";
class Command { constructor(input) { this.input = input; } }
export class GetQueueUrlCommand extends Command {}
export class SendMessageCommand extends Command {}
export class ReceiveMessageCommand extends Command {}
export class DeleteMessageCommand extends Command {}
const bodies = JSON.parse(readFileSync(process.env.BODIES));
export class SQSClient {
  async send(command) {
    const { input } = command;
    if (command instanceof GetQueueUrlCommand) return { QueueUrl: `https://sqs.example/1/${input.QueueName}` };
    if (command instanceof SendMessageCommand) {
      console.log("sent", input.QueueUrl, input.MessageBody);
      return { MessageId: "message-1" };
    }
    if (command instanceof DeleteMessageCommand) {
      console.log("deleted", input.QueueUrl, input.ReceiptHandle);
      return {};
    }
    const Body = bodies.shift();
    if (Body === undefined) process.kill(process.pid, "SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 10));
    return Body === undefined ? {} : { Messages: [{ Body, ReceiptHandle: `handle-${bodies.length}` }] };
  }
}
"""


@pytest.mark.localstack
@pytest.mark.parametrize("name", ["client", "boto3", "celery"])
def test_a_consumer_handles_what_comes_and_stops_cleanly(
    name: str, localstack: LocalStack, stack: Stack, sqs: "SQSClient", tmp_path: Path
) -> None:
    for notification in (SUCCEEDED, FAILED):
        send(sqs, stack.output_url, notification)
    printed = tmp_path / "printed"
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(EXAMPLES / f"consume_with_{name}.py"), stack.names.output_queue],
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(CHECKOUT),
                "CELERY_BROKER_URL": "memory://",
                **localstack.environment,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        assert eventually(lambda: depth(sqs, stack.output_url) == (0, 0, 0) or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        send(sqs, stack.output_url, SUCCEEDED | {"request_id": "r-3"})  # ends the poll at once
        assert process.wait(LONG_ENOUGH) == 0, printed.read_text()
    finally:
        process.kill()
        process.wait()

    ending = ("succeeded", "failed") if name == "celery" else ("k.zip", "missing_sources")
    lines = printed.read_text().splitlines()
    assert sorted(lines[:2]) == [f"r-1 {ending[0]}", f"r-2 {ending[1]}"]
    # The simple one handles what the last poll brought, the client gives it back.
    assert lines[2:] == (["r-3 k.zip"] if name == "boto3" else [])
    assert eventually(lambda: depth(sqs, stack.output_url) == ((0, 0, 0) if name == "boto3" else (1, 0, 0)))


@pytest.mark.localstack
def test_the_client_hears_of_them(stack: Stack, sqs: "SQSClient") -> None:
    send(sqs, stack.output_url, SUCCEEDED, attributes={"Correlation-Id": "order-7"})
    notifications = Notifications(stack.names.output_queue, sqs=sqs, wait_seconds=1)

    for notification in notifications:
        assert (notification.request_id, notification.correlation_id) == ("r-1", "order-7")
        assert depth(sqs, stack.output_url) == (0, 1, 0), "still there"
        notifications.stop()

    assert depth(sqs, stack.output_url) == (0, 0, 0)


def test_a_lambda_function_names_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    handler = runpy.run_path(str(EXAMPLES / "consume_with_lambda.py"))["handler"]
    bodies = [json.dumps(SUCCEEDED), "no JSON", json.dumps(FAILED)]

    answer = handler(
        {"Records": [{"messageId": f"m{number}", "body": body} for number, body in enumerate(bodies)]}, None
    )

    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    printed = capsys.readouterr().out.splitlines()
    assert (printed[0], printed[2]) == ("r-1 k.zip", "r-2 missing_sources")


@pytest.mark.skipif(not shutil.which("node") and "CI" not in os.environ, reason="node is not installed")
def test_node_sends_receives_and_deletes(tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "@aws-sdk" / "client-sqs"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "@aws-sdk/client-sqs", "type": "module", "exports": "./index.mjs"}')
    (package / "index.mjs").write_text(SDK)
    (tmp_path / "bodies.json").write_text(json.dumps([json.dumps(SUCCEEDED), json.dumps(FAILED)]))
    shutil.copy(EXAMPLES / "with_node.mjs", tmp_path)

    done = subprocess.run(
        ["node", "with_node.mjs", "input-queue", "output-queue"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "BODIES": str(tmp_path / "bodies.json")},
        capture_output=True,
        text=True,
        timeout=LONG_ENOUGH,
    )

    assert (done.returncode, done.stderr) == (0, "")
    sent, request_id, *rest = done.stdout.splitlines()
    assert json.loads(sent.removeprefix("sent https://sqs.example/1/input-queue "))["files"] == [
        {"source": "source.jpg"}
    ]
    assert request_id == "message-1"
    assert rest == [
        "r-1 succeeded k.zip",
        "deleted https://sqs.example/1/output-queue handle-1",
        "r-2 failed missing_sources",
        "deleted https://sqs.example/1/output-queue handle-0",
    ]
