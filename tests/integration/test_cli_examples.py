"""The examples in docs/ of how to ask for an archive do what they say."""

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archiver.settings import MIB
from archiver.worker.decode import decode
from archiver.worker.envelope import BUILD_TASK
from devtools.localstack import CHECKOUT, LocalStack
from devtools.messages import receive
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
