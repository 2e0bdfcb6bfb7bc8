"""Asking for archives from another Python service, and hearing of them: boto3 and queues, without the worker, Celery or
any setting.

    from archiver.client import ArchiverClient, Notifications

    archiver = ArchiverClient("input-queue")
    request_id = archiver.submit(["photos/2026/", ("reports/june.pdf", "documents/report.pdf")], metadata={"order": 7})

    for notification in Notifications("output-queue"):
        print(notification.request_id, notification.status)

The request id is the SQS message's; it is in the notification, in the worker's log and in the dead letter.
"""

import re
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from archiver import trace_context
from archiver.archive.location import ACCESS_POINT, BUCKET
from archiver.archive.pointer import SIZE_ATTRIBUTE, pointer_to
from archiver.archive.request import OnMissing, parse_request, payload_document
from archiver.archive.status import JobStatus
from archiver.archive.unknown import told
from archiver.aws.clients import PROMPT, new_client
from archiver.aws.consumer import Failed as Failed  # these for callers
from archiver.aws.consumer import Notification as Notification
from archiver.aws.consumer import Notifications as Notifications
from archiver.aws.consumer import Succeeded as Succeeded
from archiver.aws.payloads import store_payload
from archiver.aws.queues import MAX_MESSAGE_BYTES, TENANT, Queue, open_queue, string_attributes
from archiver.aws.status import StatusObjects as StatusObjects
from archiver.errors import InvalidPayload, LimitExceeded, shown

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

#: The worker has a limit of its own, MAX_FILES; a message of SQS's size holds fewer than this.
_ANY_NUMBER = MAX_MESSAGE_BYTES
#: Which bucket a plain key lies in is the worker's setting.
ANY_BUCKET = "source-bucket"

# What SQS takes as an attribute's value, which is never empty:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_MessageAttributeValue.html
_ATTRIBUTE = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")

#: A source; a source and its destination inside the archive; or the payload's own form.
File = str | tuple[str, str | None] | Mapping[str, Any]


class IgnoredKey(UserWarning):
    """A payload has a key that the worker does not know and ignores: mostly a slip of the pen."""


class ArchiverClient:
    """Sends payloads to a queue, given by its name or its URL. Safe to share between threads, as boto3's clients are.

    ``tenant`` is whose jobs these are, in up to 128 printable ASCII characters without a space: where many share a
    standard queue, SQS keeps one's thousand jobs from delaying another's first. Another name raises ``InvalidPayload``,
    as a queue's ARN does, and a ``payload_bucket`` that is no bucket's name.
    ``sqs`` and ``s3`` are boto3 clients; without one, one is made from the SDK's own configuration. A payload that is
    too large for a message goes to a new object in ``payload_bucket``, one of the worker's PAYLOAD_BUCKETS, and the
    message points at it, as that of the SQS Extended Client does. Nobody deletes the object: a lifecycle rule of the
    bucket should, once no redelivery and no redrive can ask for it.
    Where the service has OpenTelemetry, the message goes on with the trace of the open span.
    ``statuses`` is where the workers keep the status of requests:
    ``StatusObjects(boto3.client("s3"), bucket, STATUS_PREFIX)``.
    """

    def __init__(
        self,
        queue: str,
        *,
        tenant: str | None = None,
        sqs: "SQSClient | None" = None,
        payload_bucket: str | None = None,
        s3: "S3Client | None" = None,
        statuses: "StatusObjects | None" = None,
    ) -> None:
        _check_queue(queue)
        _check_tenant(tenant)
        _check_payload_bucket(payload_bucket)
        self._tenant = tenant
        self._queue = open_queue(queue, timeouts=PROMPT) if sqs is None else Queue(sqs, queue)
        self._payload_bucket = payload_bucket
        self._s3 = s3
        self._statuses = statuses

    def status(self, request_id: str) -> "JobStatus | None":
        """How far a request is; None where no worker has begun it, or it ended long ago.

        Raises ``StorageUnavailable`` where S3 can't be reached, and ``ValueError`` without ``statuses``.
        """
        return self._known().read(request_id)

    def cancel(self, request_id: str) -> "JobStatus | None":
        """Ask for the end of a request, and return its status as it was before.

        One that has ended (``ended``) is left alone: it is too late. One that no worker has begun (None) ends when one
        does. Raises as ``status``.
        """
        return self._known().cancel(request_id)

    def _known(self) -> "StatusObjects":
        if self._statuses is None:
            raise ValueError("statuses: give the client the bucket and the prefix that workers write status objects to")
        return self._statuses

    def submit(
        self,
        files: Iterable[File] = (),
        *,
        manifest: str | Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        compression: Literal["stored", "auto"] = "stored",
        on_missing: OnMissing = "fail",
        filename: str | None = None,
        archive: Mapping[str, Any] | None = None,
        link_expires_seconds: int | None = None,
        split: Mapping[str, int] | None = None,
        correlation_id: str | None = None,
    ) -> str:
        """Ask for an archive of ``files``, and of what ``manifest`` lists, and return the request's id.

        ``archive`` says where it goes, as a payload does: ``{"key": "exports/june.zip"}``; ``split`` asks
        for several: ``{"max_bytes": 4 * 1024**3}``.

        Raises as ``submit_payload`` does.
        """
        payload: dict[str, Any] = {"files": _files(files)}
        if manifest is not None:
            payload["manifest"] = _manifest(manifest)
            if not payload["files"]:
                del payload["files"]
        if archive is not None:
            payload["archive"] = _plain(archive)
        if split is not None:
            payload["split"] = _plain(split)
        if link_expires_seconds is not None:
            payload["link_expires_seconds"] = link_expires_seconds
        if metadata is not None:
            payload["metadata"] = _plain(metadata)
        if compression != "stored":
            payload["compression"] = compression
        if on_missing != "fail":
            payload["on_missing"] = on_missing
        if filename is not None:
            payload["filename"] = filename
        return self._submitted(payload, correlation_id)

    def submit_payload(self, payload: Mapping[str, Any], *, correlation_id: str | None = None) -> str:
        """Send a payload that is complete already and return the request's id.

        Warns of each key that the worker would ignore (``IgnoredKey``). Raises ``InvalidPayload`` where the worker
        would refuse it, ``LimitExceeded`` where it is larger than a message can be, without a ``payload_bucket``, or
        its metadata than a notification, ``QueueUnavailable`` where SQS can't be reached or refuses it, and
        ``StorageUnavailable`` where the payload can't be written to S3.
        """
        return self._submitted(payload, correlation_id)

    def _submitted(self, payload: Mapping[str, Any], correlation_id: str | None) -> str:
        document = payload_document(_plain(payload))
        # The worker reads the text, so it is the text that is checked.
        request = parse_request(document.text, max_files=_ANY_NUMBER, default_bucket=ANY_BUCKET)
        for line in told(request.unknown_keys):
            warnings.warn(line, IgnoredKey, stacklevel=3)
        _check_correlation_id(correlation_id)
        body, attributes = document.text, string_attributes({"Correlation-Id": correlation_id})
        length = len(document.text.encode()) + _bytes_of(attributes)
        trace = string_attributes(trace_context.current())
        if length > MAX_MESSAGE_BYTES:
            if self._payload_bucket is None:
                raise LimitExceeded(
                    f"the message has {length} bytes, more than SQS's {MAX_MESSAGE_BYTES}: a prefix takes many files "
                    "in one, and a payload_bucket takes larger payloads"
                )
            body = pointer_to(store_payload(self._client(), self._payload_bucket, document.text))
            attributes[SIZE_ATTRIBUTE] = {"DataType": "Number", "StringValue": str(len(document.text.encode()))}
        elif length + _bytes_of(trace) > MAX_MESSAGE_BYTES:
            trace = {}  # no reason to refuse what fits without it
        attributes |= trace
        # Jobs have no order among themselves, and two equal ones are two jobs.
        unique = str(uuid.uuid4())
        return self._queue.send(
            body,
            attributes=attributes,
            group_id=unique,
            deduplication_id=unique,
            tenant=self._tenant,
        )

    def _client(self) -> "S3Client":
        if self._s3 is None:
            self._s3 = new_client("s3", timeouts=PROMPT)
        return self._s3


