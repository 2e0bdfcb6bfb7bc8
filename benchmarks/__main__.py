"""``python -m benchmarks``: the engine and its peers, interleaved, on one server, through a counting proxy."""

import argparse
import sys
import uuid
from collections.abc import Sequence

from benchmarks import report
from benchmarks.bench import ENGINE, PEERS, Bench, common_options, note, open_bench, two_buckets, versions
from benchmarks.job import ArchiveJob
from benchmarks.process import ProgramError
from benchmarks.sources import CHECKSUMS
from benchmarks.verify import WrongArchiveError
from benchmarks.workloads import WORKLOADS, Workload

QUICK_SCALE = 10


def measure(
    bench: Bench, workload: Workload, programs: Sequence[str], options: argparse.Namespace
) -> dict[str, list[report.Run]]:
    """All runs of one workload, round-robin over the programs, each round beginning with another one."""
    runs: dict[str, list[report.Run]] = {program: [] for program in programs}
    broken = set()
    with two_buckets(bench.s3) as (sources, archives):
        scale = QUICK_SCALE if options.quick else 1
        expected = bench.upload(sources, workload, checksums=options.checksums, scale=scale)
        bench.proxy.set_latency(latency(workload, options))
        for number in range(options.repeat):
            turn = number % len(programs)
            for program in (*programs[turn:], *programs[:turn]):
                if program in broken:
                    continue
                key = f"{program.replace(' ', '')}-{uuid.uuid4().hex}.zip"
                try:
                    run = bench.run(program, ArchiveJob(sources, archives, key, workload.entries), expected=expected)
                except (ProgramError, WrongArchiveError) as error:
                    note(f"{workload.name}: {program}: {error}")
                    broken.add(program)
                    runs[program].clear()
                    continue
                runs[program].append(run)
                figures = ", ".join(f"{column.title}: {column.cell([run], ())}" for column in report.COLUMNS)
                note(f"{workload.name}: {program}: {figures}")
    return runs


def describe(bench: Bench, workloads: Sequence[Workload], options: argparse.Namespace) -> str:
    """How the figures came about."""
    added = ", ".join(f"{workload.name} {latency(workload, options):g} ms" for workload in workloads)
    return (
        f"{report.conditions()}; {versions()}.\n{bench.server.title} on the same machine; sources' checksums: "
        f"{options.checksums}; latency added to each request: {added}; {options.repeat} round(s)."
    )


def latency(workload: Workload, options: argparse.Namespace) -> float:
    """Milliseconds: what the command line says of this workload, or of all, or its own."""
    return float(options.latency.get(workload.name, options.latency.get("", workload.latency)))


def latencies(values: Sequence[str]) -> dict[str, float]:
    """``["small=20", "5"]`` -> by workload; the empty name stands for all others. Raises ``ValueError``."""
    result = {}
    for value in values:
        name, _, number = value.rpartition("=")
        result[name] = float(number)
    return result


def parse() -> argparse.Namespace:
    names = [workload.name for workload in WORKLOADS]
    programs = [*ENGINE, *PEERS]
    parser = common_options("python -m benchmarks", __doc__)
    parser.add_argument("--workload", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--only", action="append", choices=programs, help="only this program; may be repeated")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (3)")
    parser.add_argument("--checksums", choices=CHECKSUMS, default="default", help="how the sources are uploaded")
    parser.add_argument(
        "--latency", action="append", default=[], metavar="[WORKLOAD=]MS", help="added to each request (small=20)"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of each workload, one round")
    options = parser.parse_args()
    options.latency = latencies(options.latency)
    if options.quick:
        options.repeat = 1
    return options


def main() -> int:
    options = parse()
    workloads = [
        workload.scaled(QUICK_SCALE) if options.quick else workload
        for workload in WORKLOADS
        if not options.workload or workload.name in options.workload
    ]
    programs = [program for program in (*ENGINE, *PEERS) if not options.only or program in options.only]
    settings = dict(each.split("=", 1) for each in options.set)
    with open_bench(options.server, settings=settings) as bench:
        sections = [describe(bench, workloads, options)]
        complete = True
        for workload in workloads:
            runs = measure(bench, workload, programs, options)
            complete = complete and all(runs.values())
            sections += [
                f"### {workload.name}: {workload.title}",
                report.table(runs),
                report.requests_by_operation(runs),
            ]
            print("\n\n".join(sections[-3:]), flush=True)
    text = "\n\n".join(sections)
    print(f"\n{sections[0]}")
    if options.output:
        report.write(text, options.output, mark="results")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
