"""What the commands that talk to AWS begin with: logging that stays out of the way, clients that fail fast."""

import logging
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from archiver import logs, wiring
from archiver.archive.pipeline import Services
from archiver.errors import DestinationUnavailable, StorageUnavailable
from archiver.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: A person waits: an answer, or the reason for none, within seconds.
_FAST = Config(
    connect_timeout=3, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 2}, signature_version="v4"
)


def quiet_logs(*, debug: bool) -> None:
    """Log to standard error; without ``debug`` warnings alone, since the command itself says what happens."""
    logs.configure(debug=debug, console=True)
    if not debug:
        logging.getLogger().setLevel(logging.WARNING)


def fast_client(service: str, settings: Settings) -> Any:
    """A boto3 client that gives up after seconds. Raises what boto3 raises without a region."""
    session = boto3.session.Session()
    config = _FAST.merge(Config(signature_version="s3v4")) if service == "s3" else _FAST
    make: Any = session.client  # its overloads want a literal name
    return make(service, region_name=session.region_name or settings.aws_region, config=config)


def open_services(settings: Settings) -> Services:
    """The pipeline's services without a queue, once S3 has answered.

    The engine's own clients are patient, as a worker's must be: a wrong endpoint or bucket would take them a minute.
    Raises ``StorageUnavailable`` or ``DestinationUnavailable``.
    """
    s3: S3Client = fast_client("s3", settings)
    bucket = settings.s3_destination_bucket
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            raise DestinationUnavailable(f"S3_DESTINATION_BUCKET={bucket!r}: there is no such bucket") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"S3 can't be reached: {error}") from error
    return wiring.open_services(settings.model_copy(update={"sqs_destination_queue": None}))
