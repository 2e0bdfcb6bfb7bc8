"""SNS and SQS clients for monitoring: short timeouts and no retries, for nothing here is worth waiting for."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from archiver.aws.clients import queue_region
from archiver.aws.queues import NO_QUEUE

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: How long an inbox's receive waits for a message: SQS's most, so that an idle process costs least.
POLL_SECONDS = 20

_QUICK = Config(connect_timeout=2, read_timeout=4, retries={"mode": "standard", "total_max_attempts": 1})
_PATIENT = _QUICK.merge(Config(read_timeout=POLL_SECONDS + 10))


@dataclass
class Clients:
    """Made when first used: a pool process, which only sends events, needs one of the three.

    They live where the source queue lives: its URL's region wins, ``region`` is the last resort.
    """

    source_queue: str
    region: str | None

    @cached_property
    def sns(self) -> Any:  # no stubs of SNS are installed
        return self._new("sns", _QUICK)

    @cached_property
    def sqs(self) -> "SQSClient":
        client: SQSClient = self._new("sqs", _QUICK)
        return client

    @cached_property
    def polling(self) -> "SQSClient":
        client: SQSClient = self._new("sqs", _PATIENT)
        return client

    def _new(self, service: str, config: Config) -> Any:
        session = boto3.Session()
        make: Any = session.client  # its overloads want a literal name
        region = queue_region(self.source_queue) or session.region_name or self.region
        return make(service, region_name=region, config=config)


def no_such_queue(error: Exception) -> bool:
    """Whether SQS says that there is no such queue. An answer that is none of AWS's own has no code at all."""
    return isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in NO_QUEUE
