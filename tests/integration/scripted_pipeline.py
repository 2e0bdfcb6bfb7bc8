"""A pipeline that does as its payload says: what the queue's tests are about is the queue.

``celery -A archiver worker --include tests.integration.scripted_pipeline`` puts it in place of the real one.

``metadata`` commands it: ``{"do": "succeed" | "fail" | "memory" | "hold" | "die"}``; what is held goes on once there is
a file ``$QUEUE_TEST_JOURNAL.released``. Each run writes a line to the file that ``QUEUE_TEST_JOURNAL`` names.
"""

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from archiver import wiring
from archiver.archive import pipeline
from archiver.archive.pipeline import ArchiveResult, Delivery
from archiver.archive.pointer import Payloads
from archiver.archive.request import payload_document
from archiver.errors import InvalidPayload, StorageUnavailable


def _note(event: str, delivery: Delivery, **more: Any) -> None:
    line = {
        "event": event,
        "id": delivery.request_id,
        "attempt": delivery.attempt,
        "pid": os.getpid(),
        "at": time.time(),
    }
    with Path(os.environ["QUEUE_TEST_JOURNAL"]).open("a") as journal:
        journal.write(json.dumps(line | more) + "\n")


def _build(payload: Any, *, delivery: Delivery, services: Any, **_: Any) -> ArchiveResult:
    payload = payload_document(payload).value
    command = payload.get("metadata") or {}
    do = command.get("do")
    _note("begin", delivery, payload=payload, correlation=delivery.correlation_id)
    if do is None or "files" not in payload:
        raise InvalidPayload("files: missing")
    if do == "fail":
        raise StorageUnavailable("S3 is away")
    if do == "memory":
        raise MemoryError
    if do == "hold":
        released = Path(os.environ["QUEUE_TEST_JOURNAL"] + ".released")
        while not released.exists():
            time.sleep(0.05)
    if do == "die" and (delivery.attempt == 1 or command.get("always")):
        os.kill(os.getpid(), signal.SIGKILL)
    _note("end", delivery)
    return ArchiveResult(
        url="https://example.invalid/a.zip?signature",
        bucket="b",
        key="a.zip",
        version_id=None,
        size=1,
        files=len(payload["files"]),
        crc32=None,
        etag="e",
        missing=(),
    )


def _notify_failure(payload: Any, error: Any, *, delivery: Delivery, services: Any) -> None:
    _note("failure notified", delivery, code=error.code)


def _find_archive(payload: Any, *, delivery: Delivery, services: Any) -> None:
    """No attempt of the script leaves an archive."""


def _abandon(payload: Any, *, delivery: Delivery, services: Any) -> None:
    """No attempt of the script uploads anything."""


pipeline.abandon = _abandon
pipeline.build_archive = _build
pipeline.find_archive = _find_archive
pipeline.notify_failure = _notify_failure
wiring.services = lambda: SimpleNamespace(payloads=Payloads())  # type: ignore[assignment]  # all it needs
