"""From a request to what S3 has of it: how many requests that takes, and how much memory."""

import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from archiver.archive.location import Location
from archiver.archive.looks import SMALL, SMALL_BUDGET
from archiver.archive.parallel import batched
from archiver.archive.request import parse_request
from archiver.archive.resolve import Limits, Resolution, resolve
from archiver.archive.storage import ListedPage, SourceObject
from archiver.archive.traffic import Traffic
from archiver.errors import (
    InvalidPayload,
    LimitExceeded,
    MissingSources,
    NoSuchBucket,
    SourceAccessDenied,
    SourceArchived,
    StorageUnavailable,
    UnsafeName,
)
from tests.support.fake_s3 import MIB, FakeS3
from tests.support.jobs import SOURCES, logged, noise


def resolved(
    s3: FakeS3,
    *sources: str,
    threads: int = 4,
    source_bucket: str | None = None,
    read_whole: int = 0,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> Resolution:
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
            source_bucket=source_bucket,
            read_whole=read_whole,
            clock=clock,
        )


def test_entries_come_in_the_order_that_was_asked_for(s3: FakeS3) -> None:
    for key in ("z", "p/b", "p/a", "a"):
        s3.put_object(SOURCES, key, key.encode())

    found = resolved(s3, "z", "p/", "a", "z")

    assert list(found.names) == ["z", "a", "b", "a (1)", "z (1)"]
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

    assert list(found.names) == ["out.v2/a.txt", "out.v2/d/b.txt", "out.v2/empty/"], (
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

    assert s3.calls["head"] == 19
    assert s3.calls["fetch_small"] == 1, "after the first the look expects large ones"


def test_bodies_that_come_along_are_bounded_together(s3: FakeS3) -> None:
    for n in range(500):
        s3.put_object(f"b{n % 20:02}", f"{n}", noise(SMALL))  # few in each bucket, so that no listing is worth it

    found = resolved(s3, *(f"s3://b{n % 20:02}/{n}" for n in range(500)))

    held = sum(len(source.body or b"") for source in found.sources)
    assert SMALL_BUDGET // 2 < held <= SMALL_BUDGET
    assert len(found.sources) == 500


def test_missing_ones_leave_the_budget_of_bodies_as_it_was(s3: FakeS3) -> None:
    lost = [f"s3://b{n % 20:02}/{n}" for n in range(SMALL_BUDGET // SMALL + 20)]
    for n in range(20):
        s3.create_bucket(f"b{n:02}")
    s3.put_object(SOURCES, "last", b"last")

    found = resolved(s3, *lost, "last", threads=1, on_missing="skip")

    assert len(found.missing) == len(lost)
    assert found.sources[0].body == b"last"


def test_only_what_came_along_counts_against_the_bound(s3: FakeS3) -> None:
    names = [f"s3://b{n % 20:02}/{n}" for n in range(SMALL_BUDGET // SMALL + 20)]
    for n in range(len(names)):
        s3.put_object(f"b{n % 20:02}", f"{n}", noise(1000))

    found = resolved(s3, *names)

    assert s3.calls == {"fetch_small": len(names)}
    assert all(source.body for source in found.sources)


@pytest.mark.parametrize(("read_whole", "looks"), [(0, 2), (6 * MIB, 2), (6 * MIB + 1, 1), (9 * MIB, 1)])
def test_objects_that_are_read_whole_anyhow_are_not_looked_at(s3: FakeS3, read_whole: int, looks: int) -> None:
    s3.put_object(SOURCES, "p/whole", bytes(6 * MIB))
    # S3 has the CRC32s of its parts alone, and tells them to a look
    s3.put_object(SOURCES, "p/parts", bytes(6 * MIB), checksum="composite", part_size=5 * MIB)

    found = resolved(s3, "p/", read_whole=read_whole)

    assert s3.calls["head"] == looks
    assert [source.key for source in found.sources if source.crc32 is None] == ["p/whole"] * (looks == 1)


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
    assert found.sources[1].crc32 == zlib.crc32(noise(MIB)), "the checksum of a single part tells it"
    assert s3.calls["part_checksums"] == 1


def test_a_listing_ends_where_the_limit_is_passed(s3: FakeS3) -> None:
    taken = 0

    class Endless:
        """A prefix below which there is no end."""

        def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]:
            nonlocal taken
            while True:
                taken += 1
                yield ListedPage([SourceObject(prefix.bucket, f"{after or prefix.key}{taken:09}", 1, '"e"', 0)], True)

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


class TestRepeatedSources:
    """What is named often is asked for once, and counts as often as it is named."""

    def test_an_object_is_looked_at_once(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "a", b"a")
        s3.put_object(SOURCES, "film", noise(6 * MIB))

        found = resolved(s3, *["a", "film", "gone"] * 20, on_missing="skip")

        assert s3.calls["fetch_small"] + s3.calls["head"] <= 4, "film comes without its content, so by two"
        assert [source.key for source in found.sources] == ["a", "film"] * 20
        assert {source.body for source in found.sources[::2]} == {b"a"}
        assert list(found.names[:4]) == ["a", "film", "a (1)", "film (1)"]
        assert found.missing == tuple(range(2, 60, 3))

    def test_a_prefix_is_listed_once(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "p/a", b"a")
        s3.put_object(SOURCES, "p/film", noise(6 * MIB))

        found = resolved(s3, *["p/"] * 20)

        assert s3.calls == {"below": 1, "head": 1}
        assert len(found.sources) == 40
        assert {source.key for source in found.sources} == {"p/a", "p/film"}

    @pytest.mark.parametrize("sources", [["p/"] * 64, [f"p/{n}/" for n in range(64)]])
    def test_the_limit_counts_all_listings_together(self, s3: FakeS3, sources: list[str]) -> None:
        taken = 0

        class Large:
            """Ninety objects below each prefix."""

            def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]:
                nonlocal taken
                for page in batched(range(90), 5):
                    taken += len(page)
                    yield ListedPage(
                        [SourceObject(prefix.bucket, f"{prefix.key}{n:02}", 1, '"e"', 0) for n in page], page[-1] < 89
                    )

        large: Any = Large()
        request = parse_request(
            {"files": [{"source": source} for source in sources]}, max_files=100, default_bucket=SOURCES
        )
        with ThreadPoolExecutor(1) as executor, pytest.raises(LimitExceeded, match="MAX_FILES=100"):
            resolve(
                request,
                sources=large,
                executor=executor,
                window=8,
                limits=Limits(max_files=100, max_archive_bytes=1 << 40),
            )

        assert taken <= 100 + 8 * 5, "no page is asked for once the job has too many"


class TestAnEmptyFolder:
    """A marker and nothing below it."""

    @pytest.mark.parametrize(("destination", "name"), [(None, "void/"), ("out", "out/"), ("out/", "out/")])
    def test_is_a_directory(self, s3: FakeS3, destination: str | None, name: str) -> None:
        s3.put_object(SOURCES, "p/void/", b"")
        request = parse_request(
            {"files": [{"source": "p/void/", "destination": destination}]}, max_files=9, default_bucket=SOURCES
        )

        with ThreadPoolExecutor(1) as executor:
            found = resolve(
                request,
                sources=s3.objects(Traffic()),
                executor=executor,
                window=2,
                limits=Limits(max_files=9, max_archive_bytes=99),
            )

        assert (list(found.names), found.missing) == ([name], ())

    def test_without_its_marker_is_missing(self, s3: FakeS3) -> None:
        with pytest.raises(MissingSources, match="p/void/"):
            resolved(s3, "p/void/")


class TestArchivedObjects:
    """Nobody can read them before they are restored, whatever found them."""

    @pytest.mark.parametrize("size", [10, 11 * MIB])
    @pytest.mark.parametrize("source", ["p/old", "p/"])
    def test_end_the_job(self, s3: FakeS3, size: int, source: str) -> None:
        s3.put_object(SOURCES, "p/old", noise(size), archived=True)

        with pytest.raises(SourceArchived, match="s3://source-images/p/old"):
            resolved(s3, source, on_missing="skip")


class TestAMissingBucket:
    """It is the fault of whoever named it, and never a missing object."""

    @pytest.mark.parametrize("source", ["s3://no-such-bucket/a", "s3://no-such-bucket/", "s3://no-such-bucket/p/"])
    def test_is_the_payloads_fault_where_that_names_it(self, s3: FakeS3, source: str) -> None:
        s3.put_object(SOURCES, "a", b"a")

        with pytest.raises(NoSuchBucket, match=r"no such bucket: 'no-such-bucket', which files\[1\].source names"):
            resolved(s3, "a", source, on_missing="skip")

    @pytest.mark.parametrize("sources", [["a"], ["p/"], [str(n) for n in range(50)], ["s3://source-images/a"]])
    def test_is_the_services_fault_where_the_settings_name_it(self, s3: FakeS3, sources: list[str]) -> None:
        del s3.buckets[SOURCES]

        with (
            logged() as lines,
            pytest.raises(StorageUnavailable, match="no such bucket: 'source-images', which S3_SOURCE_BUCKET names"),
        ):
            resolved(s3, *sources, on_missing="skip", source_bucket=SOURCES)

        assert [line["log_level"] for line in lines] == ["error"]


def test_the_host_of_a_bucket_is_no_bucket(s3: FakeS3) -> None:
    with pytest.raises(NoSuchBucket, match=r"files\[0\]\.source names; it looks like a URL: write s3://photos/a\.jpg$"):
        resolved(s3, "s3://photos.s3.eu-west-1.amazonaws.com/a.jpg")


def test_a_presigned_url_may_be_too_long_for_a_key(s3: FakeS3) -> None:
    url = f"https://photos.s3.amazonaws.com/a.jpg?X-Amz-Security-Token={'t' * 1000}&X-Amz-Signature=secret"

    with pytest.raises(
        InvalidPayload, match="longer than S3's 1024 bytes; it looks like a presigned URL: write s3://p"
    ):
        resolved(s3, url)


class TestMissingSources:
    """What is named in another writing is told how to be written."""

    @pytest.mark.parametrize(
        ("source", "hint"),
        [
            (
                "https://photos.s3.eu-west-1.amazonaws.com/a%20b/c.jpg?X-Amz-Signature=secret",
                "looks like a presigned URL: write s3://photos/a b/c.jpg",
            ),
            (
                "https://s3.eu-west-1.amazonaws.com/photos/c.jpg?versionId=v.1&X-Amz-Signature=secret",
                "write s3://photos/c.jpg?versionId=v.1",
            ),
            ("https://s3.amazonaws.com/photos/c.jpg", "write s3://photos/c.jpg"),
            ("https://photos.s3.amazonaws.com/c.jpg", "write s3://photos/c.jpg"),
            (
                "https://example.com/c.jpg",
                "looks like a URL, and only S3's objects are archived: write s3://bucket/key",
            ),
            ("gs://photos/c.jpg", "looks like Google Cloud Storage, and only S3's objects"),
            ("ftp+x://photos/c.jpg?token=secret", "looks like something else than S3"),
            ("s3a://photos/c.jpg", "write s3://photos/c.jpg"),
            ("s3:/photos/c.jpg", "a slash too few: write s3://photos/c.jpg"),
            ("S3:photos/c.jpg", "a slash too few: write s3://photos/c.jpg"),
            ("arn:aws:s3:::photos/2026/c.jpg", "looks like an ARN: write s3://photos/2026/c.jpg"),
            (
                "photos/2026/*.jpg",
                'wildcards are not expanded: write "source": "photos/2026/" to take every object below',
            ),
            ("photos/2026/*.jpg", 'and "include": ["*.jpg"] beside it'),
            ("s3://source-images/2026/a?.jpg", '"source": "s3://source-images/2026/"'),
            ("*.jpg", '"source": "s3://source-images/"'),
            ("2026/*.jpg?X-Amz-Signature=secret", "a key with a URL's parameters: leave them out"),
            ('{"a": 1}?X-Amz-Algorithm=x/&X-Amz-Signature=secret', "a key with a URL's parameters: leave them out"),
            ("a.txt?versionId=v1", "s3:// source alone: write s3://source-images/a.txt?versionId=v1"),
            ("/a.txt", "from their first name on: write a.txt"),
            ("s3://source-images//a.txt", "write s3://source-images/a.txt"),
            ("./2026/a.txt", "write 2026/a.txt"),
            ("2026\\a%20b.txt ", "write 2026/a b.txt"),
            ("source-images/a.txt", "name of its bucket: write a.txt or s3://source-images/a.txt"),
            ("folder", "there are objects below it: end it in a slash"),
        ],
    )
    def test_come_with_a_hint(self, s3: FakeS3, source: str, hint: str) -> None:
        s3.put_object(SOURCES, "folder/a", b"a")

        with pytest.raises(MissingSources) as error:
            resolved(s3, "gone", source)

        told = error.value.message.partition("; ")[2]
        assert told.startswith("files[1].source: ")
        assert resolved(s3, "folder/", source, on_missing="skip").missing == (1,), "it could be a key"
        assert hint in told
        assert "secret" not in told

    def test_that_look_like_keys_come_with_none(self, s3: FakeS3) -> None:
        with pytest.raises(MissingSources) as error:
            resolved(s3, "s3://source-images/gone?versionId=v1", *(f"gone/{n}" for n in range(30)))

        assert ";" not in error.value.message
        assert s3.calls["page"] <= 3, "few folders are sought"

    def test_are_told_of_while_it_takes_long(self, s3: FakeS3) -> None:
        minutes = iter(range(0, 100_000, 60))

        with logged() as lines, pytest.raises(MissingSources):
            resolved(s3, *(f"gone/{n}" for n in range(20)), clock=lambda: next(minutes))

        assert [line["event"] for line in lines][:2] == ["looking at sources"] * 2
        assert lines[-1]["missing"] == 20

    def test_a_long_listing_is_told_of(self, s3: FakeS3) -> None:
        for number in range(2_500):
            s3.put_object(SOURCES, f"p/{number:05}", b"")
        minutes = iter(range(0, 100_000, 60))

        with logged() as lines:
            resolved(s3, "p/", clock=lambda: next(minutes))

        told = [line["found"] for line in lines if line["event"] == "listing sources"]
        assert told[0] == 1_000
        assert told[-1] == 2_500
        assert told == sorted(told)


def test_an_odd_key_below_a_prefix_is_named(s3: FakeS3) -> None:
    s3.put_object(SOURCES, "p/a", b"a")
    s3.put_object(SOURCES, "p/..", b"odd")

    with pytest.raises(UnsafeName, match=r"files\[0\].source: s3://source-images/p/\.\.: nothing is left of the name"):
        resolved(s3, "p/")
