"""The whole story on the in-memory S3: what the consumer is told, and what becomes of a job that is disturbed."""

import threading
import tracemalloc
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from archiver.archive.access import Access
from archiver.archive.location import Location
from archiver.archive.pipeline import ArchiveResult, build_archive, notify_failure
from archiver.archive.progress import Progress
from archiver.archive.resolve import Limits
from archiver.archive.storage import ArchiveObject, CopyRefused, UploadGone
from archiver.archive.traffic import Traffic
from archiver.errors import (
    DestinationUnavailable,
    InvalidPayload,
    LimitExceeded,
    MissingSources,
    PermanentError,
    QueueUnavailable,
    SourceAccessDenied,
    SourceChanged,
    TransientError,
    UnsafeName,
)
from tests.support.fake_s3 import MIB, Action, Call, Checksum, FakeS3
from tests.support.jobs import (
    ARCHIVES,
    OPTIONS,
    SOURCES,
    FakeNotifier,
    delivery,
    files,
    logged,
    noise,
    services,
    text,
    unzipped,
)


class Killed(Exception):
    """The worker process died here: nothing of ours handles it."""


def kill(_: Call) -> None:
    raise Killed


def raising(error: Exception) -> Action:
    def action(_: Call) -> None:
        raise error

    return action


@pytest.fixture
def s3() -> FakeS3:
    s3 = FakeS3()
    s3.create_bucket(SOURCES)
    return s3


@pytest.fixture
def notifier() -> FakeNotifier:
    return FakeNotifier()


def three_photos(s3: FakeS3, *, checksum: Checksum = "full") -> dict[str, bytes]:
    """Together more than one part; each large enough for S3 to copy from."""
    contents = {f"photos/{n}.jpg": noise((11 + n) * MIB + n, seed=n) for n in range(3)}
    for key, content in contents.items():
        s3.put_object(SOURCES, key, content, checksum=checksum)
    return contents


