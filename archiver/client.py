"""Asking for archives from another Python service: boto3 and a queue, without the worker, Celery or any setting.

    from archiver.client import ArchiverClient

    archiver = ArchiverClient("input-queue")
    request_id = archiver.submit(["photos/2026/", ("reports/june.pdf", "documents/report.pdf")], metadata={"order": 7})

The request id is the SQS message's; it is in the notification, in the worker's log and in the dead letter.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from archiver.archive.request import parse_request
from archiver.aws.clients import PROMPT
from archiver.aws.queues import MAX_MESSAGE_BYTES, Queue, open_queue, string_attributes
from archiver.errors import LimitExceeded

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: The worker has a limit of its own, MAX_FILES; a message of SQS's size holds fewer than this.
_ANY_NUMBER = MAX_MESSAGE_BYTES
#: Which bucket a plain key lies in is the worker's setting.
ANY_BUCKET = "source-bucket"

#: A source; a source and its destination inside the archive; or the payload's own form.
File = str | tuple[str, str | None] | Mapping[str, Any]


class ArchiverClient:
    """Sends payloads to a queue, given by its name or its URL. Safe to share between threads, as boto3's clients are.

    ``sqs`` is a boto3 SQS client; without one, one is made from the SDK's own configuration.
    """

    def __init__(self, queue: str, *, sqs: "SQSClient | None" = None) -> None:
        self._queue = open_queue(queue, timeouts=PROMPT) if sqs is None else Queue(sqs, queue)

    def submit(
        self,
        files: Iterable[File],
        *,
        metadata: Mapping[str, Any] | None = None,
        compression: Literal["stored", "auto"] = "stored",
        on_missing: Literal["fail", "skip"] = "fail",
        filename: str | None = None,
        correlation_id: str | None = None,
    ) -> str:
        """Ask for an archive of ``files`` and return the request's id.

        Raises as ``submit_payload`` does.
        """
        payload: dict[str, Any] = {"files": [_file(file) for file in files]}
        if metadata is not None:
            payload["metadata"] = dict(metadata)
        if compression != "stored":
            payload["compression"] = compression
        if on_missing != "fail":
            payload["on_missing"] = on_missing
        if filename is not None:
            payload["filename"] = filename
        return self.submit_payload(payload, correlation_id=correlation_id)

    def submit_payload(self, payload: Mapping[str, Any], *, correlation_id: str | None = None) -> str:
        """Send a payload that is complete already and return the request's id.

        Raises ``InvalidPayload`` where the worker would refuse it, ``LimitExceeded`` where it is larger than a
        message can be, and ``QueueUnavailable`` where SQS can't be reached or refuses it.
        """
        parse_request(dict(payload), max_files=_ANY_NUMBER, default_bucket=ANY_BUCKET)
        body = json.dumps(payload, ensure_ascii=False, allow_nan=False)
        length = len(body.encode()) + len(f"Correlation-IdString{correlation_id}".encode()) * bool(correlation_id)
        if length > MAX_MESSAGE_BYTES:
            raise LimitExceeded(
                f"the message has {length} bytes, more than SQS's {MAX_MESSAGE_BYTES}: a prefix takes many files in one"
            )
        # Jobs have no order among themselves, and two equal ones are two jobs.
        unique = str(uuid.uuid4())
        return self._queue.send(
            body,
            attributes=string_attributes({"Correlation-Id": correlation_id}),
            group_id=unique,
            deduplication_id=unique,
        )


def _file(file: File) -> dict[str, Any]:
    if isinstance(file, str):
        return {"source": file}
    if isinstance(file, Mapping):
        return dict(file)
    source, destination = file
    return {"source": source} | ({} if destination is None else {"destination": destination})
