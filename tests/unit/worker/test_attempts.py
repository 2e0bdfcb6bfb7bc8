"""Which attempt is the last, which one too many, and what is told of it."""

import pickle
from dataclasses import replace

import pytest

from archiver.aws.letters import Letter
from archiver.errors import StorageUnavailable
from archiver.worker.attempts import is_last, is_over, last_attempt_failed

LETTER = Letter("m-1", "https://sqs/q", "handle", 1, 0.0, "the body")


@pytest.mark.parametrize(
    ("receives", "hand_backs", "attempt", "last", "over"),
    [
        (1, 0, 1, False, False),
        (5, 0, 5, True, False),
        (6, 0, 6, True, True),
        (15, 10, 5, True, False),
        (15, 11, 4, False, False),
        (50, 49, 1, True, False),  # SQS takes it away next
        (6, None, 6, True, False),  # S3 did not say: the job is tried
        (1, 3, 1, False, False),  # an impossible record
    ],
)
def test_hand_backs_are_no_attempts(
    receives: int, hand_backs: int | None, attempt: int, last: bool, over: bool
) -> None:
    letter = replace(LETTER, receive_count=receives, hand_backs=hand_backs)

    assert letter.attempt == attempt
    assert is_last(letter, max_attempts=5, max_receive_count=50) is last
    assert is_over(letter, max_attempts=5) is over


def test_the_reason_is_that_of_the_last_attempt() -> None:
    letter = replace(LETTER, receive_count=5)

    known = last_attempt_failed(StorageUnavailable("S3 is away"), letter)
    unknown = last_attempt_failed(KeyError("x"), letter)

    assert (known.code, known.message) == ("storage_unavailable", "S3 is away (attempt 5, the last)")
    assert (unknown.code, unknown.message) == ("unexpected_error", "KeyError: 'x' (attempt 5, the last)")
    copy = pickle.loads(pickle.dumps(known))
    assert (copy.code, copy.message) == (known.code, known.message)
