"""Peak memory of the engine's process for archives of growing size: ``python -m benchmarks.memory``.

Large archives are made of a few objects that are listed often, so that little has to be uploaded. Each archive is
checked and deleted before the next one is built; the largest needs twice its size on the server's disk, and once
more where it is checked.
"""

import argparse
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.bench import Bench, note, open_bench, two_buckets
from benchmarks.job import ArchiveJob, Entry
from benchmarks.verify import Expected
from benchmarks.workloads import MEMORY_SOURCES, Workload

MIB = 1024 * 1024
SIZES = (64, 512, 2048, 8192)
#: What the process may take, in MiB, whatever the archive's size.
BOUND = 200


def listed_often(workload: Workload, expected: Expected, *, size: int) -> tuple[tuple[Entry, ...], Expected]:
    """Entries of ``size`` bytes together, and what their archive must hold."""
    sources = workload.sources
    entries, names = [], {}
    for number in range(max(1, size // sources[0].size)):
        source = sources[number % len(sources)]
        name = f"{number:06d}.bin"
        entries.append(Entry(source=source.key, destination=name))
        names[name] = expected[source.name]
    return tuple(entries), names


def measure(bench: Bench, workload: Workload, sizes: Sequence[int]) -> list[report.Run]:
    """One archive a size, in MiB."""
    runs = []
    with two_buckets(bench.s3) as (sources, archives):
        expected = bench.upload(sources, workload)
        for size in sizes:
            entries, names = listed_often(workload, expected, size=size * MIB)
            job = ArchiveJob(source_bucket=sources, destination_bucket=archives, key=uuid.uuid4().hex, entries=entries)
            run = bench.run("archiver", job, expected=names)
            note(f"{workload.name}: {size:,} MiB: peak {run.usage.peak / MIB:.0f} MiB, {run.usage.wall:.1f} s")
            runs.append(run)
    return runs


def table(measured: Sequence[tuple[Workload, list[report.Run]]]) -> str:
    """A line an archive."""
    lines = [
        "| made of | archive, MiB | entries | peak memory, MiB | wall, s | CPU, s | (down + up) / archive | requests |",
        "|---|" + "---:|" * 7,
    ]
    for workload, runs in measured:
        size = workload.sources[0].size
        lines += [
            f"| {workload.title} | {run.archive_size / MIB:,.0f} | {run.archive_size // size:,} "
            f"| {run.usage.peak / MIB:.0f} | {run.usage.wall:.1f} | {run.usage.cpu:.1f} "
            f"| {run.counts.bytes_both / run.archive_size:.3f} | {run.counts.total:,} |"
            for run in runs
        ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--server", default="localstack", help="localstack, seaweedfs, or the http URL of one")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="of the archives, in MiB")
    parser.add_argument("--only", choices=[each.name for each in MEMORY_SOURCES], help="copied or read objects")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the engine")
    parser.add_argument("--output", type=Path, help="write the table as Markdown, between the markers of a file")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    with open_bench(options.server, settings=dict(each.split("=", 1) for each in options.set)) as bench:
        measured = [
            (workload, measure(bench, workload, sizes))
            for workload in MEMORY_SOURCES
            if options.only in (None, workload.name)
        ]
        text = f"{report.today()}, {report.machine()}; {bench.server.title} on the same machine.\n\n{table(measured)}"
    print(text)
    if options.output:
        report.write(text, options.output, mark="memory")
    highest = max(run.usage.peak for _, runs in measured for run in runs)
    return 0 if highest <= BOUND * MIB else 1


if __name__ == "__main__":
    sys.exit(main())