def _check_queue(given: str) -> None:
    if not given:
        raise InvalidPayload("queue: the queue's URL or its name, not ''")
    if given.startswith("arn:"):
        raise InvalidPayload(f"queue: an ARN; give the queue's URL or its name, {given.rpartition(':')[2]}")


def _check_tenant(given: object) -> None:
    if given is not None and not (isinstance(given, str) and TENANT.fullmatch(given)):
        raise InvalidPayload(f"tenant: 1 to 128 printable ASCII characters without a space, not {shown(given)}")


def _check_payload_bucket(given: object) -> None:
    if given is not None and not (
        isinstance(given, str) and (BUCKET.fullmatch(given) or ACCESS_POINT.fullmatch(given))
    ):
        raise InvalidPayload(f"payload_bucket: a bucket's name, not {shown(given)}")


def _check_correlation_id(given: object) -> None:
    if given is not None and not (isinstance(given, str) and _ATTRIBUTE.fullmatch(given)):
        raise InvalidPayload(f"correlation_id: a text that SQS takes in an attribute, not {shown(given)}")


def _bytes_of(attributes: Mapping[str, Any]) -> int:
    """What message attributes of type String count against the size of a message."""
    return sum(len(f"{name}String{value['StringValue']}".encode()) for name, value in attributes.items())


def _plain(given: object) -> object:
    """A mapping of any kind as the dict that JSON knows."""
    return dict(given) if isinstance(given, Mapping) else given


def _files(files: object) -> list[dict[str, Any]]:
    if isinstance(files, str | bytes | Mapping) or not isinstance(files, Iterable):
        raise InvalidPayload(f"files: a list of sources, not {shown(files)}")
    return [_file(index, file) for index, file in enumerate(files)]


def _manifest(given: object) -> str | list[object]:
    if isinstance(given, str):
        return given
    if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
        raise InvalidPayload(f"manifest: a location or a list of them, not {shown(given)}")
    return list(given)


def _file(index: int, file: object) -> dict[str, Any]:
    if isinstance(file, str):
        return {"source": file}
    if isinstance(file, Mapping):
        return dict(file)
    if not isinstance(file, tuple | list) or len(file) != 2:
        raise InvalidPayload(f"files[{index}]: a source, or a source and its destination, not {shown(file)}")
    source, destination = file
    return {"source": source} | ({} if destination is None else {"destination": destination})
