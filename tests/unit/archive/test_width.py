"""How many parts are under way at once."""

from dataclasses import replace

from archiver.archive.width import QUICK, SHARED_PARTS, SLOW, LastWidth
from tests.support.jobs import OPTIONS


def test_a_quick_part_of_a_shared_plan_lets_one_more_in_and_a_slow_one_takes_it_back() -> None:
    width = replace(OPTIONS, parts_in_flight=SHARED_PARTS + 2, last_width=LastWidth()).width(shared=True)
    found = [width.now]
    for seconds in (QUICK, QUICK / 2, SLOW, 0, 0, 2 * SLOW, 2 * SLOW, 2 * SLOW):
        width.took(seconds)
        found.append(width.now)
    assert [now - SHARED_PARTS for now in found] == [0, 0, 1, 1, 2, 2, 1, 0, 0]


def test_a_shared_plan_goes_on_where_the_one_before_it_was_wide() -> None:
    options = replace(OPTIONS, parts_in_flight=3 * SHARED_PARTS, last_width=LastWidth())
    before = options.width(shared=True)
    for _ in range(SHARED_PARTS):
        # a few that are quick say little, as the last ones of a plan are
        assert not before.is_wide
        assert options.width(shared=True).now == SHARED_PARTS
        before.took(0)
    before.took(0)

    assert before.is_wide
    assert options.width(shared=True).now == before.now == 2 * SHARED_PARTS + 1
    assert replace(options, parts_in_flight=2 * SHARED_PARTS).width(shared=True).now == 2 * SHARED_PARTS
    before.took(2 * SLOW)
    before.took(2 * SLOW)
    assert options.width(shared=True).now == SHARED_PARTS


def test_a_plan_of_ones_own_has_all_from_the_start() -> None:
    assert OPTIONS.width(shared=False).now == OPTIONS.parts_in_flight


def test_a_setting_bounds_a_shared_plan_too() -> None:
    width = OPTIONS.width(shared=True)
    width.took(0)
    assert width.now == OPTIONS.parts_in_flight < SHARED_PARTS
