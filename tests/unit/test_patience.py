"""How long a test waits for what must happen."""

from devtools.patience import MOST_AT_ONCE, Patience


def test_ends_when_its_seconds_are_over() -> None:
    now = 100.0
    patience = Patience(20, clock=lambda: now)
    assert patience.left() == 20
    now += 8
    assert patience.left() == 12
    now += 8
    assert patience.left() == 4
    now += 8
    assert patience.left() == 0


def test_a_machine_that_stood_still_takes_little_of_it() -> None:
    now = 100.0
    patience = Patience(20, clock=lambda: now)
    now += 3600
    assert patience.left() == 20 - MOST_AT_ONCE
