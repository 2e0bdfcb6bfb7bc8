"""Sources that change or vanish while the archive is built, and copies that S3 refuses."""

import threading
from dataclasses import replace

import pytest

from archiver.archive.pipeline import build_archive
from archiver.archive.storage import CopyRefused
from archiver.errors import (
    MissingSources,
    SourceAccessDenied,
    SourceChanged,
)
from tests.support.disturbances import Killed, by_base_name, kill, raising, three_photos
from tests.support.fake_s3 import MIB, Call, FakeS3
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
    unzipped,
)
from tests.support.waiting import LONG_ENOUGH


def waited(event: threading.Event) -> None:
    assert event.wait(LONG_ENOUGH)


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

    def test_leaves_no_upload_that_was_only_beginning(self, s3: FakeS3) -> None:
        contents = {f"photos/{number}.jpg": noise(3 * MIB, seed=number) for number in range(4)}
        for key, content in contents.items():
            s3.put_object(SOURCES, key, content)
        read = threading.Event()

        def deny(_: Call) -> None:
            read.set()
            raise SourceAccessDenied("photos")

        s3.before("create", lambda _: waited(read))
        s3.before("read", deny)

        with pytest.raises(SourceAccessDenied):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))

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
