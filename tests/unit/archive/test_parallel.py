"""Many small jobs on a few threads."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from archiver.archive.memory import Lent
from archiver.archive.parallel import ByteBudget, ordered_map
from tests.support.waiting import LONG_ENOUGH


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_results_come_in_order_whatever_overtakes(executor: ThreadPoolExecutor) -> None:
    second_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_done.wait(10), "the second job runs beside the first"
        elif item == 1:
            second_done.set()
        return item * 2

    assert list(ordered_map(executor, work, range(50), window=2)) == [item * 2 for item in range(50)]


def test_no_more_than_the_window_is_begun(executor: ThreadPoolExecutor) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    results = ordered_map(executor, str, items(), window=5)

    assert next(results) == "0"
    # five begun, and one in the hand to be weighed
    assert taken == 6
    assert next(results) == "1"
    assert taken == 7


def test_the_first_error_ends_it(executor: ThreadPoolExecutor) -> None:
    done = []

    def work(item: int) -> int:
        if item == 3:
            raise ValueError(str(item))
        done.append(item)
        return item

    with pytest.raises(ValueError, match="3"):
        list(ordered_map(executor, work, range(1000), window=8))

    assert len(done) < 20


def test_nothing_in_nothing_out(executor: ThreadPoolExecutor) -> None:
    assert list(ordered_map(executor, str, [], window=3)) == []


def test_heavy_items_go_in_smaller_numbers(executor: ThreadPoolExecutor) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in (4, 4, 9, 20, 1):
            taken.append(item)
            yield item

    results = ordered_map(executor, str, items(), window=10, weight=lambda item: item)

    # the two that fit, and the one that does not; what is heavier than all of it goes alone
    assert next(results) == "4"
    assert taken == [4, 4, 9]
    assert [next(results), next(results)] == ["4", "9"]
    assert taken == [4, 4, 9, 20]
    assert list(results) == ["20", "1"]


class TestTheBytesInMemory:
    def test_are_no_more_than_the_budget(self) -> None:
        budget = ByteBudget(10)
        assert [budget.take(size) for size in (4, 3, 3)] == [True, True, True]
        waiting = threading.Thread(target=budget.take, args=(1,))
        waiting.start()
        assert waiting.is_alive()
        budget.give(4)
        waiting.join(LONG_ENOUGH)
        assert not waiting.is_alive()

    def test_are_those_of_two_whatever_these_weigh(self) -> None:
        budget = ByteBudget(10)
        assert budget.take(100)
        assert budget.take(100)

    def test_are_fewer_by_what_is_lent(self) -> None:
        lent = Lent()
        budget = ByteBudget(10, lent)
        lent.take(6)
        answers = [budget.take(2), budget.take(2)]
        waiting = threading.Thread(target=lambda: answers.append(budget.take(2)))
        with lent.heard_by(budget.look_again):
            waiting.start()
            assert waiting.is_alive()
            assert len(answers) == 2
            lent.give(6)
            waiting.join(LONG_ENOUGH)
        assert answers == [True, True, True]

    def test_are_waited_for_no_more_once_it_is_closed(self) -> None:
        budget = ByteBudget(1)
        assert budget.take(1)
        assert budget.take(1)
        answers: list[bool] = []
        waiting = threading.Thread(target=lambda: answers.append(budget.take(1)))
        waiting.start()
        budget.close()
        waiting.join(LONG_ENOUGH)
        assert answers == [False]
