"""The resources that the service works with, as the compose file has them.

Two buckets, two queues with their DLQs, and the crew's queue, which has none.
"""

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devtools.localstack import LocalStack

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

#: Receives after which SQS moves a message to its DLQ.
MAX_RECEIVE_COUNT = 2
#: How long the crew's queue keeps a chunk, in seconds: as the template's does.
CREW_RETENTION = 14_400


@dataclass(frozen=True, slots=True)
class Names:
    """What the resources are called; the defaults are those of the compose file."""

    source_bucket: str = "source-images"
    archive_bucket: str = "zip-storage"
    input_queue: str = "input-queue"
    output_queue: str = "output-queue"
    crew_queue: str = "crew-queue"

    @classmethod
    def unique(cls) -> "Names":
        """Names that no other test has."""
        tag = uuid.uuid4().hex[:10]
        names = ("source-images", "zip-storage", "input-queue", "output-queue", "crew-queue")
        return cls(*(f"{name}-{tag}" for name in names))


@dataclass(frozen=True, slots=True)
class Stack:
    """Resources that exist. Queues are URLs; their names are in ``names``."""

    names: Names
    input_url: str
    input_dlq_url: str
    output_url: str
    output_dlq_url: str
    crew_url: str = ""

    @property
    def source_bucket(self) -> str:
        return self.names.source_bucket

    @property
    def archive_bucket(self) -> str:
        return self.names.archive_bucket

    @property
    def environment(self) -> dict[str, str]:
        """The worker's settings that name the resources."""
        return {
            "SQS_SOURCE_QUEUE": self.names.input_queue,
            "SQS_DESTINATION_QUEUE": self.names.output_queue,
            "S3_SOURCE_BUCKET": self.source_bucket,
            "S3_DESTINATION_BUCKET": self.archive_bucket,
        }

    @property
    def crew_environment(self) -> dict[str, str]:
        """And the one that makes a crew of the workers."""
        return {"SQS_CREW_QUEUE": self.names.crew_queue}


def create_stack(
    localstack: LocalStack, *, names: Names | None = None, max_receive_count: int = MAX_RECEIVE_COUNT
) -> Stack:
    """Create what does not exist yet; existing resources of these names stay as they are."""
    names = names or Names()
    s3: S3Client = localstack.client("s3")
    sqs: SQSClient = localstack.client("sqs")
    for bucket in (names.source_bucket, names.archive_bucket):
        s3.create_bucket(Bucket=bucket)  # in us-east-1 no error for a bucket that is ours already
    input_url, input_dlq_url = _create_queue(sqs, names.input_queue, max_receive_count)
    output_url, output_dlq_url = _create_queue(sqs, names.output_queue, max_receive_count)
    crew_url = sqs.create_queue(QueueName=names.crew_queue, Attributes={"MessageRetentionPeriod": str(CREW_RETENTION)})[
        "QueueUrl"
    ]
    return Stack(names, input_url, input_dlq_url, output_url, output_dlq_url, crew_url)


def _create_queue(sqs: "SQSClient", name: str, max_receive_count: int) -> tuple[str, str]:
    dlq = sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dlq, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": str(max_receive_count)})
    return sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy})["QueueUrl"], dlq
