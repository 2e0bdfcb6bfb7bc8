"""Bytes that arrive other than S3 stores them: read again, never archived, and never reused by a later attempt."""

import zlib
from collections.abc import Callable

import pytest

from archiver.archive.pipeline import build_archive
from archiver.archive.reading import READS
from archiver.archive.storage import CopyRefused
from archiver.archive.traffic import Traffic
from archiver.archive.upload import MARKER_NUMBER
from archiver.errors import StorageUnavailable
from tests.support.fake_s3 import MIB, Call, Checksum, FakeS3, flip
from tests.support.jobs import ARCHIVES, SOURCES, delivery, files, logged, noise, services, text, unzipped


class Killed(Exception):
    """The worker process died here: nothing of ours handles it."""


def kill(_: Call) -> None:
    raise Killed


def refuse(_: Call) -> None:
    raise CopyRefused("AccessDenied: no copies today")


def kill_at(number: int) -> Callable[[Call], None]:
    return lambda call: kill(call) if call.number == number else None


@pytest.fixture
def s3() -> FakeS3:
    s3 = FakeS3()
    s3.create_bucket(SOURCES)
    return s3


def films(s3: FakeS3, *, checksum: Checksum = "full") -> dict[str, bytes]:
    """Copied but for their heads, which are read by range."""
    contents = {f"{n}.mp4": noise((12 + n) * MIB + n, seed=n) for n in range(3)}
    for key, content in contents.items():
        s3.put_object(SOURCES, key, content, checksum=checksum, part_size=5 * MIB)
    return contents


#: The part of the three films' archive that its directory lies in.
LAST = 7


def nothing_is_archived(s3: FakeS3) -> bool:
    return not s3.buckets.get(ARCHIVES)


class TestSmallObjects:
    @pytest.mark.parametrize("checksum", ["full", "composite"])
    @pytest.mark.parametrize(("sources", "read"), [(["p/a.txt"], "fetch_small"), (["p/"], "read")])
    def test_are_read_again(self, s3: FakeS3, sources: list[str], read: str, checksum: Checksum) -> None:
        """Fetched with the look or found in a listing: S3 tells the CRC32 with the content."""
        s3.put_object(SOURCES, "p/a.txt", noise(3_000), checksum=checksum)
        s3.before(read, flip, times=READS - 1)

        with logged() as lines:
            result = build_archive(files(*sources), delivery=delivery(), services=services(s3))

        assert unzipped(s3.content(ARCHIVES, result.key)) == {"a.txt": noise(3_000)}
        reasons = [line["reason"] for line in lines if line["event"].startswith("read again")]
        assert len(reasons) == READS - 1
        ours, _, theirs = reasons[0].partition(", ")
        assert ours != f"s3://{SOURCES}/p/a.txt: the bytes read have CRC32 {zlib.crc32(noise(3_000)):08x}"
        assert theirs == f"S3 says {zlib.crc32(noise(3_000)):08x}"

    @pytest.mark.parametrize(("sources", "read"), [(["p/a.txt"], "fetch_small"), (["p/"], "read")])
    def test_that_stay_wrong_are_a_matter_for_later(self, s3: FakeS3, sources: list[str], read: str) -> None:
        s3.put_object(SOURCES, "p/a.txt", noise(3_000))
        s3.before(read, flip)

        with pytest.raises(StorageUnavailable, match=r"p/a\.txt: the bytes read have CRC32 .*, S3 says .*, 4 times"):
            build_archive(files(*sources), delivery=delivery(), services=services(s3))

        assert s3.calls[read] == READS
        assert nothing_is_archived(s3)

    def test_of_which_s3_has_no_checksum_are_taken_as_they_come(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "a.txt", noise(3_000), checksum="none")

        result = build_archive(files("a.txt"), delivery=delivery(), services=services(s3))

        assert unzipped(s3.content(ARCHIVES, result.key)) == {"a.txt": noise(3_000)}
        assert s3.calls == {"fetch_small": 1, "put": 1}


class TestLargeObjects:
    @pytest.mark.parametrize("checksum", ["full", "composite"])
    @pytest.mark.parametrize("operation", ["read", "copy_part"])
    def test_are_right_at_the_first_attempt(self, s3: FakeS3, operation: str, checksum: Checksum) -> None:
        # Given three films, of one of which a range is read, or copied, with a wrong bit,
        contents = films(s3, checksum=checksum)
        s3.before(operation, flip, times=1)

        # when they are archived,
        with logged() as lines:
            result = build_archive(files(*contents), delivery=delivery(), services=services(s3))

        # then that film's parts, and what shares them, were built again, and the rest was not.
        assert unzipped(s3.content(ARCHIVES, result.key)) == contents
        assert [line["entries"] for line in lines if line["event"].startswith("parts built again")] == [1]
        assert 3 < s3.calls["copy_part"] < 6
        assert 3 < s3.calls["read"] <= 5

    def test_that_stay_wrong_fail_and_nothing_is_archived(self, s3: FakeS3) -> None:
        contents = films(s3)
        s3.before("read", flip, key="1.mp4")

        with pytest.raises(StorageUnavailable, match=r"1\.mp4: the bytes read have CRC32 .*, S3 says "):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))
        assert nothing_is_archived(s3)

        # A later attempt, on a better day, takes none of the wrong bytes over.
        s3.heal()
        result = build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))
        assert unzipped(s3.content(ARCHIVES, result.key)) == contents

    def test_that_are_split_over_parts_are_compared_as_a_whole(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "a.mp4", noise(23 * MIB))
        s3.before("copy_part", refuse)
        s3.before("read", flip, skip=2, times=1)

        result = build_archive(files("a.mp4"), delivery=delivery(), services=services(s3))

        assert unzipped(s3.content(ARCHIVES, result.key)) == {"a.mp4": noise(23 * MIB)}