def by_base_name(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {key.rpartition("/")[2]: content for key, content in contents.items()}


class TestASuccessfulJob:
    def test_ends_as_an_archive_and_a_notification(self, s3: FakeS3, notifier: FakeNotifier) -> None:
        contents = three_photos(s3)
        payload = files(*contents) | {"metadata": {"user": 7, "nested": [1, None, "ü"]}}

        result = build_archive(
            payload, delivery=delivery(correlation_id="corr"), services=services(s3, notifier=notifier)
        )

        assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)
        stored = s3.buckets[ARCHIVES][result.key][-1]
        assert notifier.sent == [
            {
                "status": "succeeded",
                "metadata": {"user": 7, "nested": [1, None, "ü"]},
                "substitutions": {"archiver_URL": result.url},
                "archive": {
                    "url": result.url,
                    "bucket": ARCHIVES,
                    "key": result.key,
                    "size": len(stored.content),
                    "files": 3,
                    "crc32": f"{stored.crc32:08x}",
                    "etag": stored.etag.strip('"'),
                },
                "missing": [],
                "request_id": "request-1",
            }
        ]
        assert notifier.correlation_ids == ["corr"]
        assert not result.reused
        assert s3.unfinished() == []

    def test_moves_most_bytes_inside_s3(self, s3: FakeS3) -> None:
        contents = three_photos(s3)

        result = build_archive(files(*contents), delivery=delivery(), services=services(s3))

        assert result.bytes_copied + result.bytes_uploaded - 64 == result.size, "the marker's 64 bytes aside"
        # Three heads of at most 5 MiB each.
        assert result.bytes_read <= 15 * MIB
        assert result.bytes_copied >= 18 * MIB

    def test_has_a_summary_without_the_signature(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "a", b"a")

        summary = build_archive(files("a"), delivery=delivery(), services=services(s3)).summary()

        assert "secret" not in str(summary)
        assert summary["files"] == 1

    def test_names_the_version_in_a_versioned_bucket(self, s3: FakeS3, notifier: FakeNotifier) -> None:
        s3.put_object(SOURCES, "a", b"a")
        s3.create_bucket(ARCHIVES, versioned=True)

        result = build_archive(files("a"), delivery=delivery(), services=services(s3, notifier=notifier))

        assert notifier.sent[0]["archive"]["version_id"] == result.version_id == "v000001"

    def test_gets_a_file_name(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "a", b"a")

        result = build_archive(files("a") | {"filename": "ä.zip"}, delivery=delivery(), services=services(s3))

        disposition = s3.buckets[ARCHIVES][result.key][-1].content_disposition
        assert disposition == "attachment; filename=\"_.zip\"; filename*=UTF-8''%C3%A4.zip"

    def test_reports_its_progress(self, s3: FakeS3) -> None:
        seen: list[Progress] = []
        contents = three_photos(s3)

        build_archive(files(*contents), delivery=delivery(), services=services(s3), on_progress=seen.append)

        assert [progress.step for progress in seen[:2]] == ["resolved", "uploading"]
        assert (seen[-1].step, seen[-1].parts_done, seen[-1].bytes_done) == (
            "completed",
            seen[-1].parts_total,
            seen[-1].bytes_total,
        )
        assert seen[-1].bytes_total == sum(map(len, contents.values()))

    def test_logs_unknown_keys_once(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "a", b"a")
        payload = {"files": [{"source": "a", "sauce": 1}, {"source": "a", "sauce": 2}], "fils": 1}

        with logged() as lines:
            build_archive(payload, delivery=delivery(), services=services(s3))

        assert [line["keys"] for line in lines if line["event"] == "unknown keys ignored"] == [
            ("fils", "files[].sauce")
        ]

    def test_takes_the_same_key_for_each_delivery_and_no_other(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "a", b"a")

        first = build_archive(files("a"), delivery=delivery(), services=services(s3))
        other_message = build_archive(files("a"), delivery=delivery(request_id="request-2"), services=services(s3))
        again = build_archive(files("a"), delivery=delivery(attempt=2), services=services(s3))

        assert first.key == again.key != other_message.key
        assert again.reused


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


class TestASourceThatChanges:
    @pytest.mark.parametrize("when", ["read", "copy_part", "create", "complete"])
    def test_starts_the_build_over(self, s3: FakeS3, when: str) -> None:
        contents = three_photos(s3)
        changed = noise(12 * MIB, seed=9)

        def change(call: Call) -> None:
            # At a call for that very object: at another's, other threads might be through with it before it changes.
            if when in ("create", "complete") or "photos/1.jpg" in (call.key, call.source):
                s3.put_object(SOURCES, "photos/1.jpg", changed)

        s3.before(when, change)

        result = build_archive(files(*contents), delivery=delivery(), services=services(s3))

        found = unzipped(s3.content(ARCHIVES, result.key))
        after_the_last_look = when == "complete"
        expected = contents if after_the_last_look else contents | {"photos/1.jpg": changed}
        assert found == by_base_name(expected), "all of one state, never torn"
        assert s3.unfinished() == []

    def test_fails_the_attempt_where_it_never_rests(self, s3: FakeS3) -> None:
        contents = three_photos(s3)
        versions = iter(range(100, 200))

        def change(call: Call) -> None:
            if call.source == "photos/0.jpg":
                s3.put_object(SOURCES, "photos/0.jpg", noise(11 * MIB, next(versions)))

        s3.before("copy_part", change)

        with pytest.raises(SourceChanged):
            build_archive(files(*contents), delivery=delivery(), services=services(s3, rebuilds=2))

        assert s3.calls["create"] == 3
        assert s3.unfinished() == []

    @pytest.mark.parametrize("operation", ["read", "copy_part"])
    def test_by_vanishing_is_missing(self, s3: FakeS3, operation: str) -> None:
        contents = three_photos(s3)

        def vanish(call: Call) -> None:
            if "photos/1.jpg" in (call.key, call.source):
                s3.delete_object(SOURCES, "photos/1.jpg")

        s3.before(operation, vanish)

        with pytest.raises(MissingSources, match=r"photos/1\.jpg"):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))

        assert s3.unfinished() == []

    def test_by_vanishing_is_skipped_where_asked(self, s3: FakeS3, notifier: FakeNotifier) -> None:
        contents = three_photos(s3)
        s3.before("copy_part", lambda _: s3.delete_object(SOURCES, "photos/1.jpg"), times=1)

        result = build_archive(
            files(*contents) | {"on_missing": "skip"}, delivery=delivery(), services=services(s3, notifier=notifier)
        )

        assert set(unzipped(s3.content(ARCHIVES, result.key))) == {"0.jpg", "2.jpg"}
        assert notifier.sent[0]["missing"] == ["photos/1.jpg"]


