"""A real worker whose settings name buckets that are not there: it says so, and goes on once they are."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import StackClient, StartWorker
from tests.support.jobs import files

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

    from devtools.stack import Stack

pytestmark = pytest.mark.localstack


def test_a_worker_without_its_buckets_says_so_and_waits_for_them(
    start_worker: StartWorker, make_stack: "Callable[..., Stack]", s3: "S3Client", sqs: Any
) -> None:
    # given a worker whose settings name two buckets that nobody has made
    stack = make_stack(max_receive_count=100)
    client = StackClient(s3, sqs, stack)
    lost: dict[str, Any] = {setting: f"lost-{name}" for setting, name in (
        ("S3_SOURCE_BUCKET", stack.source_bucket), ("S3_DESTINATION_BUCKET", stack.archive_bucket)
    )}  # fmt: skip
    worker = start_worker(on=stack, BACKOFF_BASE_SECONDS="1", BACKOFF_CAP_SECONDS="1", **lost)

    # then it has said so when it is ready, a line each
    for setting, bucket in lost.items():
        (line,) = (line for line in worker.output().splitlines() if '"no such bucket"' in line and setting in line)
        assert '"level":"error"' in line.replace('": "', '":"')
        assert bucket in line

    # when a job comes, that would skip what is missing
    request_id = client.send(files("a.txt") | {"on_missing": "skip"})
    assert worker.wait_for_log("which S3_SOURCE_BUCKET names")
    assert '"kind":"transient"' in worker.output().replace('": "', '":"')

    # then it is done once the buckets are there
    for bucket in lost.values():
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=lost["S3_SOURCE_BUCKET"], Key="a.txt", Body=b"a")
    assert client.notification(request_id).json["archive"]["files"] == 1
    assert client.dead_letters(1, seconds=0) == []
