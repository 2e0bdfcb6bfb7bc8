"""The Celery task of a helper: it builds chunks of another worker's job. Thin: ``archiver.archive.helper`` does it.

Whatever becomes of them, the message is acknowledged: the job's own worker builds what nobody brings.
"""

import os
from typing import Any

from archiver import wiring
from archiver.archive.crew_plan import Invitation
from archiver.archive.helper import Needless, help_build
from archiver.aws.clients import process_sqs_client
from archiver.aws.letters import Letter
from archiver.celery import app
from archiver.errors import ArchiverError
from archiver.logs import bound_contextvars, get_logger
from archiver.settings import load_settings
from archiver.worker.envelope import CHUNK_TASK, LETTER_HEADER
from archiver.worker.heartbeat import hiding, kept_hidden

log = get_logger(__name__)


@app.task(name=CHUNK_TASK, bind=True)  # type: ignore[untyped-decorator]  # celery has no types
def build(self: Any, body: str) -> dict[str, Any]:
    """Build chunks by an invitation, a JSON text; returns what it took, or why nothing was built."""
    settings = load_settings()
    letter = Letter.from_dict(self.request.get(LETTER_HEADER))
    invitation = Invitation.model_validate_json(body)
    bound: dict[str, Any] = {"request_id": invitation.request_id, "turn": invitation.number}
    if letter.correlation_id is not None:
        bound["correlation_id"] = letter.correlation_id
    client = process_sqs_client(letter.queue_url, region=settings.aws_region, pid=os.getpid())
    with (
        bound_contextvars(**bound),
        kept_hidden(hiding(client, letter), timeout=settings.visibility_timeout_seconds),
    ):
        return _built(invitation, redelivered=letter.receive_count > 1)


def _built(invitation: Invitation, *, redelivered: bool) -> dict[str, Any]:
    log.info("help started", turns=invitation.turns, archive_key=invitation.key)
    try:
        done = help_build(invitation, services=wiring.services(), redelivered=redelivered)
    except Needless as reason:
        log.info("nothing built", reason=str(reason))
        return {"skipped": str(reason)}
    except ArchiverError as error:
        log.warning("nothing built", code=error.code, reason=error.message)
        return {"skipped": error.code}
    except Exception as error:
        log.error("nothing built", code=type(error).__name__, reason=str(error), exc_info=True)
        return {"skipped": type(error).__name__}
    figures = {"chunks": done.chunks, "parts": done.parts, "bytes": done.bytes, "seconds": round(done.seconds, 3)}
    log.info("help done", **figures)
    return figures