class TestRefusedCopies:
    def test_are_read_instead_and_the_log_says_why(self, s3: FakeS3) -> None:
        contents = three_photos(s3)
        s3.before("copy_part", raising(CopyRefused("AccessDenied: no")))

        with logged() as lines:
            result = build_archive(files(*contents), delivery=delivery(), services=services(s3))

        assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)
        assert result.bytes_copied == 0
        refusals = [line for line in lines if line["event"].startswith("copy refused")]
        assert refusals[0]["reason"] == "AccessDenied: no"
        assert refusals[0]["source"].startswith(f"s3://{SOURCES}/photos/")
        assert s3.unfinished() == []

    def test_of_one_object_leave_the_others_copied(self, s3: FakeS3) -> None:
        contents = three_photos(s3)

        def refuse(call: Call) -> None:
            if call.source == "photos/1.jpg":
                raise CopyRefused("AccessDenied: no")

        s3.before("copy_part", refuse)
        # One copy at a time, so that another object of the bucket has been copied before.
        one_by_one = replace(OPTIONS, copy_concurrency=1)

        result = build_archive(files(*contents), delivery=delivery(), services=services(s3, options=one_by_one))

        assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)
        assert result.bytes_copied > 10 * MIB

    def test_that_go_on_one_by_one_end_with_the_whole_bucket(self, s3: FakeS3) -> None:
        # Given an S3 that refuses one more object under each plan, having copied the first one,
        contents = {f"many/{n}.jpg": noise(12 * MIB + n, seed=n) for n in range(6)}
        for key, content in contents.items():
            s3.put_object(SOURCES, key, content)

        copying_plans: set[int] = set()

        def refuse(call: Call) -> None:
            plan = s3.calls["create"]
            if call.source == f"many/{plan}.jpg":
                raise CopyRefused("AccessDenied: no")
            copying_plans.add(plan)

        s3.before("copy_part", refuse)
        one_by_one = replace(OPTIONS, copy_concurrency=1)

        # when the archive is built,
        result = build_archive(files(*contents), delivery=delivery(), services=services(s3, options=one_by_one))

        # then three plans have given an object up each, and the fourth copied none.
        assert s3.calls["create"] == 4
        assert copying_plans == {1, 2, 3}
        assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)


