"""A job that others help with ends for good before its archive: told with its reason, and nothing of it is left."""

import threading
from typing import TYPE_CHECKING, Any

import pytest

from archiver.client import ArchiverClient, StatusObjects
from devtools.faults import ACCESS_DENIED, Hold, on
from devtools.messages import depth
from devtools.stack import Stack
from tests.integration.crew_site import Site, go_on, lines
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.localstack, pytest.mark.slow]


def left(site: Site) -> list[str]:
    """Keys of archives, of unfinished uploads and of what was shared; statuses are kept."""
    s3, bucket = site.client.s3, site.client.stack.archive_bucket
    objects = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    uploads = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [item["Key"] for item in (*objects, *uploads) if not item["Key"].startswith("status/")]


def test_a_job_that_is_cancelled_by_its_status_while_others_help(
    site: Site, s3: "S3Client", sqs: "SQSClient", stack: Stack
) -> None:
    # given a builder that is stopped, and a helper in the middle of a chunk
    options: dict[str, Any] = {"STATUS_PREFIX": "status/", "NOTIFY_FAILURES": "1"}
    archiver = ArchiverClient(stack.input_url, sqs=sqs, statuses=StatusObjects(s3, stack.archive_bucket, "status/"))
    builder, job = site.builder(**options)
    opened = threading.Event()
    other = site.worker(faults=on("UploadPart", Hold(opened)), **options)
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)
    # when the job is cancelled
    archiver.cancel(job)
    go_on(builder)
    told = site.client.notification(job).json
    # then it ends as that, while the helper still works
    assert (told["status"], told["error"]["code"]) == ("cancelled", "cancelled")
    assert eventually(lambda: (status := archiver.status(job)) is not None and status.state == "cancelled")
    # and the helper finds the job over, as who takes the invitations that are left does; none of them leaves anything,
    # be it what the helper claimed after the job had cleared all
    opened.set()
    assert eventually(lambda: depth(sqs, site.crew_url) == (0, 0, 0))
    assert lines(other, "help done") == []
    assert {line["level"] for line in lines(other, "nothing built")} == {"info"}
    assert eventually(lambda: left(site) == [])
    assert depth(sqs, stack.input_url) == depth(sqs, stack.input_dlq_url) == (0, 0, 0)


def test_the_last_failed_attempt_of_a_job_that_others_help_with(site: Site, sqs: "SQSClient", stack: Stack) -> None:
    # given a bucket that takes all parts and lets nobody complete, and a job's last attempt
    options: dict[str, Any] = {"MAX_ATTEMPTS": "1", "NOTIFY_FAILURES": "1"}
    worker = site.worker(faults=on("CompleteMultipartUpload", ACCESS_DENIED), **options)
    no_jobs = sqs.create_queue(QueueName=f"{stack.names.crew_queue}-no-jobs")["QueueUrl"]
    other = site.worker(**options, SQS_SOURCE_QUEUE=no_jobs)
    job = site.client.send({"files": [{"source": "photos/"}]})
    # when it fails
    (dead,) = site.client.dead_letters(1)
    # then it is a dead letter with its reason, told to the consumer
    assert (dead.attributes["Error-Code"], dead.attributes["Request-Id"]) == ("destination_unavailable", job)
    told = site.client.notification(job).json
    assert (told["status"], told["error"]["code"]) == ("failed", "destination_unavailable")
    # and nothing is left: no upload, nothing that was shared, no message
    assert eventually(lambda: depth(sqs, stack.input_url) == (0, 0, 0))
    assert eventually(lambda: left(site) == [])
    assert eventually(lambda: depth(sqs, site.crew_url) == (0, 0, 0))
    assert left(site) == []
    assert lines(worker, "others are invited")
    assert other.alive()
