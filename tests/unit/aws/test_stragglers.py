"""When an answer is overdue, and how many requests may be made a second time: the timer and the budget."""

import random

import pytest

from archiver.aws.stragglers import ANSWERS_A_HEDGE, ENOUGH, FLOOR, MOST_SAVED, Stragglers


def after(*seconds: float) -> Stragglers:
    stragglers = Stragglers()
    for each in seconds:
        stragglers.answered(each)
    return stragglers


def budget(stragglers: Stragglers) -> int:
    count = 0
    while stragglers.patience() is not None:
        stragglers.spend()
        count += 1
    return count


def test_before_any_answer_nothing_is_overdue() -> None:
    assert Stragglers().patience() is None


def test_quick_answers_make_nobody_more_impatient_than_the_floor() -> None:
    assert after(*[0.001] * 1000).patience() == FLOOR


@pytest.mark.parametrize("usual", [0.2, 1.0, 20.0])
def test_where_all_answers_are_slow_none_of_them_is_overdue(usual: float) -> None:
    drawn = random.Random(1)
    answers = [usual * drawn.uniform(0.5, 1.5) for _ in range(1000)]

    patience = after(*answers).patience()

    assert patience is not None
    assert patience > max(answers)


def test_one_in_a_hundred_that_takes_ten_times_as_long_is_overdue() -> None:
    answers = [0.02, 0.03, 0.025, 0.04, 0.02] * 100
    answers[::100] = [0.3] * 5

    patience = after(*answers).patience()

    assert patience is not None
    assert max(0.04, FLOOR) <= patience < 0.15


def test_the_first_samples_are_weighed_as_the_rfc_says() -> None:
    # RFC 6298, 2.2 and 2.3, with gains of 1/2 and 2/2 for the second sample, 1/3 and 2/3 for the third
    stragglers = after(1.0, 2.0, 4.5)

    assert stragglers._mean == pytest.approx(1.5 + (4.5 - 1.5) / 3)
    assert stragglers._variation == pytest.approx(1.0 + (3.0 - 1.0) * 2 / 3)


def test_patience_grows_where_answers_become_slower_and_shrinks_again() -> None:
    stragglers = after(*[0.02] * 1000)
    before = stragglers.patience()

    for _ in range(2000):
        stragglers.answered(1.0)
    slow = stragglers.patience()
    for _ in range(4000):
        stragglers.answered(0.02)
    again = stragglers.patience()

    assert before is not None
    assert slow is not None
    assert again is not None
    assert before == FLOOR
    assert slow > 1.0
    assert again < 0.1


def test_a_few_stragglers_at_the_end_make_nobody_much_more_patient() -> None:
    stragglers = after(*[0.02, 0.03] * 500)

    for _ in range(5):
        stragglers.answered(0.3)

    patience = stragglers.patience()
    assert patience is not None
    assert patience < 0.1


@pytest.mark.parametrize("answers", [0, ENOUGH, ANSWERS_A_HEDGE - 1, ANSWERS_A_HEDGE, 7 * ANSWERS_A_HEDGE + 1])
def test_two_in_a_hundred_may_be_asked_a_second_time(answers: int) -> None:
    assert budget(after(*[0.02] * answers)) == answers // ANSWERS_A_HEDGE


def test_not_more_than_a_few_are_saved_up() -> None:
    stragglers = after(*[0.02] * 100_000)
    assert budget(stragglers) == MOST_SAVED

    for _ in range(ANSWERS_A_HEDGE):
        stragglers.answered(0.02)
    assert budget(stragglers) == 1