class TestARedelivery:
    def test_of_a_finished_job_only_notifies(self, s3: FakeS3, notifier: FakeNotifier) -> None:
        # Given an archive whose notification did not get through,
        contents = three_photos(s3)
        with_queue = services(s3, notifier=notifier)
        notifier.down = True
        with pytest.raises(QueueUnavailable):
            build_archive(files(*contents), delivery=delivery(), services=with_queue)
        built = Counter(s3.calls)
        s3.calls.clear()
        notifier.down = False

        # when the message comes back, though the sources are gone by now,
        for key in contents:
            s3.delete_object(SOURCES, key)
        result = build_archive(files(*contents), delivery=delivery(attempt=2), services=with_queue)

        # then the archive is found by one request and the consumer is told.
        assert built["complete"] == 1
        assert s3.calls == {"find_archive": 1}
        assert result.reused
        assert notifier.sent[0]["archive"]["crc32"] == result.crc32
        assert result.files == 3

    def test_that_claims_to_be_the_first_finds_the_archive_as_well(self, s3: FakeS3, notifier: FakeNotifier) -> None:
        contents = three_photos(s3)
        with_queue = services(s3, notifier=notifier)
        build_archive(files(*contents), delivery=delivery(), services=with_queue)

        again = build_archive(files(*contents), delivery=delivery(), services=with_queue)

        assert again.reused
        assert s3.unfinished() == [], "the loser takes its upload away"
        assert len(notifier.sent) == 2

    @pytest.mark.parametrize("attempt", [1, 2])
    def test_leaves_a_foreign_object_under_the_key_alone(self, s3: FakeS3, attempt: int) -> None:
        contents = three_photos(s3)
        key = build_archive(files(*contents), delivery=delivery(), services=services(s3)).key
        s3.put_object(ARCHIVES, key, b"somebody else's")

        with pytest.raises(DestinationUnavailable, match="no archive of this request"):
            build_archive(files(*contents), delivery=delivery(attempt=attempt), services=services(s3))

        assert s3.content(ARCHIVES, key) == b"somebody else's"
        assert s3.unfinished() == []

    def test_drops_the_upload_of_a_job_that_has_become_impossible(self, s3: FakeS3) -> None:
        # Given an attempt that was killed halfway, and a source deleted since,
        contents = three_photos(s3)
        s3.before("put_part", kill, skip=2, times=1)
        with pytest.raises(Killed):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))
        assert len(s3.unfinished()) == 1
        s3.delete_object(SOURCES, "photos/0.jpg")

        # when the message comes back, then it fails for good and leaves nothing.
        with pytest.raises(MissingSources):
            build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))
        assert s3.unfinished() == []

    def test_drops_the_upload_of_an_archive_that_has_become_small(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "a", noise(12 * MIB))
        s3.before("put_part", kill, skip=1, times=1)
        with pytest.raises(Killed):
            build_archive(files("a"), delivery=delivery(), services=services(s3))
        s3.put_object(SOURCES, "a", b"small")

        result = build_archive(files("a"), delivery=delivery(attempt=2), services=services(s3))

        assert unzipped(s3.content(ARCHIVES, result.key)) == {"a": b"small"}
        assert s3.unfinished() == []


