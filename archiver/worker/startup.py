"""What a worker says when it is ready."""

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from archiver.aws.clients import new_sqs_client
from archiver.aws.dead_letters import NO_POLICY, DeadLetters
from archiver.settings import Settings
from archiver.version import __version__

log = structlog.get_logger(__name__)


def announce_worker(settings: Settings) -> None:
    """Look at the queue's redrive policy, then one line with the version and the settings that are no defaults.

    None of the settings is a secret.
    """
    _check_redrive_policy(settings)
    log.info("archiver ready", version=__version__, **settings.model_dump(mode="json", exclude_defaults=True))


def _check_redrive_policy(settings: Settings) -> None:
    queue = settings.sqs_source_queue
    try:
        client = new_sqs_client(queue_url=queue, region=settings.aws_region)
        url = queue if "://" in queue else client.get_queue_url(QueueName=queue)["QueueUrl"]
        dlq = DeadLetters().url(client, url)
    except (ClientError, BotoCoreError) as error:
        log.warning("the source queue's redrive policy could not be read", queue=queue, error=repr(error))
    else:
        if dlq is None:
            log.error(NO_POLICY, queue=url)
