"""The message comes again: after its job was done, after the worker died, and while another has it."""

import threading
from collections import Counter
from dataclasses import replace

import pytest

from archiver.archive.location import Location
from archiver.archive.pipeline import ArchiveResult, build_archive
from archiver.archive.storage import ArchiveObject, UploadGone
from archiver.archive.traffic import Traffic
from archiver.errors import (
    DestinationUnavailable,
    MissingSources,
    QueueUnavailable,
    SourceAccessDenied,
    TransientError,
)
from tests.support.disturbances import Killed, by_base_name, kill, raising, three_photos
from tests.support.fake_s3 import MIB, Call, Checksum, FakeS3
from tests.support.jobs import (
    ARCHIVES,
    SOURCES,
    FakeNotifier,
    delivery,
    files,
    noise,
    services,
    unzipped,
)


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


def test_a_marker_alone_does_not_make_an_upload_ours(s3: FakeS3) -> None:
    """An upload under the key without our marker, from whoever, is aborted rather than filled."""
    contents = three_photos(s3)
    key = build_archive(files(*contents), delivery=delivery(), services=services(s3)).key
    del s3.buckets[ARCHIVES][key]
    foreign = s3.archives(ARCHIVES)(Traffic()).create(ArchiveObject(key, {}, None))

    result = build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))

    assert foreign not in s3.unfinished()
    assert unzipped(s3.content(ARCHIVES, result.key)) == by_base_name(contents)