class TestAKilledJob:
    @pytest.mark.parametrize("checksum", ["full", "composite", "none"])
    @pytest.mark.parametrize("operation", ["put_part", "copy_part"])
    def test_goes_on_with_the_parts_that_are_missing(self, s3: FakeS3, checksum: Checksum, operation: str) -> None:
        # Given a build without faults, to compare with,
        contents = three_photos(s3, checksum=checksum)
        whole = FakeS3()
        three_photos(whole, checksum=checksum)
        build_archive(files(*contents), delivery=delivery(), services=services(whole))

        # and one that was killed: the marker and one part, or one copy, were done,
        s3.before(operation, kill, skip=2 if operation == "put_part" else 1)
        with pytest.raises(Killed):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))
        (upload_id,) = s3.unfinished()
        there = set(s3.uploads[upload_id].parts)
        assert len(there) >= 2
        s3.heal()
        s3.calls.clear()

        # when the message comes back,
        result = build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))

        # then only the missing parts are sent, the marker (one of those that were there) not again,
        assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)
        assert s3.calls["create"] == 0
        sent = s3.calls["put_part"] + s3.calls["copy_part"]
        assert sent == whole.calls["put_part"] + whole.calls["copy_part"] - len(there)
        # and the archive is the same, byte for byte.
        assert s3.content(ARCHIVES, result.key) == whole.content(ARCHIVES, result.key)
        assert s3.unfinished() == []

    def test_goes_on_deflating_without_sending_again(self, s3: FakeS3) -> None:
        content = b"".join(noise(600, seed=n % 500) + bytes(400) for n in range(30_000))
        s3.put_object(SOURCES, "data.csv", content)
        s3.put_object(SOURCES, "photo.jpg", noise(12 * MIB))
        payload = files("data.csv", "photo.jpg") | {"compression": "auto"}
        s3.before("put_part", kill, skip=2)
        with pytest.raises(Killed):
            build_archive(payload, delivery=delivery(), services=services(s3))
        (upload_id,) = s3.unfinished()
        there = len(s3.uploads[upload_id].parts)
        s3.heal()
        s3.calls.clear()

        result = build_archive(payload, delivery=delivery(attempt=2), services=services(s3))

        assert unzipped(s3.content(ARCHIVES, result.key)) == {"data.csv": content, "photo.jpg": noise(12 * MIB)}
        assert s3.calls["create"] == 0
        assert there == 2, "the marker and the first part"
        whole = FakeS3()
        for key in ("data.csv", "photo.jpg"):
            whole.put_object(SOURCES, key, s3.content(SOURCES, key))
        assert result.parts == build_archive(payload, delivery=delivery(), services=services(whole)).parts - there

    def test_begins_anew_where_a_source_has_changed_since(self, s3: FakeS3) -> None:
        contents = three_photos(s3)
        s3.before("put_part", kill, skip=3)
        with pytest.raises(Killed):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))
        (old,) = s3.unfinished()
        s3.heal()
        contents["photos/2.jpg"] = noise(13 * MIB + 2, seed=50)
        s3.put_object(SOURCES, "photos/2.jpg", contents["photos/2.jpg"])

        result = build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))

        assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)
        assert s3.unfinished() == [], f"{old} was aborted: its marker is that of another plan"
        assert s3.calls["create"] == 2

    def test_begins_anew_where_a_source_was_written_again_as_it_was(self, s3: FakeS3) -> None:
        # Its time stands in the local header, which may have been sent, and in the directory, which was not.
        contents = three_photos(s3)
        s3.before("put_part", kill, skip=3)
        with pytest.raises(Killed):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))
        s3.heal()
        before = s3.find(Location(SOURCES, "photos/0.jpg"))
        s3.put_object(SOURCES, "photos/0.jpg", contents["photos/0.jpg"], modified=before.modified + 3600)
        assert s3.find(Location(SOURCES, "photos/0.jpg")).etag == before.etag

        build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))

        assert s3.calls["create"] == 2
        assert s3.unfinished() == []

    def test_a_part_that_is_not_what_it_should_be_is_sent_again(self, s3: FakeS3) -> None:
        contents = three_photos(s3)
        s3.before("complete", kill, times=1)
        with pytest.raises(Killed):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))
        (upload_id,) = s3.unfinished()
        part, body = s3.uploads[upload_id].parts[2]
        s3.uploads[upload_id].parts[2] = (replace(part, size=part.size - 1), body[:-1])

        result = build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))

        assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)
        assert result.parts == 1


class TestWhatAnErrorLeaves:
    def test_a_permanent_one_aborts_the_upload(self, s3: FakeS3) -> None:
        contents = three_photos(s3)
        s3.before("read", raising(SourceAccessDenied("denied")), skip=1)

        with pytest.raises(SourceAccessDenied):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))

        assert s3.calls["create"] == 1
        assert s3.unfinished() == []

    def test_a_transient_one_leaves_it(self, s3: FakeS3) -> None:
        contents = three_photos(s3)
        s3.before("read", raising(TransientError("later")), skip=1)

        with pytest.raises(TransientError, match="later"):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))

        assert len(s3.unfinished()) == 1


