"""Peak memory of the engine's process for archives of growing size: ``python -m benchmarks.memory``.

Large archives are made of a few objects that are listed often, so that little has to be uploaded. Each archive is
checked and deleted before the next one is built; the largest needs twice its size on the server's disk, and once
more where it is checked.
"""

import sys
import uuid
from collections.abc import Sequence

from benchmarks import report
from benchmarks.bench import Bench, common_options, note, open_bench, two_buckets
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
    columns = (report.PEAK, report.WALL, report.CPU, report.MOVED, report.REQUESTS)
    head = ["made of", "archive, MiB", "entries", *(column.title for column in columns)]
    rows = []
    for workload, runs in measured:
        for run in runs:
            entries = f"{run.archive_size // workload.sources[0].size:,}"
            cells = (column.cell([run], ()) for column in columns)
            rows.append([workload.title, f"{run.archive_size / MIB:,.0f}", entries, *cells])
    return report.markdown(head, rows)


def main() -> int:
    parser = common_options("python -m benchmarks.memory", __doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="of the archives, in MiB")
    parser.add_argument("--only", choices=[each.name for each in MEMORY_SOURCES], help="copied or read objects")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    with open_bench(options.server, settings=dict(each.split("=", 1) for each in options.set)) as bench:
        measured = [
            (workload, measure(bench, workload, sizes))
            for workload in MEMORY_SOURCES
            if options.only in (None, workload.name)
        ]
        text = f"{report.conditions()}; {bench.server.title} on the same machine.\n\n{table(measured)}"
    print(text)
    if options.output:
        report.write(text, options.output, mark="memory")
    highest = max(run.usage.peak for _, runs in measured for run in runs)
    return 0 if highest <= BOUND * MIB else 1


if __name__ == "__main__":
    sys.exit(main())
