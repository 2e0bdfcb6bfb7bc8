"""A message on the crew's queue becomes a call that builds a chunk, or is dropped: there are no dead letters of it.

Nothing here raises: a message that is no invitation, whatever its bytes, costs a log line.
"""

from typing import Any

from pydantic import ValidationError

from archiver.archive.crew_plan import Invitation
from archiver.aws.letters import Letter
from archiver.worker.envelope import CHUNK_TASK, envelope

#: Receives after which an invitation is dropped: a chunk that kills its process must not do so for ever, and its job
#: goes on without.
MOST_RECEIVES = 3
#: The longest body of an invitation, in characters: the longest key and upload id, and room.
MOST_CHARACTERS = 16 * 1024


def chunk_call(letter: Letter, queue: str) -> dict[str, Any] | str:
    """The kombu envelope for an invitation, or why it is dropped."""
    if letter.receive_count > MOST_RECEIVES:
        return f"it was received {letter.receive_count} times, and nobody came to an end with it"
    if len(letter.body) > MOST_CHARACTERS:
        return f"its body has {len(letter.body)} characters"
    try:
        invitation = Invitation.model_validate_json(letter.body.encode(errors="surrogatepass"))
    except ValidationError as error:
        return f"it is no invitation: {error.error_count()} faults"
    return envelope(
        letter,
        queue,
        task=CHUNK_TASK,
        args=[letter.body],
        argsrepr=f"turn {invitation.number + 1} of {invitation.turns}",
        task_id=letter.message_id,
        timelimit=(None, None),
        parent_id=invitation.request_id,
    )
