"""The benchmarks' own arithmetic and checks: figures are worth what these are."""

import io
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from benchmarks import process, report
from benchmarks.memory import listed_often
from benchmarks.process import ProgramError, Usage
from benchmarks.verify import Expected, WrongArchiveError, check_archive
from benchmarks.workloads import MEMORY_SOURCES, WORKLOADS, workload_named
from devtools.proxy import Counts

MIB = 1024 * 1024
CONTENTS = {"a.bin": b"a" * 1000, "b/b.bin": b"b" * 2000}
EXPECTED: Expected = {name: (zlib.crc32(data), len(data)) for name, data in CONTENTS.items()}


class OneObject:
    """An object of S3: one archive."""

    key = "k.zip"

    def __init__(self, body: bytes) -> None:
        self._body = body

    def download_fileobj(self, file: BinaryIO) -> None:
        file.write(self._body)


def zipped(contents: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def check(body: bytes) -> int:
    return check_archive(OneObject(body), expected=EXPECTED)


def test_a_right_archive_passes_with_its_size() -> None:
    body = zipped(CONTENTS)
    assert check(body) == len(body)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (lambda: zipped({**CONTENTS, "a.bin": b"x" * 1000}), "a.bin"),
        (lambda: zipped({**CONTENTS, "c.bin": b""}), "3 entries for 2 sources; wrong: c.bin"),
        (lambda: zipped({"a.bin": CONTENTS["a.bin"]}), "1 entries for 2 sources; wrong: b/b.bin"),
        (lambda: zipped(CONTENTS, method=zipfile.ZIP_DEFLATED), "not every entry is stored"),
        (lambda: zipped(CONTENTS)[:-1], "k.zip"),
        (lambda: zipped(CONTENTS).replace(b"a" * 1000, b"a" * 999 + b"x"), "a.bin is damaged"),
    ],
)
def test_a_wrong_archive_is_found_out(wrong: Callable[[], bytes], complaint: str) -> None:
    with pytest.raises(WrongArchiveError, match=complaint):
        check(wrong())


def test_workloads_are_what_their_titles_say() -> None:
    assert [(each.name, len(each.sources), each.size) for each in WORKLOADS] == [
        ("small", 1000, 1000 * 20 * 1024),
        ("photos", 100, 300 * MIB),
        ("large", 4, 512 * MIB),
        ("mix", 242, 200 * 20 * 1024 + (90 + 120 + 256) * MIB),
    ]


def test_sources_have_the_same_bytes_each_time_and_differ_from_each_other() -> None:
    first, second = workload_named("small", scale=100).sources[:2]
    assert first.contents() == first.contents() != second.contents()
    assert len(first.contents()) == first.size


def test_a_quick_workload_is_a_tenth_or_less() -> None:
    for workload in WORKLOADS:
        assert 0 < workload.scaled(10).size <= workload.size / 10 + MIB


def test_large_archives_are_made_of_few_sources() -> None:
    copied = MEMORY_SOURCES[0]
    sources: Expected = {source.name: (n, source.size) for n, source in enumerate(copied.sources)}

    entries, names = listed_often(copied, sources, size=1024 * MIB)

    assert len(entries) == len(names) == 16
    assert {entry.source for entry in entries} == {source.key for source in copied.sources}
    assert sum(size for _, size in names.values()) == 1024 * MIB


def run_of(wall: float, peak: int) -> report.Run:
    counts = Counts(
        requests={"GetObject": 3, "PutObject": 1}, bytes_up=MIB, bytes_down=MIB, faults={}, peak_in_flight=1
    )
    return report.Run(usage=Usage(wall=wall, cpu=1, peak=peak * MIB), counts=counts, archive_size=4 * MIB)


def test_a_table_shows_medians_ratios_and_the_highest_peak() -> None:
    table = report.table(
        {
            "archiver": [run_of(1, 80), run_of(2, 90), run_of(6, 70)],
            "threads": [run_of(4, 100)],
            "in-memory": [],
        }
    )

    archiver, threads, failed = table.splitlines()[2:]
    assert archiver.startswith(
        "| archiver | 2.00 (0.50) | 1.00 (1.00) | 90 (0.90) | 1.0 (1.00) | 1.0 (1.00) | 0.500 | 4 (1.00) |"
    )
    assert archiver.endswith("| 1.00 to 6.00 |")
    assert threads.startswith("| threads | 4.00 (1.00) |")
    assert failed.startswith("| in-memory | failed |")
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_a_report_replaces_only_what_stands_between_its_marks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n")

    report.write("new", readme, mark="results")
    report.write("newer", readme, mark="results")

    assert readme.read_text() == "before\n<!-- results: begin -->\n\nnewer\n\n<!-- results: end -->\nafter\n"


def test_a_program_is_measured_as_a_process_and_its_last_line_read() -> None:
    usage, line = process.run(
        Path(sys.executable),
        ["-c", "import time; held = bytearray(b'x') * (150 << 20); time.sleep(0.1); print('a'); print('b')"],
        env={},
    )
    assert line == "b"
    assert usage.wall >= 0.1
    assert usage.cpu > 0
    assert usage.peak > 150 * MIB


def test_a_small_program_is_not_charged_with_its_parents_memory() -> None:
    ballast = bytearray(b"x" * (200 * MIB))
    usage, _ = process.run(Path(sys.executable), ["-S", "-c", "print(1)"], env={})
    assert usage.peak < len(ballast) / 2


@pytest.mark.parametrize(
    ("program", "timeout", "complaint"),
    [
        ("print('why'); raise SystemExit(3)", 60, "ended with 3:\nwhy"),
        ("import time; time.sleep(60)", 1, "ended with -9"),
    ],
)
def test_a_program_that_fails_or_hangs_has_no_figures(program: str, timeout: int, complaint: str) -> None:
    with pytest.raises(ProgramError, match=complaint):
        process.run(Path(sys.executable), ["-c", program], env={}, timeout=timeout)
