"""docs/scaling.md, its simulation and the template say the same; the simulation does what it says."""

from typing import Any

import pytest

from devtools.cloudformation import SERVICE
from docs.simulation.__main__ import DOCUMENT
from docs.simulation.model import Outcome, Platform, Policy, simulate
from docs.simulation.prices import Prices, TaskSize, bill, compute_cost
from docs.simulation.workload import Job, burst, daily_wave, steady
from tests.support.policies import load_template

PARAMETERS: dict[str, Any] = load_template(SERVICE)["Parameters"]


def jobs(*arrivals: float, seconds: float = 10) -> list[Job]:
    return [Job(arrives=arrival, seconds=seconds, bytes=1, writes=3, reads=2) for arrival in arrivals]


def fleet_at(outcome: Outcome, minute: int) -> int:
    return outcome.series[minute][3]


# ---- in step ----


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("MinTasks", Policy().min_tasks),
        ("MaxTasks", Policy().max_tasks),
        ("BacklogPerTask", Policy().backlog_per_task),
        ("ScaleOutCooldownSeconds", Policy().scale_out_cooldown),
        ("ScaleInCooldownSeconds", Policy().scale_in_cooldown),
        ("WorkerConcurrency", Platform().slots_per_task),
        ("SoftShutdownSeconds", Platform().drain_seconds),
        ("Cpu", TaskSize().vcpus * 1024),
        ("Memory", TaskSize().gib * 1024),
    ],
)
def test_the_template_defaults_to_what_was_simulated(parameter: str, value: float) -> None:
    assert PARAMETERS[parameter]["Default"] == value


def test_the_document_names_the_defaults() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")

    assert f"## BacklogPerTask = {Policy().backlog_per_task:g}" in text
    assert f"## Cooldowns = {Policy().scale_out_cooldown:g} and {Policy().scale_in_cooldown:g} seconds" in text
    assert f"## MaxTasks = {Policy().max_tasks}" in text
    assert f"## MinTasks = {Policy().min_tasks}" in text


# ---- the model ----


def test_jobs_run_at_once_while_slots_are_free() -> None:
    outcome = simulate(jobs(0, 0), policy=Policy())

    assert list(outcome.waits) == [0, 0]
    assert list(outcome.turnarounds) == [10, 10]
    assert outcome.scalings == 0


def test_a_third_job_waits_for_a_slot() -> None:
    outcome = simulate(jobs(0, 0, 0), policy=Policy())

    assert list(outcome.waits) == [0, 0, 10]


def test_the_fleet_grows_after_three_minutes_of_metrics_and_a_start() -> None:
    # given a backlog of 100 long jobs from the beginning
    outcome = simulate(jobs(*[0.0] * 100, seconds=1200), policy=Policy(max_tasks=8))

    # then minutes 0, 1 and 2, each seen a minute late, raise the alarm in minute 3, and a start takes a minute
    assert fleet_at(outcome, 3) == 1
    assert fleet_at(outcome, 5) == 8
    assert outcome.peak_tasks == 8


def test_the_fleet_shrinks_a_quarter_of_an_hour_after_the_work() -> None:
    outcome = simulate(jobs(*[0.0] * 40, seconds=300), policy=Policy(max_tasks=10))

    shrunk = next(minute for minute, (_, _, _, running) in enumerate(outcome.series) if minute > 10 and running == 1)
    done = max(time for time, waiting, in_work, _ in outcome.series if waiting + in_work) / 60
    assert 15 <= shrunk - done <= 19


def test_a_task_that_must_go_hands_back_what_it_can_not_finish() -> None:
    # given few jobs that outlast the drain on a fleet that is too large for them
    outcome = simulate(jobs(*[0.0] * 30, *[600.0] * 6, seconds=1500), policy=Policy(max_tasks=15, backlog_per_task=6))

    # then every job is done all the same
    assert outcome.handed_back > 0
    assert len(outcome.turnarounds) == 36


def test_from_zero_the_first_message_wakes_one_task() -> None:
    outcome = simulate(jobs(30), policy=Policy(min_tasks=0))

    assert len(outcome.turnarounds) == 1
    assert 90 < outcome.waits[0] <= 180
    assert outcome.series[-1][3] == 0
    # and within a quarter of an hour of silence the fleet is back at nothing
    assert outcome.task_seconds < 20 * 60


def test_no_job_is_lost_whatever_the_policy() -> None:
    arrivals = burst(jobs=2000, at=100, seed=9)

    for policy in (Policy(), Policy(min_tasks=0), Policy(max_tasks=100, backlog_per_task=0.5, scale_in_cooldown=0)):
        outcome = simulate(arrivals, policy=policy)
        assert len(outcome.waits) == len(outcome.turnarounds) == 2000
        assert outcome.peak_tasks <= policy.max_tasks
        # no machine works faster than its slots
        assert outcome.task_seconds * 2 >= sum(job.seconds for job in arrivals)


def test_the_same_seed_gives_the_same_run() -> None:
    first, second = (simulate(steady(per_hour=2000, hours=1, seed=8), policy=Policy()) for _ in range(2))

    assert first == second


def test_the_wave_peaks_at_noon_and_sleeps_at_midnight() -> None:
    arrivals = [job.arrives for job in daily_wave(per_day=10_000, days=1, seed=6)]

    night = sum(arrival < 3600 for arrival in arrivals)
    noon = sum(43_200 <= arrival < 46_800 for arrival in arrivals)
    assert len(arrivals) == pytest.approx(10_000, rel=0.05)
    assert noon > 10 * night


# ---- the bill ----


def test_an_hour_of_a_task_costs_what_the_price_list_says() -> None:
    prices = Prices()

    cost = compute_cost(3600, prices=prices, size=TaskSize())

    assert cost == pytest.approx(2 * 0.04048 + 4 * 0.004445)
    assert compute_cost(3600, prices=prices, size=TaskSize(), spot=True) == pytest.approx(cost * 0.3)


def test_requests_are_billed_by_their_kind() -> None:
    found = bill([Job(arrives=0, seconds=0, bytes=1, writes=1000, reads=1000)], task_seconds=0, prices=Prices())

    assert found.s3 == pytest.approx(0.005 + 0.0004)
    assert found.sqs == pytest.approx(3 * 0.4e-6)
    assert found.total == pytest.approx(found.s3 + found.sqs)
