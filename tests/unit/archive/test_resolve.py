"""From a request to what S3 has of it: how many requests that takes, and how much memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from archiver.archive.location import Location
from archiver.archive.request import parse_request
from archiver.archive.resolve import SMALL, SMALL_BUDGET, Limits, Resolution, resolve
from archiver.archive.storage import SourceObject
from archiver.archive.traffic import Traffic
from archiver.errors import SourceAccessDenied
from tests.support.fake_s3 import MIB, FakeS3
from tests.support.jobs import SOURCES, noise


@pytest.fixture
def s3() -> FakeS3:
    s3 = FakeS3()
    s3.create_bucket(SOURCES)
    return s3


def resolved(s3: FakeS3, *sources: str, threads: int = 4, **options: Any) -> Resolution:
    request = parse_request(
        {"files": [{"source": source} for source in sources], **options},
        max_files=100_000,
        default_bucket="source-images",
    )
    with ThreadPoolExecutor(threads) as executor:
        return resolve(
            request,
            sources=s3.objects(Traffic()),
            executor=executor,
            window=threads * 2,
            limits=Limits(max_files=100_000, max_archive_bytes=1 << 40),
        )


def test_entries_come_in_the_order_that_was_asked_for(s3: FakeS3) -> None:
    for key in ("z", "p/b", "p/a", "a"):
        s3.put_object(SOURCES, key, key.encode())

    found = resolved(s3, "z", "p/", "a", "z")

    assert found.names == ["z", "a", "b", "a (1)", "z (1)"]
    assert [source.key for source in found.sources] == ["z", "p/a", "p/b", "a", "z"]


def test_a_prefix_keeps_its_paths_below_a_destination(s3: FakeS3) -> None:
    for key in ("p/a.txt", "p/d/b.txt", "p/empty/", "p/d/"):
        s3.put_object(SOURCES, key, b"" if key.endswith("/") else b"x")
    request = parse_request(
        {"files": [{"source": "p/", "destination": "out.v2"}]}, max_files=9, default_bucket="source-images"
    )

    with ThreadPoolExecutor(1) as executor:
        found = resolve(
            request,
            sources=s3.objects(Traffic()),
            executor=executor,
            window=2,
            limits=Limits(max_files=9, max_archive_bytes=99),
        )

    assert found.names == ["out.v2/a.txt", "out.v2/d/b.txt", "out.v2/empty/"], (
        "p/d/ says nothing that p/d/b.txt does not"
    )


def test_small_objects_take_one_request_each(s3: FakeS3) -> None:
    for n in range(20):
        s3.put_object(SOURCES, f"{n}", noise(1000, seed=n), checksum="none")

    found = resolved(s3, *map(str, range(20)))

    assert s3.calls == {"fetch_small": 20}
    assert [source.body for source in found.sources] == [noise(1000, seed=n) for n in range(20)]


def test_large_objects_soon_take_one_request_each_as_well(s3: FakeS3) -> None:
    for n in range(20):
        s3.put_object(SOURCES, f"{n}", noise(100_000, seed=n))

    resolved(s3, *map(str, range(20)), threads=1)

    assert s3.calls["head"] == 20
    assert s3.calls["fetch_small"] == 1, "after the first the look expects large ones"


def test_bodies_that_come_along_are_bounded_together(s3: FakeS3) -> None:
    s3.put_object(SOURCES, "a", noise(SMALL))

    found = resolved(s3, *["a"] * 1000)

    held = sum(len(source.body or b"") for source in found.sources)
    assert SMALL_BUDGET // 2 < held <= SMALL_BUDGET
    assert len(found.sources) == 1000


def test_small_objects_below_a_prefix_take_no_request_of_their_own(s3: FakeS3) -> None:
    for n in range(20):
        s3.put_object(SOURCES, f"p/{n}", noise(1000 + n))
    s3.put_object(SOURCES, "p/large", noise(6 * MIB))

    found = resolved(s3, "p/")

    assert s3.calls == {"below": 1, "head": 1}
    assert sorted(source.size for source in found.sources)[:3] == [1000, 1001, 1002]


def test_a_composite_object_gets_its_crc32_from_its_parts(s3: FakeS3) -> None:
    whole = s3.put_object(SOURCES, "whole", noise(11 * MIB))
    s3.put_object(SOURCES, "composite", noise(11 * MIB), checksum="composite")
    s3.put_object(SOURCES, "short", noise(MIB), checksum="composite")

    found = resolved(s3, "composite", "short")

    assert found.sources[0].crc32 == whole.crc32
    assert found.sources[1].crc32 is None, "it is read anyway"
    assert s3.calls["part_checksums"] == 1


def test_a_listing_ends_where_the_limit_is_passed(s3: FakeS3) -> None:
    taken = 0

    class Endless:
        """A prefix below which there is no end."""

        def below(self, prefix: Location) -> Iterator[SourceObject]:
            nonlocal taken
            while True:
                taken += 1
                yield SourceObject(prefix.bucket, f"{prefix.key}{taken}", 1, '"e"', 0)

    endless: Any = Endless()
    request = parse_request({"files": [{"source": "p/"}]}, max_files=9, default_bucket="source-images")
    with ThreadPoolExecutor(1) as executor, pytest.raises(Exception, match="MAX_FILES=50"):
        resolve(
            request,
            sources=endless,
            executor=executor,
            window=2,
            limits=Limits(max_files=50, max_archive_bytes=1 << 40),
        )

    assert taken <= 52


def test_a_denied_source_ends_it(s3: FakeS3) -> None:
    s3.put_object(SOURCES, "a", b"a")

    def deny(_: object) -> None:
        raise SourceAccessDenied("a is denied")

    s3.before("fetch_small", deny, key="b")
    s3.put_object(SOURCES, "b", b"b")

    with pytest.raises(SourceAccessDenied):
        resolved(s3, "a", "b", on_missing="skip")
