"""What the commands that talk to AWS begin with: logging that stays out of the way, clients that fail fast."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from archiver import logs, wiring
from archiver.archive.pipeline import Services
from archiver.archive.plan import MAX_OBJECT
from archiver.aws.clients import BRIEF, new_client
from archiver.cli.disk import FileArchive
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
    bucket = settings.s3_destination_bucket
    if not _is_there(bucket, settings):
        raise DestinationUnavailable(f"S3_DESTINATION_BUCKET={bucket!r}: there is no such bucket")
    return wiring.open_services(
        settings.model_copy(update={"sqs_destination_queue": None, "sns_destination_topic": None})
    )


def open_local_services(settings: Settings, archive: FileArchive, path: Path) -> Services:
    """The pipeline's services where the archive is a file, once S3 has answered. Raises ``StorageUnavailable``."""
    if settings.s3_source_bucket:
        _is_there(settings.s3_source_bucket, settings)
    services = wiring.open_services(
        settings.model_copy(update={"sqs_destination_queue": None, "sns_destination_topic": None})
    )
    return replace(
        services,
        archives=lambda _bucket, _traffic: archive,
        link=lambda _bucket, _key, _seconds: path.resolve().as_uri(),
        # S3 copies nothing to a disk: no copy is worth its request. Parts wait there for their turn, and are whole.
        options=replace(services.options, write_worth=MAX_OBJECT, streams=False),
    )


def _is_there(bucket: str, settings: Settings) -> bool:
    s3: S3Client = brief_client("s3", settings)
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] != 404)
    except BotoCoreError as error:
        raise StorageUnavailable(f"S3 can't be reached: {error}") from error
    return True
