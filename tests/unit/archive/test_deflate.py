"""What is deflated, in which form, and with how much memory."""

import pytest

from archiver.archive.deflate import BLOCK
from archiver.archive.deflated import may_shrink
from archiver.archive.pipeline import build_archive
from tests.support.fake_s3 import MIB, FakeS3
from tests.support.jobs import ARCHIVES, OPTIONS, SOURCES, delivery, noise, services, text, unzipped


@pytest.mark.parametrize(
    ("name", "size", "verdict"),
    [
        ("a.csv", 1000, True),
        ("a", 1000, True),
        ("a.csv", 127, False),
        ("a.JPG", 1000, False),
        ("a.tar.gz", 1000, False),
        ("gz", 1000, True),
        ("dir/", 1000, False),
        ("a.csv", 2**32 - 2**24, False),
        ("a.csv", 2**32 - 1, False),
        ("a.csv", 2**32, True),
    ],
)
def test_what_is_worth_a_try(name: str, size: int, verdict: bool) -> None:
    assert may_shrink(name, size) == verdict


@pytest.mark.parametrize("size", [128, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_blocks_make_one_stream(size: int) -> None:
    s3 = FakeS3()
    s3.put_object(SOURCES, "a.csv", text(size))
    payload = {"files": [{"source": "a.csv"}], "compression": "auto"}

    result = build_archive(payload, delivery=delivery(), services=services(s3))

    assert unzipped(s3.content(ARCHIVES, result.key)) == {"a.csv": text(size)}
    assert result.size < 0.6 * size + 300


def test_what_does_not_shrink_stays_and_is_copied() -> None:
    s3 = FakeS3()
    s3.put_object(SOURCES, "noise.bin", noise(20 * MIB))
    s3.put_object(SOURCES, "short.bin", noise(1000))
    s3.put_object(SOURCES, "a.csv", text(100_000))
    payload = {"files": [{"source": key} for key in ("noise.bin", "short.bin", "a.csv")], "compression": "auto"}

    result = build_archive(payload, delivery=delivery(), services=services(s3))

    assert unzipped(s3.content(ARCHIVES, result.key)) == {
        "a.csv": text(100_000),
        "noise.bin": noise(20 * MIB),
        "short.bin": noise(1000),
    }
    assert result.bytes_copied >= 14 * MIB
    assert result.bytes_read < 6 * MIB


def test_a_header_waits_for_the_end_of_its_entry_and_only_its_part_does() -> None:
    """The first part holds the first header, whose sizes come last: it goes out last, the others as they fill."""
    s3 = FakeS3()
    content = noise(24 * MIB).hex().encode()
    s3.put_object(SOURCES, "large.csv", content)
    order: list[int] = []
    s3.before("put_part", lambda call: order.append(call.number))
    payload = {"files": [{"source": "large.csv"}], "compression": "auto"}

    result = build_archive(payload, delivery=delivery(), services=services(s3))

    assert unzipped(s3.content(ARCHIVES, result.key)) == {"large.csv": content}
    parts = [number for number in order if number < 10_000]
    assert len(parts) >= 4
    assert parts.index(1) > max(parts.index(2), parts.index(3)), "parts that are full do not wait for it"
    # Blocks being deflated, the part that waits and those under way.
    assert s3.peak_held <= OPTIONS.parts_in_flight * 2 * BLOCK + 4 * 10 * MIB
