"""An upload that is resumed only where its marker says that the parts are ours."""

import zlib
from dataclasses import replace

import pytest

from archiver.archive.storage import ArchiveObject
from archiver.archive.traffic import Traffic
from archiver.archive.upload import LAST_NUMBER, MARKER_NUMBER, OWNER_NUMBER, Upload, abort_uploads
from archiver.errors import ArchiveRefused, DestinationUnavailable
from tests.support.fake_s3 import Call, FakeS3, FakeUploads
from tests.support.jobs import ARCHIVES, logged

ARCHIVE = ArchiveObject("key", {}, None)


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


@pytest.fixture
def uploads(s3: FakeS3) -> FakeUploads:
    return s3.archives(ARCHIVES)(Traffic())


def upload(uploads: FakeUploads, digest: str = "d", *, resume: bool = True) -> Upload:
    return Upload(uploads, ARCHIVE, digest=lambda: digest, resume=resume)


def put(one: Upload, number: int, body: bytes) -> None:
    one.put(number, body, crc32=zlib.crc32(body))


def test_the_marker_has_a_number_of_its_own() -> None:
    assert (MARKER_NUMBER, OWNER_NUMBER, LAST_NUMBER) == (10_000, 9_999, 9_998)


def test_nothing_is_begun_before_it_is_needed(s3: FakeS3, uploads: FakeUploads) -> None:
    one = upload(uploads)
    one.abort()

    assert not one.begun
    assert not s3.calls


def test_it_is_begun_once_nobody_has_to_wait_for_it(s3: FakeS3, uploads: FakeUploads) -> None:
    one = upload(uploads)
    marking = []
    s3.before("put_part", lambda _: marking.append(one.begun))
    one.open()

    # A part that streams holds a place of the throttle, and the marker needs one.
    assert marking == [False]
    assert one.begun


def test_the_same_parts_are_not_sent_again(s3: FakeS3, uploads: FakeUploads) -> None:
    put(upload(uploads), 1, b"one")
    s3.calls.clear()

    again = upload(uploads)
    put(again, 1, b"one")
    assert s3.calls["put_part"] == 0
    put(again, 1, b"One")
    put(again, 2, b"two")
    assert s3.calls["put_part"] == 2
    assert s3.calls["create"] == 0
    # S3 has other bytes by now than it had before.
    put(again, 1, b"one")
    assert s3.calls["put_part"] == 3


@pytest.mark.parametrize("left", ["other plan", "no marker", "marker of another size"])
def test_an_upload_of_another_plan_is_not_filled(s3: FakeS3, uploads: FakeUploads, left: str) -> None:
    if left == "other plan":
        put(upload(uploads, "other"), 1, b"one")
    else:
        foreign = uploads.create(ARCHIVE)
        if left != "no marker":
            uploads.put_part("key", foreign, MARKER_NUMBER, b"ddd", crc32=zlib.crc32(b"ddd"))
    (before,) = s3.unfinished()

    put(upload(uploads), 1, b"one")

    # Another attempt may be at work on it: it stays until the archive is complete.
    kept, begun = s3.unfinished()
    assert kept == before
    assert set(uploads.parts_of("key", begun)) == {1, MARKER_NUMBER}


def test_of_two_that_are_ours_the_fuller_goes_on(s3: FakeS3, uploads: FakeUploads) -> None:
    first, second = upload(uploads, resume=False), upload(uploads, resume=False)
    put(first, 1, b"one")
    put(second, 1, b"one")
    put(second, 2, b"two")

    assert upload(uploads).open() == second.open() != first.open()


def test_what_cannot_be_aborted_is_left_to_the_lifecycle_rule(s3: FakeS3, uploads: FakeUploads) -> None:
    one = upload(uploads)
    put(one, 1, b"one")

    def denied(_: Call) -> None:
        raise DestinationUnavailable("AccessDenied")

    s3.before("abort", denied)
    with logged() as lines:
        one.abort()
        abort_uploads(uploads, "key")
        s3.before("uploads_of", denied)
        abort_uploads(uploads, "key")

    assert [line["log_level"] for line in lines] == ["warning"] * 3


def test_parts_that_another_attempt_has_put_again_are_completed_as_they_are(s3: FakeS3, uploads: FakeUploads) -> None:
    # given an upload whose part another attempt has put again, and S3 has given it another ETag
    one = upload(uploads)
    part = one.put(1, b"one", crc32=zlib.crc32(b"one"))
    stale = replace(part, etag='"another"')

    # when it is completed with the ETag from before
    archive = one.complete([stale], crc32=zlib.crc32(b"one"), size=3)

    # then the archive is what it should be
    assert s3.content(ARCHIVES, "key") == b"one"
    assert archive.size == 3


def test_other_content_is_never_completed(s3: FakeS3, uploads: FakeUploads) -> None:
    one = upload(uploads)
    part = one.put(1, b"one", crc32=zlib.crc32(b"one"))

    with pytest.raises(ArchiveRefused):
        one.complete([replace(part, etag='"another"', crc32=1)], crc32=1, size=3)

    assert s3.calls["complete"] == 1


def test_an_upload_of_another_key_is_left_alone(s3: FakeS3, uploads: FakeUploads) -> None:
    other = uploads.create(ArchiveObject("key2", {}, None))

    upload(uploads).open()

    assert other in s3.unfinished()
