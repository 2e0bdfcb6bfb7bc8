"""Writing archives: what the engine counts on, on the in-memory S3 as on a real server."""

import zlib
from dataclasses import replace

import pytest

from archiver.archive.location import Location
from archiver.archive.storage import ArchiveExists, ArchiveObject, CopyRefused, UploadedPart, UploadGone
from archiver.archive.streamed_body import Stream, StreamedBody
from archiver.errors import ArchiveRefused, DestinationUnavailable, SourceChanged
from archiver.zipformat.crc import crc32_of_parts
from tests.contract.conftest import Server
from tests.support.fake_s3 import MIB
from tests.support.jobs import noise

ARCHIVE = ArchiveObject(
    key=f"{'0' * 64}/download-2026-11-24.zip",
    metadata={"archiver-request": "1", "archiver-missing": ""},
    content_disposition="attachment; filename=\"x.zip\"; filename*=UTF-8''x.zip",
)


def put(server: Server, upload_id: str, number: int, body: bytes) -> UploadedPart:
    return server.uploads.put_part(ARCHIVE.key, upload_id, number, body, crc32=zlib.crc32(body))


def complete(server: Server, upload_id: str, parts: list[UploadedPart]) -> None:
    crc32 = crc32_of_parts((part.crc32 or 0, part.size) for part in parts)
    server.uploads.complete(ARCHIVE, upload_id, parts, crc32=crc32, size=sum(part.size for part in parts))


def test_a_part_goes_out_while_its_objects_come_in(server: Server) -> None:
    contents = {"long": noise(5 * MIB), "short": b"short", "empty": b""}
    for key, content in contents.items():
        server.put(key, content)
    sources = [server.objects.head(Location(server.bucket, key)) for key in contents]
    upload_id = server.uploads.create(ARCHIVE)
    whole = b"head" + b"".join(contents.values()) + b"tail"

    with server.objects.opened(sources) as arriving:
        assert [one.crc32 for one in arriving] == [zlib.crc32(content) for content in contents.values()]
        streams = [Stream(one, source.size) for one, source in zip(arriving, sources, strict=True)]
        body = StreamedBody([b"head", *streams, b"tail"], len(whole))
        part = server.uploads.put_part(ARCHIVE.key, upload_id, 1, body, crc32=zlib.crc32(whole))
    complete(server, upload_id, [part])

    assert server.objects.tells_crc32(server.bucket)
    assert server.content(ARCHIVE.key) == whole
    assert (server.traffic.bytes_read, server.traffic.bytes_uploaded) == (5 * MIB + 5, len(whole))


def test_a_streamed_part_of_other_bytes_is_none(server: Server) -> None:
    server.put("a", b"content")
    upload_id = server.uploads.create(ARCHIVE)
    with server.objects.opened([server.objects.head(Location(server.bucket, "a"))]) as (arriving,):
        body = StreamedBody([Stream(arriving, 7)], 7)
        with pytest.raises(DestinationUnavailable):
            server.uploads.put_part(ARCHIVE.key, upload_id, 1, body, crc32=zlib.crc32(b"promise"))
    assert not server.uploads.parts_of(ARCHIVE.key, upload_id)


def test_an_object_that_changed_is_not_opened(server: Server) -> None:
    server.put("a", b"content")
    server.put("b", b"content")
    sources = [server.objects.head(Location(server.bucket, key)) for key in "ab"]
    server.put("b", b"another")
    with pytest.raises(SourceChanged, match="/b changed"), server.objects.opened(sources):
        pass


