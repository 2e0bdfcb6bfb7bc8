"""What a worker needs of its machine, looks at when it starts, and says when it is ready."""

import tempfile
from multiprocessing import get_context

from botocore.exceptions import BotoCoreError, ClientError

from archiver.aws.clients import PROMPT, new_client
from archiver.aws.dead_letters import NO_POLICY, SMALL_DEAD_LETTERS
from archiver.aws.failures import refused_by
from archiver.aws.queues import MAX_MESSAGE_BYTES, Queue, no_such_queue, open_queue
from archiver.aws.topics import topic_region
from archiver.errors import QueueUnavailable
from archiver.logs import get_logger
from archiver.settings import Settings
from archiver.version import __version__

log = get_logger(__name__)

#: Settings that work for one more release.
DEPRECATED = ("parts_in_flight", "read_concurrency")

_SIZE = "MaximumMessageSize"


class Unfit(Exception):
    """The machine lacks something without which no worker runs; the message is one line that says what."""


def check_machine() -> None:
    """Try what Celery's pool can't do without. Raises ``Unfit`` where the root filesystem is read-only altogether."""
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise Unfit(f"no folder for temporary files can be written to: mount one at /tmp ({error})") from None
    try:
        get_context("fork").Semaphore()
    except (OSError, ImportError) as error:
        raise Unfit(f"no POSIX semaphores: /dev/shm must be a tmpfs that can be written to ({error})") from None


def announce_worker(settings: Settings) -> None:
    """Look at buckets, queues and the topic, then one line with the version and the settings.

    Of the settings those that are no defaults, none of which is a secret. What is wrong is an error in the log: the
    worker goes on, and jobs come back until it is mended.
    """
    for name in DEPRECATED:
        if getattr(settings, name) is not None:
            log.warning("a deprecated setting will go with the next release", setting=name.upper(), see="MEMORY_MIB")
    _check_buckets(settings)
    _check_redrive_policy(settings)
    _check_destination_queue(settings)
    _check_crew_queue(settings)
    _check_destination_topic(settings)
    log.info("archiver ready", version=__version__, **settings.model_dump(mode="json", exclude_defaults=True))


def _check_buckets(settings: Settings) -> None:
    buckets = {
        "S3_SOURCE_BUCKET": settings.s3_source_bucket,
        "S3_DESTINATION_BUCKET": settings.s3_destination_bucket,
    }
    client = new_client("s3", timeouts=PROMPT, region=settings.aws_region)
    for setting, bucket in buckets.items():
        if bucket is None:
            continue
        try:
            client.head_bucket(Bucket=bucket)
        except ClientError as error:
            # Who may not list the bucket is told 403, and may be right to use it.
            if refused_by(error).status == 404:
                log.error("no such bucket", setting=setting, bucket=bucket)
        except (BotoCoreError, ValueError) as error:
            log.warning("a bucket could not be looked at", setting=setting, bucket=bucket, error=str(error))


def _check_redrive_policy(settings: Settings) -> None:
    try:
        queue = open_queue(settings.sqs_source_queue, timeouts=PROMPT, region=settings.aws_region)
        dlq = queue.dead_letter_queue()
    except (QueueUnavailable, BotoCoreError) as error:
        log.warning(
            "the source queue's redrive policy could not be read", queue=settings.sqs_source_queue, error=str(error)
        )
    else:
        if dlq is None:
            log.error(NO_POLICY, queue=queue.url)
        else:
            _check_room(queue, dlq)


def _check_room(queue: Queue, dlq: Queue) -> None:
    try:
        room, needed = (int(one.attributes([_SIZE]).get(_SIZE, MAX_MESSAGE_BYTES)) for one in (dlq, queue))
    except (QueueUnavailable, BotoCoreError) as error:
        if not _is_denied(error):
            log.warning("the dead-letter queue could not be looked at", queue=dlq.url, error=str(error))
    else:
        if room < needed:
            log.error(SMALL_DEAD_LETTERS, queue=dlq.url, bytes=room, source_queue_bytes=needed)


def _check_destination_queue(settings: Settings) -> None:
    given = settings.sqs_destination_queue
    if given is None:
        return
    setting = "SQS_DESTINATION_QUEUE"
    try:
        open_queue(given, timeouts=PROMPT, region=settings.aws_region, setting=setting).attributes(["QueueArn"])
    except (QueueUnavailable, BotoCoreError) as error:
        if isinstance(error.__cause__, ClientError) and no_such_queue(error.__cause__):
            log.error("no such queue", setting=setting, queue=given)
        elif not _is_denied(error):
            log.warning("the destination queue could not be looked at", setting=setting, queue=given, error=str(error))


def _check_crew_queue(settings: Settings) -> None:
    given = settings.sqs_crew_queue
    if given is None:
        return
    setting = "SQS_CREW_QUEUE"
    try:
        open_queue(given, timeouts=PROMPT, region=settings.aws_region, setting=setting).attributes(["QueueArn"])
    except (QueueUnavailable, BotoCoreError) as error:
        if not _is_denied(error):
            # No error: jobs are done without.
            log.warning("no help from other workers: the queue can't be looked at", setting=setting, error=str(error))


def _check_destination_topic(settings: Settings) -> None:
    arn = settings.sns_destination_topic
    if arn is None:
        return
    setting = "SNS_DESTINATION_TOPIC"
    try:
        new_client(
            "sns", timeouts=PROMPT, region=settings.aws_region, in_region=topic_region(arn)
        ).get_topic_attributes(TopicArn=arn)
    except ClientError as error:
        if refused_by(error).status == 404:
            log.error("no such topic", setting=setting, topic=arn)
        elif refused_by(error).status != 403:
            log.warning("the destination topic could not be looked at", setting=setting, topic=arn, error=str(error))
    except BotoCoreError as error:
        log.warning("the destination topic could not be looked at", setting=setting, topic=arn, error=str(error))


def _is_denied(error: Exception) -> bool:
    """Who may only send is told 403, and needs no more."""
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return False
    refused = refused_by(cause)
    return refused.status == 403 or refused.code.startswith("AccessDenied")
