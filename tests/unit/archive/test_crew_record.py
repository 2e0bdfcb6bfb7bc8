"""A record, read from where others may write."""

import pytest

from archiver.archive.crew_record import MAX_RECORD, Record, read_record, write_record
from archiver.archive.storage import UploadedPart


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b'{"digest":"","crc32s":"","parts":[' + b"0," * 100_000 + b"0]}", "parts.0"),
        (b" " * (MAX_RECORD + 1), f"more than {MAX_RECORD}"),
    ],
)
def test_a_record_of_millions_of_faults_is_none(body: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        read_record(body)

    assert len(str(refused.value)) < 2_000


@pytest.mark.parametrize("etag", ["", "\x00", '"a\n"', '"ab"\n', "é", "e" * 129])
def test_an_etag_that_a_completion_can_t_say_is_none(etag: str) -> None:
    """S3 would call the whole completion malformed, in each attempt, and not tell of which part."""
    record = Record("digest", (UploadedPart(1, '"e-1"', 5, 7), UploadedPart(2, etag, 5, 7)), [1])

    with pytest.raises(ValueError, match=r"parts\.1\.1"):
        read_record(write_record(record))


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record("digest", (UploadedPart(1, '"9a0364b9e99bb480dd25e1f0284c8555"', 5, 7),), [1, 2])

    read = read_record(write_record(record))

    assert (read.digest, read.parts, list(read.crc32s)) == (record.digest, record.parts, [1, 2])
