"""SQS clients for the transport: the SDK's own configuration, with timeouts that keep the event loop responsive."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: The worker's event loop waits for these calls, and a drain has only seconds.
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 10
ATTEMPTS = 2

_AWS_QUEUE_URL = re.compile(r"https://sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/")


def queue_region(queue: str | None) -> str | None:
    """The region in an AWS queue URL; None for a name, and for a URL of another server."""
    url = _AWS_QUEUE_URL.match(queue or "")
    return url["region"] if url else None


def new_sqs_client(
    *,
    queue_url: str | None = None,
    region: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
) -> "SQSClient":
    """A client from the SDK's own chain: AWS_ENDPOINT_URL, profiles, refreshing credentials of ECS, and so on.

    The region of an AWS queue URL wins, since a queue lives nowhere else; ``region`` is the last resort. A session
    of its own, because boto3's default session must not be shared between threads.
    """
    session = boto3.Session(
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        aws_session_token=session_token,
    )
    return session.client(
        "sqs",
        region_name=queue_region(queue_url) or session.region_name or region,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        ),
    )


@lru_cache(maxsize=8)
def process_client(queue_url: str, *, region: str | None, pid: int) -> "SQSClient":
    """The process's own client for a queue; ``pid`` keeps a forked child from sharing its parent's sockets."""
    del pid
    return new_sqs_client(queue_url=queue_url, region=region)