class TestTwoWorkersWithOneMessage:
    def test_an_upload_that_another_has_completed_is_found_as_its_archive(self, s3: FakeS3) -> None:
        # Given a worker that is about to send its last parts,
        contents = three_photos(s3)
        done: list[ArchiveResult] = []

        def overtake(_: Call) -> None:
            # when another, with the redelivered message, resumes its upload and completes it,
            done.append(build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3)))

        s3.before("copy_part", overtake, skip=1, times=1)
        result = build_archive(files(*contents), delivery=delivery(), services=services(s3))

        # then there is one archive, and both know it.
        assert (result.key, result.etag, result.reused) == (done[0].key, done[0].etag, True)
        assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)
        assert s3.unfinished() == []

    def test_an_archive_that_another_has_completed_stays(self, s3: FakeS3) -> None:
        contents = three_photos(s3)
        done: list[ArchiveResult] = []

        def overtake(_: Call) -> None:
            # Both began before either's upload could be seen.
            done.append(build_archive(files(*contents), delivery=delivery(), services=services(s3)))

        s3.before("complete", overtake, times=1)
        result = build_archive(files(*contents), delivery=delivery(), services=services(s3))

        assert (result.reused, result.etag) == (True, done[0].etag)
        assert len(s3.buckets[ARCHIVES]) == 1
        assert s3.unfinished() == []

    def test_an_upload_that_another_has_aborted_is_begun_anew(self, s3: FakeS3) -> None:
        contents = three_photos(s3)

        def abort(call: Call) -> None:
            uploads = s3.archives(ARCHIVES)(Traffic())
            for upload_id in s3.unfinished():
                uploads.abort(call.key, upload_id)

        s3.before("put_part", abort, skip=2, times=1)

        result = build_archive(files(*contents), delivery=delivery(), services=services(s3))

        assert not result.reused
        assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)
        assert s3.unfinished() == []

    def test_an_upload_that_is_taken_away_each_time_is_a_matter_for_later(self, s3: FakeS3) -> None:
        contents = three_photos(s3)
        s3.before("put_part", raising(UploadGone()))

        with pytest.raises(TransientError, match="taken away"):
            build_archive(files(*contents), delivery=delivery(), services=services(s3, rebuilds=2))

    @pytest.mark.parametrize("seed", range(4))
    def test_at_once_end_with_one_archive(self, s3: FakeS3, notifier: FakeNotifier, seed: int) -> None:
        # Given workers that begin together, one of which thinks that it is the first,
        contents = three_photos(s3)
        barrier = threading.Barrier(2, timeout=30)
        # at the start, at the first upload, at the marker or at the end,
        s3.before(("fetch_small", "create", "copy_part", "complete")[seed], lambda _: barrier.wait(), times=2)
        outcomes: list[ArchiveResult | Exception] = []

        def work(attempt: int) -> None:
            try:
                outcomes.append(
                    build_archive(
                        files(*contents), delivery=delivery(attempt), services=services(s3, notifier=notifier)
                    )
                )
            except Exception as error:
                outcomes.append(error)

        workers = [threading.Thread(target=work, args=(attempt,)) for attempt in (1, 2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)

        # then there is one archive, right, that both have told the consumer of, and nothing else.
        assert [type(outcome) for outcome in outcomes] == [ArchiveResult, ArchiveResult], outcomes
        assert len({outcome.key for outcome in outcomes if isinstance(outcome, ArchiveResult)}) == 1
        (archives,) = s3.buckets[ARCHIVES].values()
        assert len(archives) == 1
        assert unzipped(archives[0].content) == by_base_name(contents)
        assert [sent["archive"]["etag"] for sent in notifier.sent] == [archives[0].etag.strip('"')] * 2
        assert s3.unfinished() == []


class TestAFailureIsNotified:
    ERROR = MissingSources(["a"])

    def test_only_where_asked(self, s3: FakeS3, notifier: FakeNotifier) -> None:
        notify_failure(files("a"), self.ERROR, delivery=delivery(), services=services(s3, notifier=notifier))

        assert notifier.sent == []

    @pytest.mark.parametrize("metadata", [{"user": 7}, None])
    def test_with_its_reason(self, s3: FakeS3, notifier: FakeNotifier, metadata: object) -> None:
        asked = services(s3, notifier=notifier, notify_failures=True)

        notify_failure(
            files("a") | {"metadata": metadata}, self.ERROR, delivery=delivery(correlation_id="c"), services=asked
        )

        assert notifier.sent == [
            {
                "status": "failed",
                "metadata": metadata,
                "error": {"code": "missing_sources", "message": "1 missing source(s): a"},
                "missing": ["a"],
                "request_id": "request-1",
            }
        ]
        assert notifier.correlation_ids == ["c"]

    @pytest.mark.parametrize("payload", [None, [], "x", {"metadata": [1]}, {"metadata": "x"}])
    def test_whatever_the_payload(self, s3: FakeS3, notifier: FakeNotifier, payload: object) -> None:
        asked = services(s3, notifier=notifier, notify_failures=True)

        notify_failure(payload, PermanentError("no"), delivery=delivery(), services=asked)

        assert notifier.sent[0]["metadata"] is None

    def test_never_at_the_cost_of_the_dead_letter(self, s3: FakeS3, notifier: FakeNotifier) -> None:
        notifier.down = True
        asked = services(s3, notifier=notifier, notify_failures=True)

        with logged() as lines:
            notify_failure(files("a"), self.ERROR, delivery=delivery(), services=asked)

        assert [line["log_level"] for line in lines] == ["error"]


def test_a_marker_alone_does_not_make_an_upload_ours(s3: FakeS3) -> None:
    """An upload under the key without our marker, from whoever, is aborted rather than filled."""
    contents = three_photos(s3)
    key = build_archive(files(*contents), delivery=delivery(), services=services(s3)).key
    del s3.buckets[ARCHIVES][key]
    foreign = s3.archives(ARCHIVES)(Traffic()).create(ArchiveObject(key, {}, None))

    result = build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))

    assert foreign not in s3.unfinished()
    assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)


