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

    def cell(self, runs: Sequence[Run], yardstick: Sequence[Run]) -> str:
        value = self.sum_up([self.read(run) for run in runs])
        base = self.sum_up([self.read(run) for run in yardstick]) if self.ratio and yardstick else 0
        return f"{value:,.{self.digits}f}" + (f" ({value / base:.2f})" if base else "")


WALL = Column("wall, s", lambda run: run.usage.wall, digits=2)
CPU = Column("CPU, s", lambda run: run.usage.cpu, digits=2)
PEAK = Column("peak memory, MiB", lambda run: run.usage.peak / MIB, sum_up=max, digits=0)
DOWN = Column("down, MiB", lambda run: run.counts.bytes_down / MIB)
UP = Column("up, MiB", lambda run: run.counts.bytes_up / MIB)
MOVED = Column("(down + up) / archive", lambda run: run.counts.bytes_both / run.archive_size, digits=3, ratio=False)
REQUESTS = Column("requests", lambda run: run.counts.total, digits=0)
COLUMNS = (WALL, CPU, PEAK, DOWN, UP, MOVED, REQUESTS)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table(runs: Mapping[str, Sequence[Run]]) -> str:
    """One workload's table, a line a program; in brackets the ratio to the yardstick, where it ran.

    Medians of the runs; of the peak memory the highest.
    """
    rows = []
    for program, own in runs.items():
        if not own:
            rows.append([program, "failed", *[""] * len(COLUMNS)])
            continue
        walls = [run.usage.wall for run in own]
        cells = [column.cell(own, runs.get(YARDSTICK, ())) for column in COLUMNS]
        rows.append([program, *cells, f"{min(walls):.2f} to {max(walls):.2f}"])
    return markdown(["program", *(column.title for column in COLUMNS), "wall, least to most"], rows)


def requests_by_operation(runs: Mapping[str, Sequence[Run]]) -> str:
    """What each program asked the server for, in its last run."""
    lines = []
    for program, own in runs.items():
        if own:
            counted = sorted(own[-1].counts.requests.items(), key=lambda item: -item[1])
            lines.append(f"- {program}: " + ", ".join(f"{count:,} {operation}" for operation, count in counted))
    return "\n".join(lines)


def conditions() -> str:
    """The day and the machine in a line."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text() if cpuinfo.exists() else "", re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1024 * MIB)
    return (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores of {found[1] if found else '?'}, "
        f"{memory:.0f} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def write(text: str, path: Path, *, mark: str) -> None:
    """Write a file, or only what stands between the comments ``<!-- mark: begin -->`` and ``end`` where it has them."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    if path.exists() and begin in (old := path.read_text()):
        before, rest = old.split(begin, 1)
        text = f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end, 1)[1]}"
    path.write_text(text)
