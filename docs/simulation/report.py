"""The scenarios, as the Markdown tables that docs/scaling.md holds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from docs.simulation.model import Outcome, Policy, simulate
from docs.simulation.prices import Prices, TaskSize, bill, compute_cost
from docs.simulation.workload import Job, burst, daily_wave, make_job, steady

PRICES = Prices()
GB = 1e9

#: Arrivals an hour at the top of a day of which the mean is 1, in the wave that the scenarios use.
PEAK_OVER_MEAN = 1.9

#: Work over paid slots where a million jobs a day come as that wave; ``large_wave`` simulates it.
LARGE_FLEET_BUSY = 0.64


def tables() -> dict[str, str]:
    """Every table by the name that marks its place in the document."""
    makers: dict[str, Callable[[], str]] = {
        "mix": mix,
        "scenarios": scenarios,
        "target": target,
        "cooldowns": cooldowns,
        "maximum": maximum,
        "minimum": minimum,
        "million": million,
    }
    return {name: make() for name, make in makers.items()}


def mix() -> str:
    """What an average job is."""
    jobs = _sample()
    seconds = sorted(job.seconds for job in jobs)
    return _table(
        ("", "mean", "median", "95 %", "99 %"),
        [
            ("size of the archive, MB", *_spread([job.bytes / 1e6 for job in jobs])),
            ("seconds in a slot", *_spread(seconds, digits=1)),
            ("S3 requests at the price of a PUT", *_spread([job.writes for job in jobs])),
            ("S3 requests at the price of a GET", *_spread([job.reads for job in jobs])),
        ],
    )


def scenarios() -> str:
    """The defaults under each kind of arrivals."""
    rows = []
    for label, jobs, hours in (
        ("steady, 60 an hour, 24 h", steady(per_hour=60, hours=24, seed=4), 24),
        ("steady, 3,000 an hour, 12 h", steady(per_hour=3000, hours=12, seed=1), 12),
        ("burst of 10,000 within a minute", burst(jobs=10_000, at=600, seed=2), 0),
        ("daily wave, 50,000 a day", _wave(), 0),
    ):
        outcome = simulate(jobs, policy=Policy(), until=hours * 3600)
        cost = bill(jobs, task_seconds=outcome.task_seconds, prices=PRICES)
        rows.append((label, *_waits(outcome), f"{outcome.peak_backlog:,}", *_fleet(outcome), f"{cost.total:,.2f}"))
    return _table((*_HEAD[:1], *_HEAD[1:5], "most waiting", *_HEAD[5:], "cost, $"), rows)


def target() -> str:
    """The backlog per task that the policy aims at, over the daily wave."""
    rows = []
    for value in (1, 1.5, 2, 3, 6, 10):
        outcome = _over_wave(replace(Policy(), backlog_per_task=value))
        rows.append((f"{value:g}", *_waits(outcome), *_fleet(outcome)))
    outcome = _over_wave(Policy(), counts_in_work=False)
    rows.append(("1.5, waiting messages alone", *_waits(outcome), *_fleet(outcome)))
    return _table(("backlog per task", *_HEAD[1:]), rows)


def cooldowns() -> str:
    """Both cooldowns, over the daily wave."""
    rows = []
    for out, into in ((60, 300), (180, 60), (180, 300), (180, 900), (300, 900)):
        outcome = _over_wave(replace(Policy(), scale_out_cooldown=out, scale_in_cooldown=into))
        rows.append((f"{out} / {into}", *_waits(outcome), *_fleet(outcome)))
    return _table(("out / in, s", *_HEAD[1:]), rows)


def maximum() -> str:
    """The most tasks, with the burst of 10,000."""
    rows = []
    jobs = burst(jobs=10_000, at=600, seed=2)
    for most in (5, 10, 20, 50, 100):
        outcome = simulate(jobs, policy=replace(Policy(), max_tasks=most))
        cost = compute_cost(outcome.task_seconds, prices=PRICES, size=TaskSize())
        rows.append(
            (
                str(most),
                _minutes(outcome.wait(50)),
                _minutes(outcome.turnaround(100)),
                f"{outcome.task_seconds / 3600:.1f}",
                f"{cost:.2f}",
            )
        )
    return _table(("MaxTasks", "median wait, min", "last one done after, min", "task-hours", "compute, $"), rows)


def minimum() -> str:
    """None or one task at least, where little arrives: ten days, priced as a month of thirty."""
    rows = []
    for label, per_hour in (("1 a day", 1 / 24), ("1 an hour", 1.0), ("20 an hour", 20.0)):
        for least in (0, 1):
            jobs = steady(per_hour=per_hour, hours=240, seed=5)
            outcome = simulate(jobs, policy=replace(Policy(), min_tasks=least), until=864_000)
            cost = compute_cost(outcome.task_seconds, prices=PRICES, size=TaskSize())
            spot = compute_cost(outcome.task_seconds, prices=PRICES, size=TaskSize(), spot=True)
            rows.append((label, str(least), *_waits(outcome), f"{cost * 3:.0f}", f"{spot * 3:.0f}"))
    return _table(("arrivals", "MinTasks", *_HEAD[1:5], "compute a month, $", "on Spot, $"), rows)


def large_wave() -> str:
    """A million jobs in a day's wave, simulated; half a minute, so it is no part of ``tables``."""
    jobs = daily_wave(per_day=1e6, days=1, seed=3)
    outcome = simulate(jobs, policy=replace(Policy(), max_tasks=150))
    busy = sum(job.seconds for job in jobs) / 2 / outcome.task_seconds
    return _table((*_HEAD, "busy"), [("1,000,000 a day", *_waits(outcome), *_fleet(outcome), f"{busy:.2f}")])


