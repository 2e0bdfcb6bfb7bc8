"""Figures to tables."""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Usage
from devtools.proxy import Counts

MIB = 1024 * 1024
#: The program that the others are compared with.
YARDSTICK = "threads"


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run of one program on one workload."""

    usage: Usage
    counts: Counts
    archive_size: int


@dataclass(frozen=True, slots=True)
class Column:
    """A figure: how it is read from a run, summed up over runs and written."""

    title: str
    read: Callable[[Run], float]
    sum_up: Callable[[Sequence[float]], float] = statistics.median
    digits: int = 1
    ratio: bool = True


COLUMNS = (
    Column("wall, s", lambda run: run.usage.wall, digits=2),
    Column("CPU, s", lambda run: run.usage.cpu, digits=2),
    Column("peak memory, MiB", lambda run: run.usage.peak / MIB, sum_up=max, digits=0),
    Column("down, MiB", lambda run: run.counts.bytes_down / MIB),
    Column("up, MiB", lambda run: run.counts.bytes_up / MIB),
    Column("(down + up) / archive", lambda run: run.counts.bytes_both / run.archive_size, digits=3, ratio=False),
    Column("requests", lambda run: run.counts.total, digits=0),
)


def table(runs: Mapping[str, Sequence[Run]]) -> str:
    """One workload's Markdown table, a line a program; in brackets the ratio to the yardstick, where it ran.

    Medians of the runs; of the peak memory the highest.
    """
    lines = [
        "| program | " + " | ".join(column.title for column in COLUMNS) + " | wall, least to most |",
        "|---|" + "---:|" * (len(COLUMNS) + 1),
    ]
    yardstick = runs.get(YARDSTICK)
    for program, own in runs.items():
        if not own:
            lines.append(f"| {program} | failed |" + " |" * len(COLUMNS))
            continue
        cells = []
        for column in COLUMNS:
            value = column.sum_up([column.read(run) for run in own])
            cell = f"{value:,.{column.digits}f}"
            if column.ratio and yardstick:
                base = column.sum_up([column.read(run) for run in yardstick])
                cell += f" ({value / base:.2f})" if base else ""
            cells.append(cell)
        walls = [run.usage.wall for run in own]
        lines.append(f"| {program} | {' | '.join(cells)} | {min(walls):.2f} to {max(walls):.2f} |")
    return "\n".join(lines)


def requests_by_operation(runs: Mapping[str, Sequence[Run]]) -> str:
    """What each program asked the server for, in its last run."""
    lines = []
    for program, own in runs.items():
        if own:
            counted = sorted(own[-1].counts.requests.items(), key=lambda item: -item[1])
            lines.append(f"- {program}: " + ", ".join(f"{count:,} {operation}" for operation, count in counted))
    return "\n".join(lines)


def machine() -> str:
    """The machine in a line."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)):
        model = found[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1024 * MIB)
    return (
        f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def write(text: str, path: Path, *, mark: str) -> None:
    """Write a file, or only what stands between the comments ``<!-- mark: begin -->`` and ``end`` where it has them."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    if path.exists() and begin in (old := path.read_text()):
        before, rest = old.split(begin, 1)
        text = f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end, 1)[1]}"
    path.write_text(text)
