"""A failed message waits longer each time, and not together with its fellows."""

from hypothesis import given
from hypothesis import strategies as st

from archiver.worker.backoff import MAX_VISIBILITY_SECONDS, backoff_seconds


def test_it_doubles_up_to_the_cap_and_half_of_it_is_certain() -> None:
    longest = [backoff_seconds(count, base=10, cap=60, random=lambda: 1.0) for count in range(1, 6)]
    shortest = [backoff_seconds(count, base=10, cap=60, random=lambda: 0.0) for count in range(1, 6)]
    assert longest == [10, 20, 40, 60, 60]
    assert shortest == [5, 10, 20, 30, 30]


@given(count=st.integers(-1, 10**9), base=st.integers(0, 43_200), cap=st.integers(0, 43_200), random=st.floats(0, 1))
def test_sqs_takes_every_answer(count: int, base: int, cap: int, random: float) -> None:
    assert 0 <= backoff_seconds(count, base=base, cap=cap, random=lambda: random) <= min(cap, MAX_VISIBILITY_SECONDS)
