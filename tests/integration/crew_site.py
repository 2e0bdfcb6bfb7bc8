"""A stack with the crew's queue, and a large job whose worker is stopped in the middle of it."""

import json
import os
import random
import signal
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devtools.faults import Delay, Rule, on
from devtools.messages import depth
from devtools.worker import Worker
from tests.conftest import StackClient
from tests.support.waiting import eventually

MIB = 1024 * 1024
FILES = {f"{number:02}.jpg": random.Random(number).randbytes(3 * MIB + number) for number in range(18)}


@dataclass(frozen=True)
class Site:
    """A stack with the crew's queue, and sources for one large job."""

    client: StackClient
    crew_url: str
    start: Callable[..., Worker]
    folder: Path

    def worker(self, *, delay: int = 0, faults: Rule | None = None, **settings: Any) -> Worker:
        """A worker of one slot that meets faults, or whose every read of an object takes so many milliseconds more."""
        options = {
            "SQS_CREW_QUEUE": self.crew_url,
            "CREW_MIN_BYTES": str(20 * MIB),
            "PART_SIZE_MIB": "5",
            "MEMORY_MIB": "16",
            "POLL_SECONDS": "1",
        }
        return self.start(on("GetObject", Delay(delay)) if delay else faults, **options | settings)

    def builder(self, **settings: Any) -> tuple[Worker, str]:
        """A worker that has begun a job and invited others, and is stopped, with most of it still to be done."""
        worker = self.worker(delay=2_500, **settings)
        job = self.client.send({"files": [{"source": "photos/"}]})
        assert eventually(lambda: depth(self.client.sqs, self.crew_url)[0] > 1)
        os.killpg(worker.pid, signal.SIGSTOP)
        return worker, job

    def check(self, request_id: str, files: dict[str, bytes] = FILES) -> str:
        """The archive of a request is right, told once, and what was shared is gone; returns its key."""
        told = self.client.notification(request_id)
        with zipfile.ZipFile(self.client.download(told, self.folder)) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == files
        stack, s3 = self.client.stack, self.client.s3
        assert eventually(lambda: self.shared() == [])
        assert s3.list_multipart_uploads(Bucket=stack.archive_bucket).get("Uploads", []) == []
        assert depth(self.client.sqs, stack.input_dlq_url) == (0, 0, 0)
        return str(told.json["archive"]["key"])

    def shared(self) -> list[str]:
        """Keys of what a job has shared."""
        found = self.client.s3.list_objects_v2(Bucket=self.client.stack.archive_bucket, Prefix="archiver-crew/")
        return [item["Key"] for item in found.get("Contents", [])]


def go_on(worker: Worker) -> None:
    """Wake a worker up that was stopped."""
    os.killpg(worker.pid, signal.SIGCONT)


def lines(worker: Worker, message: str) -> list[dict[str, Any]]:
    """The lines of a worker's log with this message."""
    parsed = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
    return [line for line in parsed if line.get("message") == message]
