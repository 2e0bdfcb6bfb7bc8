"""What an archive says of itself fits into S3's metadata, and is read back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.record import ArchiveRecord

DIGEST = "0" * 64


@given(st.sets(st.integers(0, 10**6), max_size=400).map(sorted), st.integers(0, 10**6))
def test_a_record_is_read_back(missing: list[int], files: int) -> None:
    record = ArchiveRecord(DIGEST, files, tuple(missing))

    metadata = record.as_metadata()
    again = ArchiveRecord.from_metadata(metadata)

    assert sum(len(name) + len(value) for name, value in metadata.items()) <= 2048
    assert all(value.isascii() for value in metadata.values())
    assert again in (record, ArchiveRecord(DIGEST, files, None))
    if len(missing) < 200:
        assert again == record


def test_runs_are_short() -> None:
    record = ArchiveRecord(DIGEST, 1, (*range(5, 100_000), 200_000))

    assert record.as_metadata()["archiver-missing"] == "5-99999,200000"


def test_too_many_to_be_noted_are_unknown_rather_than_none() -> None:
    record = ArchiveRecord(DIGEST, 1, tuple(range(0, 10_000, 2)))

    again = ArchiveRecord.from_metadata(record.as_metadata())

    assert again is not None
    assert again.missing is None


@pytest.mark.parametrize(
    "change",
    [
        {"archiver-files": "x"},
        {"archiver-missing": "a"},
        {"archiver-missing": "1,,b"},
        {"archiver-missing": "-1"},
    ],
)
def test_what_is_not_ours_is_no_record(change: dict[str, str]) -> None:
    metadata = ArchiveRecord(DIGEST, 1).as_metadata()

    assert ArchiveRecord.from_metadata(metadata) is not None
    assert ArchiveRecord.from_metadata(metadata | change) is None
    for name in ("archiver-files", "archiver-missing", "archiver-request"):
        assert ArchiveRecord.from_metadata({key: value for key, value in metadata.items() if key != name}) is None
    assert ArchiveRecord.from_metadata({}) is None