class TestWhereS3RefusesToCopy:
    def test_a_killed_build_is_resumed_under_the_plan_that_it_had_come_to(self, s3: FakeS3) -> None:
        # Given a build that was refused every copy, began anew and was killed after some parts,
        contents = three_photos(s3)
        s3.before("copy_part", raising(CopyRefused("AccessDenied: no")))

        def kill_the_second_plan(call: Call) -> None:
            if s3.calls["create"] == 2 and len(s3.uploads[s3.unfinished()[-1]].parts) >= 4:
                kill(call)

        s3.before("put_part", kill_the_second_plan)
        with pytest.raises(Killed):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))
        (done,) = (len(upload.parts) - 1 for upload in s3.uploads.values())
        assert done >= 3

        # when the next attempt is refused them, too,
        s3.heal()
        s3.before("copy_part", raising(CopyRefused("AccessDenied: no")))
        with logged() as lines:
            result = build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))

        # then it goes on with the upload under the plan that it had come to, and nothing is left over.
        assert [line["parts"] for line in lines if line["event"] == "upload resumed"] == [done]
        assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)
        assert s3.unfinished() == []


class TestAFailingCleanUp:
    def test_does_not_hide_what_went_wrong(self, s3: FakeS3) -> None:
        s3.before("uploads_of", raising(DestinationUnavailable("AccessDenied")))

        with pytest.raises(MissingSources):
            build_archive(files("not/there"), delivery=delivery(attempt=2), services=services(s3))


def test_a_part_of_many_tiny_objects_takes_little_more_than_its_bytes(s3: FakeS3) -> None:
    # Given tens of thousands of objects of a byte, all in one part,
    for number in range(200):
        s3.put_object(SOURCES, f"tiny/{number}", b"x")
    payload = {"files": [{"source": "tiny/", "destination": f"d{copy}"} for copy in range(150)]}
    many = services(s3, limits=Limits(max_files=30_000, max_archive_bytes=MIB))
    build_archive(payload, delivery=delivery(request_id="warm"), services=many)

    # when they are archived,
    tracemalloc.start()
    result = build_archive(payload, delivery=delivery(), services=many)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # then what is held of each is its source, its name and its place, and no thread job.
    assert result.files == 30_000
    assert peak < 30_000 * 1_500
