"""The gate: narrower after a 503, wide again after requests that go well. The clock is the test's."""

import threading
from typing import Any

import pytest

from archiver.aws.throttle import COOL_DOWN, Throttle
from tests.support.waiting import LONG_ENOUGH, eventually


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def pass_through(throttle: Throttle, times: int) -> None:
    for _ in range(times):
        with throttle.slot():
            pass


def test_it_halves_once_for_all_answers_of_a_moment() -> None:
    clock = Clock()
    throttle = Throttle(32, clock=clock)

    throttle.slow_down()
    throttle.slow_down()
    assert throttle.width == 16
    clock.now += COOL_DOWN
    throttle.slow_down()
    assert throttle.width == 8


def test_it_never_closes() -> None:
    clock = Clock()
    throttle = Throttle(4, clock=clock)
    for _ in range(10):
        throttle.slow_down()
        clock.now += COOL_DOWN

    assert throttle.width == 1
    pass_through(throttle, 1)


def test_each_round_that_goes_well_lets_one_more_in() -> None:
    throttle = Throttle(8, clock=Clock())
    throttle.slow_down()

    pass_through(throttle, 5)
    assert throttle.width == 5
    pass_through(throttle, 100)
    assert throttle.width == 8, "and no wider than it was"


def test_requests_that_fail_widen_nothing() -> None:
    throttle = Throttle(8, clock=Clock())
    throttle.slow_down()

    for _ in range(100):
        with pytest.raises(ConnectionResetError), throttle.slot():
            raise ConnectionResetError

    assert throttle.width == 4


def test_no_more_pass_at_once_than_it_is_wide() -> None:
    throttle = Throttle(4, clock=Clock())
    throttle.slow_down()
    inside, peak = 0, 0
    lock = threading.Lock()
    release = threading.Event()

    def work() -> None:
        nonlocal inside, peak
        with throttle.slot():
            with lock:
                inside += 1
                peak = max(peak, inside)
                if inside == 2:
                    release.set()
            release.wait(LONG_ENOUGH)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert peak == 2


def test_a_waiting_request_goes_on_when_another_ends() -> None:
    throttle = Throttle(1)
    entered = threading.Event()

    def enter() -> None:
        with throttle.slot():
            entered.set()

    with throttle.slot():
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.05)
    assert entered.wait(LONG_ENOUGH)
    waiting.join()


def test_all_go_on_for_whom_there_is_room_now() -> None:
    # given two requests that wait for one, while S3 is to be asked for one at a time
    throttle = Throttle(2, clock=Clock())
    throttle.slow_down()
    together = threading.Barrier(2)
    went_on = []

    def enter() -> None:
        with throttle.slot():
            together.wait(LONG_ENOUGH)
            went_on.append(True)

    with throttle.slot():
        for _ in range(2):
            threading.Thread(target=enter, daemon=True).start()
        assert eventually(lambda: len(throttle._changed._waiters) == 2)  # type: ignore[attr-defined]  # the standard library's

    # when that one has gone well, then there is room for two
    assert eventually(lambda: len(went_on) == 2)


def test_it_learns_from_every_answer_of_a_client() -> None:
    registered: dict[str, Any] = {}

    class Events:
        def register(self, name: str, handler: Any) -> None:
            registered[name] = handler

    class Meta:
        events = Events()

    class Client:
        meta = Meta()

    class Response:
        def __init__(self, status_code: int) -> None:
            self.status_code = status_code

    throttle = Throttle(8, clock=Clock())
    throttle.watch(Client())
    answered = registered["needs-retry.s3"]

    answered(response=None, caught_exception=OSError())
    answered(response=(Response(200), {}))
    answered(response=(Response(500), {}))
    assert throttle.width == 8
    answered(response=(Response(503), {}))
    assert throttle.width == 4
    throttle = Throttle(8, clock=Clock())
    throttle.watch(Client())
    registered["needs-retry.s3"](response=(Response(400), {"Error": {"Code": "KMS.ThrottlingException"}}))
    assert throttle.width == 4


def test_one_that_takes_places_without_a_pause_leaves_every_second_one_to_those_who_wait() -> None:
    # given one place, which is taken, and one who waits for it
    throttle = Throttle(1)
    assert throttle.try_enter()
    went_on: list[bool] = []

    def wait_for_it() -> None:
        with throttle.slot():
            went_on.append(True)

    waiter = threading.Thread(target=wait_for_it, daemon=True)
    waiter.start()
    assert eventually(lambda: len(throttle._changed._waiters) == 1)  # type: ignore[attr-defined]  # the standard library's

    # when it is given back, it is not to be had at once, unless the other has had it
    throttle.leave(200)
    assert not throttle.try_enter() or went_on

    waiter.join(LONG_ENOUGH)
    assert not waiter.is_alive()


def test_who_holds_a_place_needs_no_other() -> None:
    """As a part that is streamed when its job is cancelled: it aborts the upload while it holds its objects' place."""
    throttle = Throttle(1)

    def hold() -> None:
        with throttle.slot():
            pass_through(throttle, 1)
            assert not throttle.try_enter(), "it is held until the end"

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    holder.join(LONG_ENOUGH)
    assert not holder.is_alive()
    pass_through(throttle, 1)
    assert throttle.try_enter(), "it was given back once"
    assert not throttle.try_enter()
