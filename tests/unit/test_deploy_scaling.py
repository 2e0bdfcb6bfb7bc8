"""docs/scaling.md, its formulas and the template say the same: every figure of its tables is computed here."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp
from typing import Any

import pytest

from devtools.cloudformation import SERVICE
from devtools.localstack import CHECKOUT
from tests.support.policies import load_template

DOCUMENT = (CHECKOUT / "docs" / "scaling.md").read_text(encoding="utf-8")
DEFAULTS: dict[str, Any] = {
    name: parameter.get("Default") for name, parameter in load_template(SERVICE)["Parameters"].items()
}

MIB = 1024 * 1024
SLOTS, TARGET, MAXIMUM = 2, 1.5, 20
#: Dollars an hour of a task, on demand and on Spot; a million of SQS's requests; a PUT and a GET.
TASK_HOUR = 2 * 0.04048 + 4 * 0.004445
SPOT, SQS, PUT, GET = 0.3, 0.40 / 1e6, 0.005 / 1e3, 0.0004 / 1e3
PEAK = 1.9
#: Seconds that a chunk takes a slot, that an alarm waits for, and after which a new task is there.
CHUNK, ALARM, FOLLOWS = 10, 180, 60 + 3 * 60 + 60
#: Chunks that count as one job while they wait.
WAITING = FOLLOWS // CHUNK


@dataclass(frozen=True, slots=True)
class Job:
    """The mean of many jobs: bytes, seconds in a slot, requests by their price."""

    share: float
    files: float
    bytes: float
    seconds: float
    puts: float
    gets: float


def mean_job(share: float, files: tuple[float, float], size: tuple[float, float], *, copied: bool) -> Job:
    """Files and sizes are lognormal: (median, sigma)."""
    count, each = (median * exp(sigma**2 / 2) for median, sigma in (files, size))
    total = count * each
    puts = 2 + (2 * count if copied else total / (8 * MIB))
    moved = total / 300e6 + count * 5 * MIB / 50e6 if copied else total / 50e6
    return Job(share, count, total, 1 + moved + 0.0025 * (puts + 2 * count), puts, 2 * count)


KINDS = {
    "photo albums": mean_job(0.75, (40, 0.8), (3 * MIB, 0.3), copied=False),
    "documents": mean_job(0.20, (200, 1.0), (0.3 * MIB, 0.5), copied=False),
    "video, raw data": mean_job(0.05, (20, 0.7), (400 * MIB, 0.8), copied=True),
}


def mean_of(figure: Callable[[Job], float]) -> float:
    return sum(job.share * figure(job) for job in KINDS.values())


MEAN = Job(
    share=1,
    files=mean_of(lambda job: job.files),
    bytes=mean_of(lambda job: job.bytes),
    seconds=mean_of(lambda job: job.seconds),
    puts=mean_of(lambda job: job.puts),
    gets=mean_of(lambda job: job.gets),
)


def waiting(slots: int, busy: float) -> float:
    """Erlang C: the share of jobs that find all slots busy."""
    if slots <= busy:
        return 1
    lost = 1.0
    for number in range(1, slots + 1):
        lost = busy * lost / (number + busy * lost)
    return slots * lost / (slots - busy * (1 - lost))


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def mix() -> list[str]:
    return [
        row(
            name,
            f"{job.share:.0%}".replace("%", " %"),
            f"{job.files:,.0f}",
            f"{job.bytes / 1e6:,.0f}",
            f"{job.seconds:.1f}",
            f"{job.puts:.0f}",
            f"{job.gets:.0f}",
        )
        for name, job in {**KINDS, "mean": MEAN}.items()
    ]


def targets() -> list[str]:
    busy = 100_000 / 86_400 * PEAK * MEAN.seconds
    rows = []
    for target in (1, 1.25, 1.5, 1.75, 2):
        tasks = ceil(busy / target)
        share = f"{waiting(tasks * SLOTS, busy):.0%}".replace("%", " %")
        hours = 100_000 * MEAN.seconds / 3600 / target
        rows.append(row(f"{target:g}", str(tasks), f"{target / SLOTS:.0%}".replace("%", " %"), share, f"{hours:.0f}"))
    return rows


def maximum() -> list[str]:
    rows = []
    work = 10_000 * MEAN.seconds / SLOTS
    for tasks in (5, 10, 20, 50, 100):
        done = 5 + work / tasks / 60
        hours = work / 3600 + tasks * 16 / 60
        rows.append(row(str(tasks), f"{done:.0f}", f"{hours:.1f}", f"{hours * TASK_HOUR:.2f}"))
    return rows


def million() -> list[str]:
    rate = 1e6 / 86_400
    busy = rate * MEAN.seconds
    tasks = busy / TARGET
    compute = tasks * 24 * TASK_HOUR
    stored = 1e6 * MEAN.bytes / 1e9
    requests = 1e6 * (3 + MEAN.seconds / 40) + tasks * 86_400 / 20

    def both(name: str, mean: float, digits: int = 0) -> str:
        return row(name, f"{mean:,.{digits}f}", f"{mean * PEAK:,.{digits}f}")

    return [
        both("archives a second", rate, 1),
        both("jobs in work", busy),
        both("tasks of 2 vCPU", tasks),
        both("vCPUs", tasks * 2),
        both("S3 reads a second", rate * MEAN.gets),
        both("S3 writes and copies a second", rate * MEAN.puts),
        row("TB archived a day", f"{stored / 1000:,.0f}", ""),
        row("compute, $ a day (on Spot)", f"{compute:,.0f} ({compute * SPOT:,.0f})", ""),
        row("S3 requests, $ a day", f"{1e6 * (MEAN.puts * PUT + MEAN.gets * GET):,.0f}", ""),
        row("SQS requests, $ a day", f"{requests * SQS:.2f}", ""),
        row("storage of 7 days' archives, $ a day", f"{stored * 7 / 1.073741824 * 0.023 / 30:,.0f}", ""),
    ]


def chunks() -> list[str]:
    """One archive, at first on one task: what the fleet does for it, with a chunk that waits worth this and that."""

    def fleet(count: int, worth: float) -> list[str]:
        waiting = count - ALARM / CHUNK * SLOTS
        tasks = min(MAXIMUM, ceil((waiting * worth + SLOTS) / TARGET))
        left = max(0.0, count - FOLLOWS / CHUNK * SLOTS)
        seconds = min(count * CHUNK / SLOTS, FOLLOWS) + left * CHUNK / (tasks + 1)
        return [str(tasks), f"{seconds / 60:.1f}", f"{(tasks - 1) * 16 / 60 * TASK_HOUR:.2f}"]

    rows = []
    for read in (25, 100, 300, 1000):
        count = round(read * 1e9 / (CHUNK * 50e6))
        alone = f"{count * CHUNK / SLOTS / 60:.1f}"
        rows.append(row(f"{read:,}", f"{count:,}", alone, *fleet(count, 1 / WAITING), *fleet(count, 1)))
    return rows


def terabyte() -> list[str]:
    """A terabyte of photos by so many slots."""
    rows = []
    for slots in (1, 10, 40, 100, 400):
        seconds = 20_000 / slots
        rows.append(
            row(
                str(slots),
                f"{(30 + seconds) / 60:,.1f}",
                f"{200_000 / seconds:,.0f}",
                f"{(10_000 + 2 * 1_800) / seconds:,.1f}",
                f"{1_000 / seconds:,.2f}",
            )
        )
    lists = (30 + 20_000 / 40) / 2 * 2
    requests = (200 + 10_000 + 2 * 1_800 + lists) * PUT + (200_000 + 2 * 1_800) * GET
    return [*rows, f"{requests:.2f} $ for S3's requests", f"{20_000 / 3600 * TASK_HOUR / SLOTS:.2f} $ of computing"]


def test_what_a_waiting_chunk_is_worth_is_in_the_template_too() -> None:
    scaling = load_template(SERVICE)["Resources"]["BacklogPolicy"]["Properties"]

    assert WAITING == 30
    assert f"FILL(chunks_waiting, 0) / {WAITING} " in str(scaling)


@pytest.mark.parametrize("table", [mix, targets, chunks, terabyte, maximum, million])
def test_the_documents_figures_follow_from_its_formulas(table: Callable[[], list[str]]) -> None:
    assert [line for line in table() if line not in DOCUMENT] == []


def test_the_formula_of_waiting_is_erlangs() -> None:
    # two figures that textbooks print, and one slot, where it is the utilisation
    assert waiting(1, 0.5) == pytest.approx(0.5)
    assert waiting(2, 1) == pytest.approx(1 / 3)
    assert waiting(10, 8) == pytest.approx(0.409, abs=0.001)


@pytest.mark.parametrize(
    ("parameter", "value", "heading"),
    [
        ("BacklogPerTask", TARGET, "## BacklogPerTask = 1.5"),
        ("ScaleOutCooldownSeconds", 60 + 60 + 60, "## Cooldowns = 180 and 900 seconds"),
        ("ScaleInCooldownSeconds", 900, "## Cooldowns = 180 and 900 seconds"),
        ("MaxTasks", MAXIMUM, "## MaxTasks = 20"),
        ("MinTasks", 1, "## MinTasks = 1"),
        ("WorkerConcurrency", SLOTS, "`WorkerConcurrency=2`"),
        ("SoftShutdownSeconds", 90, "90 seconds"),
        ("Cpu", 2 * 1024, "2 vCPU, 4 GiB"),
        ("Memory", 4 * 1024, "2 vCPU, 4 GiB"),
    ],
)
def test_the_template_defaults_to_what_the_document_reasons_about(parameter: str, value: float, heading: str) -> None:
    assert DEFAULTS[parameter] == value
    assert heading in DOCUMENT
