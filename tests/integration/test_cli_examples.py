"""The examples in docs/ of how to ask for an archive do what they say."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archiver.settings import MIB
from archiver.worker.decode import decode
from archiver.worker.envelope import BUILD_TASK
from devtools.localstack import CHECKOUT, LocalStack
from devtools.messages import depth, receive
from devtools.stack import Stack
from tests.support.waiting import LONG_ENOUGH

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack
EXAMPLES = sorted((CHECKOUT / "docs" / "examples").glob("with_*.py"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_sends_one_request_and_prints_its_id(
    path: Path, localstack: LocalStack, stack: Stack, sqs: "SQSClient"
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(path), stack.names.input_queue],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT), **localstack.environment},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    (message,) = receive(sqs, stack.input_url, count=1, seconds=LONG_ENOUGH)
    raw = {
        "MessageId": message.id,
        "Body": message.body,
        "Attributes": {"SentTimestamp": "0"},
        "MessageAttributes": {name: {"StringValue": value} for name, value in message.attributes.items()},
    }
    # What the worker makes of it: a call of its task, under the id that was printed.
    call = decode(raw, queue="q", queue_url=stack.input_url, max_body_bytes=MIB, now=time.time())
    assert (call["headers"]["task"], call["headers"]["id"]) == (BUILD_TASK, done.stdout.strip())


def test_the_consumer_of_the_notifications_page_loses_nothing(
    stack: Stack, sqs: "SQSClient", capsys: pytest.CaptureFixture[str]
) -> None:
    page = (CHECKOUT / "docs" / "howto" / "notifications.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.+?)```", page, flags=re.DOTALL)
    consumer: dict[str, Any] = {"__name__": "consumer"}
    exec(compile(block, "notifications.md", "exec"), consumer)
    archive = {"url": "https://example.com/a.zip", "bucket": "b", "key": "a.zip"}
    error = {"code": "missing_sources", "message": "1 missing source(s): gone.jpg"}
    told = [
        {"status": "succeeded", "metadata": {"order": 7}, "archive": archive, "missing": [], "request_id": "1"},
        {"status": "failed", "metadata": None, "error": error, "request_id": "2"},
    ]
    for notification in told:
        sqs.send_message(QueueUrl=stack.output_url, MessageBody=json.dumps(notification))
    handled: list[dict[str, Any]] = []

    def handle(notification: dict[str, Any]) -> None:
        consumer["announce"](notification)
        handled.append(notification)
        if len(handled) == len(told):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consumer["consume"](sqs, stack.output_url, handle)

    assert sorted(handled, key=lambda notification: notification["request_id"]) == told
    assert "{'order': 7} https://example.com/a.zip []" in capsys.readouterr().out.splitlines()
    # The one whose handling did not return is still there, hidden for now; the other is gone.
    waiting, in_work, _ = depth(sqs, stack.output_url)
    assert (waiting, in_work) == (0, 1)
