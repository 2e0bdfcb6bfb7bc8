"""Archives that many workers build while these die, stop and wake up, messages come twice, and a source changes.

As in ``test_kills`` a worker at work is killed each second and replaced; who it is, builder or helper, is chance.
"""

import io
import os
import random
import signal
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from devtools.localstack import LocalStack
from devtools.messages import depth, receive
from devtools.stack import Stack
from devtools.worker import Worker, running_worker
from tests.chaos.test_kills import Fleet, sweep
from tests.conftest import StackClient

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.localstack, pytest.mark.slow, pytest.mark.chaos]

JOBS = 30
KILLS = 60
SECONDS = 1_500
MIB = 1024 * 1024
FILES = {f"{number:02}.jpg": random.Random(number).randbytes(3 * MIB) for number in range(10)}
#: A source that is overwritten all the time, with one of these.
CHANGING = "99.jpg"
CONTENTS = [random.Random(100 + number).randbytes(3 * MIB) for number in range(2)]
SETTINGS = {
    "CREW_MIN_BYTES": str(8 * MIB),
    "MEMORY_MIB": "16",
    "PART_SIZE_MIB": "5",
    "VISIBILITY_TIMEOUT_SECONDS": "5",
    "BACKOFF_BASE_SECONDS": "0",
    "POLL_SECONDS": "1",
    "REBUILDS": "10",
    "WORKER_CONCURRENCY": "2",
}


def test_every_archive_is_right_whoever_dies(
    localstack: LocalStack, make_stack: Callable[..., Stack], s3: "S3Client", sqs: "SQSClient"
) -> None:
    # given thirty large jobs
    rng = random.Random(2026)
    stack = make_stack(max_receive_count=KILLS * 3)
    client = StackClient(s3, sqs, stack)
    for name, body in {**FILES, CHANGING: CONTENTS[0]}.items():
        client.put(f"photos/{name}", body)
    jobs = {client.send({"files": [{"source": "photos/"}], "metadata": {"number": n}}) for n in range(JOBS)}

    def start() -> tuple[Worker, ExitStack]:
        exits = ExitStack()
        settings = {**SETTINGS, **stack.crew_environment, "MAX_ATTEMPTS": str(KILLS * 2)}
        return exits.enter_context(running_worker(localstack, stack, settings=settings, wait=False)), exits

    # when workers die each second, one sleeps until all is over, invitations come twice and a source changes
    notified: dict[str, dict[str, Any]] = {}
    fleet = Fleet(start, rng)
    sleeper, exits = start()
    try:
        fleet.fill()
        deadline = time.monotonic() + SECONDS
        asleep = False
        while set(notified) != jobs and time.monotonic() < deadline:
            for message in receive(sqs, stack.output_url, count=10, seconds=1):
                notified.setdefault(message.json["request_id"], message.json)
            if fleet.kills < KILLS:
                fleet.kill_one_at_work()
            if not asleep and "help started" in sleeper.output():
                os.killpg(sleeper.pid, signal.SIGSTOP)
                asleep = True
            repeat_an_invitation(sqs, stack)
            if fleet.kills % 10 == 1 and fleet.kills < KILLS:
                client.put(f"photos/{CHANGING}", rng.choice(CONTENTS))
        killed = fleet.kills
        os.killpg(sleeper.pid, signal.SIGCONT)
        assert sleeper.alive()
        while depth(sqs, stack.input_url) != (0, 0, 0) and time.monotonic() < deadline:
            time.sleep(0.2)
    finally:
        sleeper.kill()
        exits.close()
        fleet.close()

    # then each is told and right, of the one content or the other
    assert set(notified) == jobs
    assert killed > 0
    for told in notified.values():
        body = s3.get_object(Bucket=stack.archive_bucket, Key=told["archive"]["key"])["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        assert found.pop(CHANGING) in CONTENTS
        assert found == FILES
    # and no failure of a helper has become one of a job, and nothing is left after a sweep
    assert depth(sqs, stack.input_dlq_url) == (0, 0, 0)
    sweep(localstack, stack)
    assert s3.list_multipart_uploads(Bucket=stack.archive_bucket).get("Uploads", []) == []
    assert s3.list_objects_v2(Bucket=stack.archive_bucket, Prefix="archiver-crew/").get("KeyCount") == 0


def repeat_an_invitation(sqs: "SQSClient", stack: Stack) -> None:
    """Put one that waits on the crew's queue once more."""
    answer = sqs.receive_message(QueueUrl=stack.crew_url, MaxNumberOfMessages=1, VisibilityTimeout=0)
    for message in answer.get("Messages", []):
        sqs.send_message(QueueUrl=stack.crew_url, MessageBody=message["Body"])