def test_parts_in_any_order_become_the_archive(server: Server) -> None:
    large = noise(12 * MIB)
    server.put("large", large)
    source = server.objects.head(Location(server.bucket, "large"))
    upload_id = server.uploads.create(ARCHIVE)

    last = put(server, upload_id, 7, b"the end")
    copied = server.uploads.copy_part(ARCHIVE.key, upload_id, 3, source, 100, 6 * MIB)
    first = put(server, upload_id, 1, noise(5 * MIB, seed=1))
    complete(server, upload_id, [first, copied, last])

    expected = noise(5 * MIB, seed=1) + large[100 : 6 * MIB] + b"the end"
    assert copied.crc32 == zlib.crc32(large[100 : 6 * MIB])
    assert server.content(ARCHIVE.key) == expected
    found = server.uploads.find_archive(ARCHIVE.key)
    assert found is not None
    assert (found.size, found.crc32, found.metadata) == (len(expected), zlib.crc32(expected), ARCHIVE.metadata)
    assert server.uploads.uploads_of(ARCHIVE.key) == []
    assert (server.traffic.uploads, server.traffic.copies) == (2, 1)
    assert (server.traffic.bytes_uploaded, server.traffic.bytes_copied) == (5 * MIB + 7, 6 * MIB - 100)


def test_a_small_archive_is_put_once(server: Server) -> None:
    stored = server.uploads.put(ARCHIVE, b"zip", crc32=zlib.crc32(b"zip"))

    with pytest.raises(ArchiveExists):
        server.uploads.put(ARCHIVE, b"other", crc32=zlib.crc32(b"other"))

    assert server.content(ARCHIVE.key) == b"zip"
    found = server.uploads.find_archive(ARCHIVE.key)
    assert found == stored


def test_an_archive_that_may_overwrite_does(server: Server) -> None:
    overwriting = replace(ARCHIVE, overwrite=True)
    server.uploads.put(ARCHIVE, b"first", crc32=zlib.crc32(b"first"))

    server.uploads.put(overwriting, b"second", crc32=zlib.crc32(b"second"))
    assert server.content(ARCHIVE.key) == b"second"

    upload_id = server.uploads.create(overwriting)
    part = put(server, upload_id, 1, b"third")
    server.uploads.complete(overwriting, upload_id, [part], crc32=zlib.crc32(b"third"), size=5)
    assert server.content(ARCHIVE.key) == b"third"


def test_the_last_parts_of_an_upload_are_listed_alone(server: Server) -> None:
    upload_id = server.uploads.create(ARCHIVE)
    for number in (1, 2, 9_999, 10_000):
        put(server, upload_id, number, b"x")

    assert list(server.uploads.parts_of(ARCHIVE.key, upload_id)) == [1, 2, 9_999, 10_000]
    assert list(server.uploads.parts_of(ARCHIVE.key, upload_id, after=9_998)) == [9_999, 10_000]


def test_nothing_is_found_where_nothing_is(server: Server) -> None:
    assert server.uploads.find_archive(ARCHIVE.key) is None
    assert server.uploads.uploads_of(ARCHIVE.key) == []


def test_unfinished_uploads_show_their_parts(server: Server) -> None:
    first, second = server.uploads.create(ARCHIVE), server.uploads.create(ARCHIVE)
    part = put(server, first, 2, b"abc")
    put(server, first, 10_000, b"mark")

    assert set(server.uploads.uploads_of(ARCHIVE.key)) == {first, second}
    assert server.uploads.uploads_of(ARCHIVE.key[:-1]) == []
    parts = server.uploads.parts_of(ARCHIVE.key, first)
    assert list(parts) == [2, 10_000]
    assert parts[2] == part
    assert server.uploads.parts_of(ARCHIVE.key, second) == {}


def test_a_part_can_be_put_again(server: Server) -> None:
    upload_id = server.uploads.create(ARCHIVE)
    put(server, upload_id, 1, b"wrong")
    part = put(server, upload_id, 1, b"right")

    complete(server, upload_id, [part])

    assert server.content(ARCHIVE.key) == b"right"


def test_unlisted_parts_are_dropped(server: Server) -> None:
    upload_id = server.uploads.create(ARCHIVE)
    put(server, upload_id, 10_000, b"mark")

    complete(server, upload_id, [put(server, upload_id, 1, b"all")])

    assert server.content(ARCHIVE.key) == b"all"


