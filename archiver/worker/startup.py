"""What a worker says when it is ready."""

import structlog
from botocore.exceptions import BotoCoreError

from archiver.aws.clients import PROMPT
from archiver.aws.dead_letters import NO_POLICY
from archiver.aws.queues import open_queue
from archiver.errors import QueueUnavailable
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
