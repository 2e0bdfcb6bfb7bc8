"""Errors: their type decides what happens to the message, their code is a contract, and they cross processes."""

import pickle

import pytest

from archiver import errors
from archiver.errors import ArchiverError, MissingSources, PermanentError, TransientError


def classes() -> list[type[ArchiverError]]:
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ArchiverError)]


def test_each_is_either_permanent_or_transient() -> None:
    for error in set(classes()) - {ArchiverError}:
        assert issubclass(error, PermanentError) != issubclass(error, TransientError), error


def test_codes_are_a_contract() -> None:
    assert {error.__name__: error.code for error in classes()} == {
        "ArchiverError": "archiver_error",
        "PermanentError": "permanent_error",
        "TransientError": "transient_error",
        "TimeLimitExceeded": "time_limit_exceeded",
        "ProcessLost": "process_lost",
        "AttemptsExhausted": "attempts_exhausted",
        "Cancelled": "cancelled",
        "UnreadableMessage": "unreadable_message",
        "UnknownTask": "unknown_task",
        "UnsupportedCall": "unsupported_call",
        "MessageExpired": "message_expired",
        "InvalidPayload": "invalid_payload",
        "UnsafeName": "unsafe_name",
        "LimitExceeded": "limit_exceeded",
        "MissingSources": "missing_sources",
        "SourceAccessDenied": "source_access_denied",
        "SourceArchived": "source_archived",
        "SourceUnreadable": "source_unreadable",
        "NoSuchBucket": "no_such_bucket",
        "KeyTaken": "archive_exists",
        "SourceChanged": "source_changed",
        "StorageUnavailable": "storage_unavailable",
        "DestinationUnavailable": "destination_unavailable",
        "ArchiveRefused": "archive_refused",
        "QueueUnavailable": "queue_unavailable",
        "TopicUnavailable": "topic_unavailable",
    }


@pytest.mark.parametrize("error", classes())
def test_each_survives_the_way_out_of_a_process(error: type[ArchiverError]) -> None:
    raised = MissingSources(["a", "b"]) if error is MissingSources else error("what happened")

    again = pickle.loads(pickle.dumps(raised))

    assert (type(again), again.message, again.code) == (error, raised.message, raised.code)
    if isinstance(again, MissingSources):
        assert again.sources == ("a", "b")


def test_the_docstring_is_the_default_message() -> None:
    assert errors.UnsafeName().message == "A name inside the archive can't be made safe."
    assert MissingSources(["a", "b"]).message == "2 missing source(s): a, b"


def test_of_many_missing_sources_the_message_names_the_first_few() -> None:
    error = MissingSources([f"{number}{'x' * 1000}" for number in range(20_000)])

    assert error.message.startswith("20000 missing source(s): 0xxx")
    assert error.message.endswith("…, and 19995 more")
    assert len(error.message) < 1000
    assert len(pickle.loads(pickle.dumps(error)).sources) == 20_000


def test_a_message_quotes_nothing_that_harms() -> None:
    url = "https://b.s3.amazonaws.com/k?X-Amz-Signature=5ecre7&x=1"
    assert errors.InvalidPayload(f"got \x1b[2J {url}").message == (
        "got \ufffd[2J https://b.s3.amazonaws.com/k?X-Amz-Signature=REDACTED&x=1"
    )
    missing = MissingSources([url])
    assert "5ecre7" not in missing.message
    assert missing.sources == (url,)  # what the payload says, to be compared with it
    assert "5ecre7" not in errors.shown("x" * 100 + url)
    assert len(errors.InvalidPayload("x" * 1_000_000).message) == errors.MESSAGE_CHARACTERS
