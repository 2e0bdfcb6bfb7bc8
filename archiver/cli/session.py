"""What the commands that talk to AWS begin with: logging that stays out of the way, clients that fail fast."""

import logging
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from archiver import logs, wiring
from archiver.archive.pipeline import Services
from archiver.aws.clients import BRIEF, new_client
from archiver.errors import DestinationUnavailable, StorageUnavailable
from archiver.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def quiet_logs(*, debug: bool) -> None:
    """Log to standard error; without ``debug`` warnings alone, since the command itself says what happens."""
    logs.configure(debug=debug, console=True)
    if not debug:
        logging.getLogger().setLevel(logging.WARNING)


def brief_client(service: str, settings: Settings) -> Any:
    """A client for a person who waits. Raises what boto3 raises without a region."""
    return new_client(service, timeouts=BRIEF, region=settings.aws_region)


def open_services(settings: Settings) -> Services:
    """The pipeline's services without a queue, once S3 has answered.

    The engine's own clients are patient, as a worker's must be: a wrong endpoint or bucket would take them a minute.
    Raises ``StorageUnavailable`` or ``DestinationUnavailable``.
    """
    s3: S3Client = brief_client("s3", settings)
    bucket = settings.s3_destination_bucket
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            raise DestinationUnavailable(f"S3_DESTINATION_BUCKET={bucket!r}: there is no such bucket") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"S3 can't be reached: {error}") from error
    return wiring.open_services(
        settings.model_copy(update={"sqs_destination_queue": None, "sns_destination_topic": None})
    )
