"""Jobs first: when chunks are asked for, and how many."""

import pytest

from archiver.worker.turns import FRESH_SECONDS, SETTLED_SECONDS, Line, chunks_wanted

NOW = 1_000.0


def wanted(jobs: Line, *, slots: int = 4, free: int = 4, held: int = 0, now: float = NOW) -> int:
    return chunks_wanted(jobs, now=now, slots=slots, free=free, held=held)


def waiting() -> Line:
    """A poll for jobs that is out, and has found nothing."""
    line = Line(NOW)
    line.start(NOW - SETTLED_SECONDS)
    return line


@pytest.mark.parametrize(
    ("slots", "free", "held", "most"),
    [
        (4, 4, 0, 3),
        (4, 2, 0, 2),
        (4, 2, 2, 1),
        (4, 1, 3, 0),  # the last slot is for jobs
        (2, 2, 0, 1),
        (2, 1, 1, 0),
        (1, 1, 0, 1),  # there is no other
        (1, 0, 1, 0),
        (64, 0, 0, 0),
    ],
)
def test_chunks_leave_a_slot_to_jobs(slots: int, free: int, held: int, most: int) -> None:
    assert wanted(waiting(), slots=slots, free=free, held=held) == most


def test_chunks_wait_until_the_queue_of_jobs_is_seen_empty() -> None:
    line = Line(NOW)
    assert wanted(line) == 0
    # a poll that has only begun may bring a job
    line.start(NOW)
    assert wanted(line, now=NOW + SETTLED_SECONDS / 2) == 0
    assert wanted(line, now=NOW + SETTLED_SECONDS) == 3
    # one that has brought jobs tells that there may be more
    line.end(NOW + 1, messages=1, failed=False)
    assert wanted(line, now=NOW + 1) == 0
    # one that has brought none tells so for a moment
    line.start(NOW + 2)
    line.end(NOW + 22, messages=0, failed=False)
    assert wanted(line, now=NOW + 22) == 3
    assert wanted(line, now=NOW + 22 + FRESH_SECONDS) == 0
    # and one that has failed tells nothing
    line.start(NOW + 30)
    line.end(NOW + 31, messages=0, failed=True)
    assert wanted(line, now=NOW + 31) == 0
    assert line.failures == 1
