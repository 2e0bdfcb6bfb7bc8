"""A record, read from where others may write."""

import pytest

from archiver.archive.crew_record import MAX_RECORD, read_record


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