class TestAKilledAttempt:
    @pytest.mark.parametrize("checksum", ["full", "composite"])
    @pytest.mark.parametrize("operation", ["read", "copy_part"])
    def test_leaves_no_wrong_part_to_the_next_one(self, s3: FakeS3, operation: str, checksum: Checksum) -> None:
        # Given an attempt that sent a part with a wrong bit, and died before it could know,
        contents = films(s3, checksum=checksum)
        s3.before(operation, flip, times=1)
        s3.before("put_part", kill_at(LAST))
        with pytest.raises(Killed):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))
        s3.heal()

        # when the message comes back,
        result = build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))

        # then the archive is right.
        assert unzipped(s3.content(ARCHIVES, result.key)) == contents
        assert s3.calls["create"] == 1, "the upload was resumed"

    @pytest.mark.parametrize("checksum", ["full", "composite"])
    def test_leaves_right_parts_that_need_no_reading(self, s3: FakeS3, checksum: Checksum) -> None:
        """Their CRC32s, with those of the copies, come to those of the sources."""
        contents = films(s3, checksum=checksum)
        s3.before("complete", kill)
        with pytest.raises(Killed):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))
        s3.heal()

        result = build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))

        assert unzipped(s3.content(ARCHIVES, result.key)) == contents
        assert (result.bytes_read, result.bytes_uploaded, result.bytes_copied) == (0, 0, 0)

    @pytest.mark.parametrize("where", ["header", "whole entry", "directory"])
    def test_leaves_no_part_that_only_its_crc32_shows_to_be_wrong(self, s3: FakeS3, where: str) -> None:
        # Given all parts of an archive, one of them with a bit flipped, S3's CRC32 of it being right for that,
        contents = films(s3) | {"a.txt": noise(1_000_000, seed=9)}
        s3.put_object(SOURCES, "a.txt", contents["a.txt"])
        s3.before("complete", kill)
        with pytest.raises(Killed):
            build_archive(files(*contents), delivery=delivery(), services=services(s3))
        s3.heal()
        (upload_id,) = s3.unfinished()
        upload = s3.uploads[upload_id]
        numbers = sorted(set(upload.parts) - {MARKER_NUMBER})
        number, at = {"header": (1, 14), "whole entry": (numbers[-1], 500_000), "directory": (numbers[-1], -60)}[where]
        body = bytearray(upload.parts[number][1])
        body[at] ^= 1
        del upload.parts[number]
        s3.archives(ARCHIVES)(Traffic()).put_part(upload.archive.key, upload_id, number, body, crc32=zlib.crc32(body))

        # when the message comes back, then that part is sent again; beside a film's head, its copy is made again.
        result = build_archive(files(*contents), delivery=delivery(attempt=2), services=services(s3))
        assert unzipped(s3.content(ARCHIVES, result.key)) == contents
        assert result.parts == (2 if where == "header" else 1)


class TestDeflating:
    @pytest.mark.parametrize("size", [100_000, 23 * MIB])
    @pytest.mark.parametrize("skip", [0, 1, 2])
    def test_reads_again(self, s3: FakeS3, size: int, skip: int) -> None:
        """The trial, a block, the last block; a small one that was looked at, or found in a listing."""
        contents = {"p/a.csv": text(size), "p/b.csv": text(2_000), "p/c.mp4": noise(12 * MIB)}
        for key, content in contents.items():
            s3.put_object(SOURCES, key, content)
        s3.before("read", flip, skip=skip, times=1)

        payload = files("p/") | {"compression": "auto"}
        result = build_archive(payload, delivery=delivery(), services=services(s3))

        assert unzipped(s3.content(ARCHIVES, result.key)) == {key[2:]: content for key, content in contents.items()}

    def test_of_what_stays_wrong_fails(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "a.csv", text(12 * MIB))
        s3.before("read", flip, skip=1)

        with pytest.raises(StorageUnavailable, match=r"a\.csv: the bytes read have CRC32 .*, S3 says "):
            build_archive(files("a.csv") | {"compression": "auto"}, delivery=delivery(), services=services(s3))

        assert nothing_is_archived(s3)
