"""What a request asks for: names inside the archive, sources that are missing, and limits."""

from typing import Any

import pytest

from archiver.archive.access import Access
from archiver.archive.pipeline import build_archive
from archiver.archive.resolve import Limits
from archiver.errors import (
    InvalidPayload,
    LimitExceeded,
    MissingSources,
    UnsafeName,
)
from tests.support.fake_s3 import FakeS3
from tests.support.jobs import (
    ARCHIVES,
    SOURCES,
    FakeNotifier,
    delivery,
    files,
    services,
    text,
    unzipped,
)


class TestNames:
    def test_nothing_climbs_out_of_the_archive(self, s3: FakeS3) -> None:
        for key in ("../../etc/passwd", "evil/..\\..\\x.dll", "a/"):
            s3.put_object(SOURCES, key, b"x")
        payload = {
            "files": [
                {"source": "../../etc/passwd", "destination": "../../../root/.ssh/id.pub"},
                {"source": "evil/..\\..\\x.dll", "destination": "/C:/Windows/"},
                {"source": "evil/"},
            ]
        }

        result = build_archive(payload, delivery=delivery(), services=services(s3))

        names = unzipped(s3.content(ARCHIVES, result.key))
        assert set(names) == {"root/.ssh/id.pub", "Windows/x.dll", "x.dll"}

    def test_a_name_of_which_nothing_is_left_is_a_permanent_error(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "x/..", b"x")

        with pytest.raises(UnsafeName, match=r"files\[0\]\.source"):
            build_archive(files("x/.."), delivery=delivery(), services=services(s3))

    @pytest.mark.parametrize("compression", ["stored", "auto"])
    def test_a_directory_is_one_where_its_object_is_empty(self, s3: FakeS3, compression: str) -> None:
        content = text(100_000)
        s3.put_object(SOURCES, "p/empty/", b"")
        s3.put_object(SOURCES, "p/full/", content)
        s3.put_object(SOURCES, "p/full/a.txt", b"a")

        result = build_archive({**files("p/"), "compression": compression}, delivery=delivery(), services=services(s3))

        names = unzipped(s3.content(ARCHIVES, result.key))
        assert names == {"empty/": b"", "full (1)": content, "full/a.txt": b"a"}, "no content is lost"


class TestMissingSources:
    def test_fail_the_job_by_name(self, s3: FakeS3, notifier: FakeNotifier) -> None:
        s3.put_object(SOURCES, "a", b"a")

        with pytest.raises(MissingSources) as caught:
            build_archive(
                files("a", "b", "nothing/", "s3://zip-storage/x/"),
                delivery=delivery(),
                services=services(s3, notifier=notifier),
            )

        assert caught.value.sources == ("b", "nothing/", "s3://zip-storage/x/")
        assert notifier.sent == []
        assert s3.buckets[ARCHIVES] == {}

    def test_are_skipped_and_listed_where_asked(self, s3: FakeS3, notifier: FakeNotifier) -> None:
        s3.put_object(SOURCES, "a", b"a")
        payload = files("b", "a", "nothing/") | {"on_missing": "skip"}

        result = build_archive(payload, delivery=delivery(), services=services(s3, notifier=notifier))

        assert unzipped(s3.content(ARCHIVES, result.key)) == {"a": b"a"}
        assert notifier.sent[0]["missing"] == ["b", "nothing/"]

    def test_leave_nothing_to_archive(self, s3: FakeS3) -> None:
        with pytest.raises(MissingSources):
            build_archive(files("a") | {"on_missing": "skip"}, delivery=delivery(), services=services(s3))

    @pytest.mark.parametrize("count", [3, 900])
    def test_are_told_again_to_a_redelivery(self, s3: FakeS3, notifier: FakeNotifier, count: int) -> None:
        s3.put_object(SOURCES, "a", b"a")
        # Every second one, so that ranges do not shorten the list.
        missing = [f"missing-{n}" for n in range(count)]
        for key in missing[1::2]:
            s3.put_object(SOURCES, key, b"x")
        payload = files("a", *missing) | {"on_missing": "skip"}
        with_queue = services(s3, notifier=notifier)

        build_archive(payload, delivery=delivery(), services=with_queue)
        s3.calls.clear()
        build_archive(payload, delivery=delivery(attempt=2), services=with_queue)

        assert notifier.sent[0] == notifier.sent[1]
        assert notifier.sent[1]["missing"] == missing[::2]
        looks = s3.calls["head"] + s3.calls["fetch_small"]
        assert (looks == 0) == (count == 3), "only a list too long for the metadata is looked up again"


class TestLimits:
    def test_of_files(self, s3: FakeS3) -> None:
        limited = services(s3, limits=Limits(max_files=2, max_archive_bytes=100))

        with pytest.raises(LimitExceeded, match="MAX_FILES=2"):
            build_archive(files("a", "b", "c"), delivery=delivery(), services=limited)

    def test_of_objects_below_a_prefix(self, s3: FakeS3) -> None:
        for n in range(10):
            s3.put_object(SOURCES, f"p/{n}", b"x")

        with pytest.raises(LimitExceeded, match="MAX_FILES=2"):
            build_archive(
                files("p/"),
                delivery=delivery(),
                services=services(s3, limits=Limits(max_files=2, max_archive_bytes=100)),
            )

    def test_of_bytes(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "a", bytes(60))
        s3.put_object(SOURCES, "b", bytes(41))
        limited = services(s3, limits=Limits(max_files=2, max_archive_bytes=100))

        assert build_archive(files("a"), delivery=delivery(), services=limited).files == 1
        with pytest.raises(LimitExceeded, match="MAX_ARCHIVE_BYTES=100"):
            build_archive(files("a", "b"), delivery=delivery(), services=limited)

    def test_of_buckets(self, s3: FakeS3) -> None:
        s3.put_object("others", "a", b"a")
        s3.put_object(SOURCES, "a", b"a")
        limited = services(s3, limits=Limits(max_files=2, max_archive_bytes=100, access=Access((SOURCES,))))

        assert build_archive(files("a"), delivery=delivery(), services=limited).files == 1
        s3.calls.clear()
        with pytest.raises(LimitExceeded, match=r"files\[1\]\.source: bucket 'others'"):
            build_archive(files("a", "s3://others/a"), delivery=delivery(), services=limited)
        assert not s3.calls, "nothing is read for a request that is not allowed"

    def test_no_default_bucket(self, s3: FakeS3) -> None:
        with pytest.raises(InvalidPayload, match="S3_SOURCE_BUCKET"):
            build_archive(files("a"), delivery=delivery(), services=services(s3, source_bucket=None))

    def test_of_depth(self, s3: FakeS3) -> None:
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]

        with pytest.raises(InvalidPayload, match="nested deeper than 64 levels"):
            build_archive(files("a") | {"unknown": deep}, delivery=delivery(), services=services(s3))