def million() -> str:
    """A million archives a day, on paper."""
    jobs = _sample()
    count = len(jobs)
    mean = sum(job.seconds for job in jobs) / count
    rate = 1e6 / 86_400
    busy = rate * mean / 2
    tasks_mean = busy / LARGE_FLEET_BUSY
    tasks_peak = math.ceil(tasks_mean * PEAK_OVER_MEAN)
    cost = bill(jobs, task_seconds=0, prices=PRICES)
    scale = 1e6 / count
    compute = compute_cost(tasks_mean * 86_400, prices=PRICES, size=TaskSize())
    spot = compute_cost(tasks_mean * 86_400, prices=PRICES, size=TaskSize(), spot=True)
    reads = sum(job.reads for job in jobs) / count * rate * PEAK_OVER_MEAN
    writes = sum(job.writes for job in jobs) / count * rate * PEAK_OVER_MEAN
    stored = sum(job.bytes for job in jobs) * scale / GB
    polls = tasks_mean * 86_400 / 20 * PRICES.sqs_million / 1e6
    return _table(
        ("", "mean", "peak"),
        [
            ("archives a second", f"{rate:.1f}", f"{rate * PEAK_OVER_MEAN:.1f}"),
            ("tasks of 2 vCPU", f"{tasks_mean:.0f}", f"{tasks_peak}"),
            ("vCPUs", f"{tasks_mean * 2:.0f}", f"{tasks_peak * 2}"),
            ("S3 reads a second", f"{reads / PEAK_OVER_MEAN:,.0f}", f"{reads:,.0f}"),
            ("S3 writes and copies a second", f"{writes / PEAK_OVER_MEAN:,.0f}", f"{writes:,.0f}"),
            ("messages in flight", f"{busy * 2:.0f}", f"{tasks_peak * 2}"),
            ("TB archived a day", f"{stored / 1000:,.0f}", ""),
            ("compute, $ a day (on Spot)", f"{compute:,.0f} ({spot:,.0f})", ""),
            ("S3 requests, $ a day", f"{cost.s3 * scale:,.0f}", ""),
            ("SQS requests, $ a day", f"{cost.sqs * scale + polls:,.2f}", ""),
            ("storage of 7 days' archives, $ a day", f"{stored * 7 / 1.073741824 * PRICES.s3_gib_month / 30:,.0f}", ""),
        ],
    )


_HEAD = ("", "wait median, s", "95 %", "99 %", "longest", "most tasks", "task-hours", "scalings", "handed back")


@cache
def _wave() -> tuple[Job, ...]:
    return tuple(daily_wave(per_day=50_000, days=1, seed=3))


@cache
def _over_wave(policy: Policy, *, counts_in_work: bool = True) -> Outcome:
    return simulate(_wave(), policy=policy, counts_in_work=counts_in_work)


@cache
def _sample() -> tuple[Job, ...]:
    rng = random.Random(7)
    return tuple(make_job(0, rng=rng) for _ in range(20_000))


def _waits(outcome: Outcome) -> tuple[str, ...]:
    return tuple(f"{outcome.wait(percentile):,.0f}" for percentile in (50, 95, 99, 100))


def _fleet(outcome: Outcome) -> tuple[str, ...]:
    hours = f"{outcome.task_seconds / 3600:,.1f}"
    return str(outcome.peak_tasks), hours, str(outcome.scalings), str(outcome.handed_back)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f}"


def _spread(values: Sequence[float], *, digits: int = 0) -> tuple[str, ...]:
    ordered = sorted(values)
    picks = [ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95, 0.99)]
    return tuple(f"{value:,.{digits}f}" for value in (sum(ordered) / len(ordered), *picks))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left and the rest to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
