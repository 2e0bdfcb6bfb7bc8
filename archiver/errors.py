"""What can go wrong, sorted by what happens to the message.

The type decides: a ``PermanentError`` sends the message to the dead-letter queue at once, with its code and
message as the reason; a ``TransientError``, like any exception that is not ours, leaves it on the source queue,
where it comes back after a back-off until MAX_ATTEMPTS are over; then it goes to the dead-letter queue, too.

``code`` is part of the contract with the outside (DLQ attributes, failure notifications, exit messages of the
command line): it never changes for a given class. The class's docstring is its default message.
"""

from collections.abc import Sequence
from typing import ClassVar

from archiver.text import cut, presentable, redacted

#: Longest message of an error, in characters.
MESSAGE_CHARACTERS = 4_000
#: Longest quotation of a foreign value in a message.
SHOWN_CHARACTERS = 120
#: Sources that a message names; the error itself has all of them.
SHOWN_SOURCES = 5


class SettingsError(Exception):
    """A setting is missing or bad; the message is one line that names it."""


class ArchiverError(Exception):
    """The archive could not be built."""

    code: ClassVar[str] = "archiver_error"

    def __init__(self, message: str | None = None) -> None:
        # It may quote what came from outside, and goes to logs, attributes, notifications and events.
        message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(presentable(message, limit=MESSAGE_CHARACTERS))

    @property
    def message(self) -> str:
        return str(self)


class PermanentError(ArchiverError):
    """The same message can never succeed."""

    code = "permanent_error"


class TransientError(ArchiverError):
    """The same message may succeed later."""

    code = "transient_error"


class TimeLimitExceeded(PermanentError):
    """The call's own time limit ended the job."""

    code = "time_limit_exceeded"


class Cancelled(PermanentError):
    """The job was cancelled by an operator."""

    code = "cancelled"


class ProcessLost(PermanentError):
    """The job's process died in its last attempt."""

    code = "process_lost"


class AttemptsExhausted(PermanentError):
    """Every attempt was made, and the last one could not tell how it ended."""

    code = "attempts_exhausted"


class UnreadableMessage(PermanentError):
    """The message's body is not a JSON object."""

    code = "unreadable_message"


class UnknownTask(PermanentError):
    """The message calls a task that this worker does not have."""

    code = "unknown_task"


class UnsupportedCall(PermanentError):
    """The message asks for a Celery feature that this queue can't honour."""

    code = "unsupported_call"


class MessageExpired(PermanentError):
    """The message's expiry had passed when it was received."""

    code = "message_expired"


class InvalidPayload(PermanentError):
    """The payload does not validate."""

    code = "invalid_payload"


class UnsafeName(PermanentError):
    """A name inside the archive can't be made safe."""

    code = "unsafe_name"


class LimitExceeded(PermanentError):
    """The job is over a configured limit."""

    code = "limit_exceeded"


class MissingSources(PermanentError):
    """Sources do not exist."""

    # ``sources`` has all of them, the message the first few.

    code = "missing_sources"

    def __init__(self, sources: Sequence[str], message: str | None = None) -> None:
        self.sources = tuple(sources)
        super().__init__(message or _missing(self.sources))

    def __reduce__(self) -> tuple[type["MissingSources"], tuple[tuple[str, ...], str]]:
        # Celery pickles a task's exception on its way from the pool's child process.
        return type(self), (self.sources, self.message)


class SourceAccessDenied(PermanentError):
    """S3 denies access to a source."""

    code = "source_access_denied"


class SourceArchived(PermanentError):
    """A source lies in an archive storage class and must be restored first."""

    code = "source_archived"


class SourceUnreadable(PermanentError):
    """S3 refuses every request that could read a source."""

    code = "source_unreadable"


class NoSuchBucket(PermanentError):
    """A bucket that the payload names does not exist."""

    code = "no_such_bucket"


class KeyTaken(PermanentError):
    """The key that the payload chose is another object's."""

    code = "archive_exists"


class SourceChanged(TransientError):
    """A source changed while the archive was being built."""

    code = "source_changed"


class StorageUnavailable(TransientError):
    """S3 could not be reached or kept failing."""

    code = "storage_unavailable"


class DestinationUnavailable(TransientError):
    """The destination bucket refuses the archive."""

    code = "destination_unavailable"


class ArchiveRefused(TransientError):
    """S3 refused to complete the archive: what it received is not what was planned."""

    code = "archive_refused"


class QueueUnavailable(TransientError):
    """An SQS queue could not be reached."""

    code = "queue_unavailable"


class TopicUnavailable(QueueUnavailable):
    """The SNS topic of the notifications could not be reached."""

    code = "topic_unavailable"


def _missing(sources: Sequence[str]) -> str:
    """How many, and the first few: the whole list may be as long as a payload."""
    names = [cut(redacted(source), SHOWN_CHARACTERS) for source in sources[:SHOWN_SOURCES]]
    more = f", and {len(sources) - len(names)} more" if len(sources) > len(names) else ""
    return f"{len(sources)} missing source(s): {', '.join(names)}{more}"


def shown(value: object) -> str:
    """A value as an error message shows it: its repr, cut. A secret goes first, or half of it would be left."""
    return cut(redacted(repr(value)), SHOWN_CHARACTERS)