def test_an_aborted_upload_is_gone(server: Server) -> None:
    upload_id = server.uploads.create(ARCHIVE)
    part = put(server, upload_id, 1, b"abc")
    server.put("large", noise(6 * MIB))
    source = server.objects.head(Location(server.bucket, "large"))

    server.uploads.abort(ARCHIVE.key, upload_id)
    server.uploads.abort(ARCHIVE.key, upload_id)

    with pytest.raises(UploadGone):
        put(server, upload_id, 1, b"abc")
    with pytest.raises(UploadGone):
        server.uploads.copy_part(ARCHIVE.key, upload_id, 1, source, 0, 5 * MIB)
    with pytest.raises(UploadGone):
        server.uploads.parts_of(ARCHIVE.key, upload_id)
    with pytest.raises(UploadGone):
        complete(server, upload_id, [part])


def test_the_second_to_complete_finds_the_first(server: Server) -> None:
    first, second = server.uploads.create(ARCHIVE), server.uploads.create(ARCHIVE)
    late = put(server, second, 1, b"second")
    complete(server, first, [put(server, first, 1, b"first")])

    with pytest.raises(ArchiveExists):
        complete(server, second, [late])

    assert server.content(ARCHIVE.key) == b"first"
    assert server.uploads.uploads_of(ARCHIVE.key) == [second], "to be aborted by whoever lost"


@pytest.mark.parametrize("wrong", ["crc32", "size", "short part", "unknown part"])
def test_an_archive_that_was_not_planned_is_refused(server: Server, wrong: str) -> None:
    upload_id = server.uploads.create(ARCHIVE)
    parts = [
        put(server, upload_id, 1, b"abc" if wrong == "short part" else noise(5 * MIB)),
        put(server, upload_id, 2, b"end"),
    ]
    crc32 = crc32_of_parts((part.crc32 or 0, part.size) for part in parts)
    size = sum(part.size for part in parts)
    if wrong == "unknown part":
        parts[1] = UploadedPart(3, parts[1].etag, 3, parts[1].crc32)

    with pytest.raises(ArchiveRefused):
        server.uploads.complete(
            ARCHIVE, upload_id, parts, crc32=crc32 ^ (wrong == "crc32"), size=size + (wrong == "size")
        )

    assert server.uploads.find_archive(ARCHIVE.key) is None


def test_a_changed_source_is_not_copied(server: Server) -> None:
    server.put("large", noise(6 * MIB))
    source = server.objects.head(Location(server.bucket, "large"))
    server.put("large", noise(6 * MIB, seed=1))
    upload_id = server.uploads.create(ARCHIVE)

    with pytest.raises(SourceChanged):
        server.uploads.copy_part(ARCHIVE.key, upload_id, 1, source, 0, 5 * MIB)


def test_a_vanished_source_is_not_copied(server: Server) -> None:
    server.put("large", noise(6 * MIB))
    source = server.objects.head(Location(server.bucket, "large"))
    server.delete("large")
    upload_id = server.uploads.create(ARCHIVE)

    with pytest.raises(CopyRefused):
        server.uploads.copy_part(ARCHIVE.key, upload_id, 1, source, 0, 5 * MIB)


def test_a_version_is_copied_as_it_was(server: Server) -> None:
    before = noise(6 * MIB)
    version = server.put("dir/ü +?.bin", before, bucket=server.versioned)
    server.put("dir/ü +?.bin", noise(6 * MIB, seed=1), bucket=server.versioned)
    source = server.objects.head(Location(server.versioned, "dir/ü +?.bin", version))
    upload_id = server.uploads.create(ARCHIVE)

    complete(server, upload_id, [server.uploads.copy_part(ARCHIVE.key, upload_id, 1, source, 1, 6 * MIB)])

    assert server.content(ARCHIVE.key) == before[1:]


def test_a_key_is_copied_that_looks_like_something_else(server: Server) -> None:
    sources = {"%41": noise(6 * MIB), "a/../b c+d": noise(6 * MIB, seed=1), "ü?versionId=v&x#y": noise(6 * MIB, seed=2)}
    upload_id = server.uploads.create(ARCHIVE)
    parts = []
    for number, (key, content) in enumerate(sources.items(), 1):
        server.put(key, content)
        source = server.objects.head(Location(server.bucket, key))
        parts.append(server.uploads.copy_part(ARCHIVE.key, upload_id, number, source, 0, 6 * MIB))

    complete(server, upload_id, parts)

    assert server.content(ARCHIVE.key) == b"".join(sources.values())
