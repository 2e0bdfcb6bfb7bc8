"""How many attempts a job has: MAX_ATTEMPTS, which are receives less hand-backs, and never more than SQS allows."""

from archiver.aws.letters import Letter
from archiver.errors import ArchiverError, PermanentError


class LastAttemptFailed(PermanentError):
    """The job's last attempt failed. Code and message are those of what went wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # that of the attempt's own error

    def __reduce__(self) -> tuple[type["LastAttemptFailed"], tuple[str, str]]:
        return type(self), (self.code, self.message)


def is_last(letter: Letter, *, max_attempts: int, max_receive_count: int) -> bool:
    """Whether there will be no further attempt: after ``max_receive_count`` receives SQS takes the message away."""
    return letter.attempt >= max_attempts or letter.receive_count >= max_receive_count


def is_over(letter: Letter, *, max_attempts: int) -> bool:
    """Whether this receive is one too many: the last attempt ended without a word.

    Where the hand-backs are not known the job has the benefit of the doubt.
    """
    return letter.hand_backs is not None and letter.attempt > max_attempts


def last_attempt_failed(error: Exception, letter: Letter) -> LastAttemptFailed:
    """The reason with which a job is given up."""
    code, message = (
        (error.code, error.message)
        if isinstance(error, ArchiverError)
        else ("unexpected_error", f"{type(error).__name__}: {error}")
    )
    return LastAttemptFailed(code, f"{message} (attempt {letter.attempt}, the last)")
