"""The bar of a build, which only a terminal gets."""

import pytest

from archiver.archive.progress import Progress
from archiver.cli.build import progress_bar
from archiver.cli.output import duration, files, size


def test_the_bar_follows_the_build(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes it for a terminal
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar(shown=True) as follow:
        follow(Progress("resolved", entries=2, bytes_total=4096))
        follow(Progress("uploading", entries=2, bytes_total=4096, bytes_done=1024, parts_total=2, parts_done=1))

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "uploading" in printed.err


def test_without_a_terminal_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(shown=False) as follow:
        follow(Progress("resolved", entries=2, bytes_total=4096))

    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1,023 B"), (1024, "1.0 KiB"), (5 * 1024**2, "5.0 MiB"), (3 * 1024**5, "3,072.0 TiB")],
)
def test_bytes_for_people(count: int, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (61, "1 min 01 s"), (3660, "1 h 01 min"), (180_000, "2 d 2 h")],
)
def test_seconds_for_people(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_one_file_is_no_files() -> None:
    assert (files(1), files(0), files(1_000_000)) == ("1 file", "0 files", "1,000,000 files")
