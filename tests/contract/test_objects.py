"""Reading sources: what the engine counts on, on the in-memory S3 as on a real server."""

import zlib
from collections.abc import Callable

import pytest

from archiver.archive.location import Location
from archiver.archive.storage import ArchiveObject, BucketMissing, Read, SourceMissing, SourceObject, SourceStore
from archiver.errors import SourceArchived, SourceChanged
from archiver.zipformat.crc import crc32_of_parts
from tests.contract.conftest import Server
from tests.support.fake_s3 import MIB, Checksum
from tests.support.jobs import noise

LIMIT = 64 * 1024


def test_a_look_tells_size_and_crc32(server: Server) -> None:
    server.put("a b/ü?+.txt", b"hello")

    seen = server.objects.head(Location(server.bucket, "a b/ü?+.txt"))

    assert (seen.size, seen.crc32, seen.composite, seen.body) == (5, zlib.crc32(b"hello"), False, None)
    assert seen.modified > 1_600_000_000
    assert seen.etag.startswith('"')


def test_an_object_without_a_crc32_has_none(server: Server) -> None:
    server.put("a", b"hello", checksum="none")

    seen = server.objects.head(Location(server.bucket, "a"))

    assert (seen.crc32, seen.composite) == (None, False)


@pytest.mark.parametrize("key", ["nothing", "nothing?versionId=1"])
def test_a_missing_object_is_missing(server: Server, key: str) -> None:
    with pytest.raises(SourceMissing):
        server.objects.head(Location(server.bucket, key))
    with pytest.raises(SourceMissing):
        server.objects.fetch_small(Location(server.bucket, key), limit=LIMIT)


@pytest.mark.parametrize(
    "ask",
    [
        lambda objects, location: objects.head(location),
        lambda objects, location: objects.fetch_small(location, limit=LIMIT),
        lambda objects, location: list(objects.below(location)),
        lambda objects, location: objects.page(location, prefix=""),
    ],
    ids=["head", "fetch_small", "below", "page"],
)
def test_a_missing_bucket_is_no_missing_object(server: Server, ask: Callable[[SourceStore, Location], object]) -> None:
    with pytest.raises(BucketMissing) as error:
        ask(server.objects, Location("no-such-bucket-here", "a"))
    assert error.value.bucket == "no-such-bucket-here"


@pytest.mark.parametrize("size", [10, 6 * MIB])
def test_an_archived_object_can_be_listed_and_nothing_else(server: Server, size: int) -> None:
    server.put("old/a", noise(size), archived=True)
    location = Location(server.bucket, "old/a")

    (page,) = server.objects.below(Location(server.bucket, "old/"))
    (listed,) = page.objects
    assert listed.archived
    with pytest.raises(SourceArchived, match=r"s3://.*/old/a .*restored"):
        server.objects.head(location)
    with pytest.raises(SourceArchived, match=r"s3://.*/old/a .*restored"):
        server.objects.fetch_small(location, limit=LIMIT)
    with pytest.raises(SourceArchived, match=r"s3://.*/old/a .*restored"):
        read(server, listed, 0, size)
    if size > 5 * MIB:
        archive = ArchiveObject("archive.zip", {}, None)
        upload_id = server.uploads.create(archive)
        with pytest.raises(SourceArchived, match=r"s3://.*/old/a .*restored"):
            server.uploads.copy_part(archive.key, upload_id, 1, listed, 0, size)


@pytest.mark.parametrize(("checksum", "told"), [("full", True), ("composite", True), ("none", False)])
def test_a_small_object_comes_with_the_look_and_what_s3_says_of_it(
    server: Server, checksum: Checksum, told: bool
) -> None:
    content = noise(LIMIT)
    server.put("a", content, checksum=checksum)

    seen = server.objects.fetch_small(Location(server.bucket, "a"), limit=LIMIT)

    assert (seen.size, seen.body) == (LIMIT, content)
    assert seen.crc32 == (zlib.crc32(content) if told else None)
    assert server.traffic.bytes_read == LIMIT


@pytest.mark.parametrize("size", [0, LIMIT + 1])
def test_an_empty_or_larger_object_comes_without(server: Server, size: int) -> None:
    server.put("a", noise(size))

    seen = server.objects.fetch_small(Location(server.bucket, "a"), limit=LIMIT)

    assert (seen.size, seen.body, seen.crc32) == (size, None, zlib.crc32(noise(size)))
    assert server.traffic.bytes_read == 0


def test_a_version_is_what_it_was(server: Server) -> None:
    first = server.put("a", b"first", bucket=server.versioned)
    server.put("a", b"the second", bucket=server.versioned)
    assert first

    pinned = server.objects.head(Location(server.versioned, "a", first))
    latest = server.objects.head(Location(server.versioned, "a"))

    assert (pinned.size, latest.size) == (5, 10)
    assert read(server, pinned, 0, 5) == b"first"


def test_below_a_prefix_comes_in_order(server: Server) -> None:
    for key in ("p/b", "p/a/z", "p/", "p", "pp/x", "p/ü", "p/Z"):
        server.put(key, key.encode())

    (page,) = server.objects.below(Location(server.bucket, "p/"))

    found = page.objects
    assert not page.more

    assert [item.key for item in found] == ["p/", "p/Z", "p/a/z", "p/b", "p/ü"]
    assert [item.size for item in found] == [2, 3, 5, 3, 4]
    assert found[3].etag == server.objects.head(Location(server.bucket, "p/b")).etag
    (nothing,) = server.objects.below(Location(server.bucket, "nothing/"))
    assert (list(nothing.objects), nothing.more) == ([], False)


def test_below_a_prefix_comes_what_lies_behind_a_key(server: Server) -> None:
    # In ASCII, as below.
    for key in ("p/a", "p/b", "p/b/c", "p/c", "q"):
        server.put(key, key.encode())

    for after, expected in {"p/b": ["p/b/c", "p/c"], "p/aa": ["p/b", "p/b/c", "p/c"], "p/d": [], "a": None}.items():
        (page,) = server.objects.below(Location(server.bucket, "p/"), after=after)
        assert [item.key for item in page.objects] == (["p/a", "p/b", "p/b/c", "p/c"] if expected is None else expected)


def test_a_page_begins_behind_a_key(server: Server) -> None:
    # In ASCII: LocalStack compares keys percent-encoded. What a page lacks is looked at on its own.
    for key in ("page/a", "page/b", "page/b/c", "page/Z", "pageant"):
        server.put(key, key.encode())

    page = server.objects.page(Location(server.bucket, "page/a"), prefix="page")

    assert [item.key for item in page] == ["page/b", "page/b/c", "pageant"]
    assert [item.size for item in page] == [6, 8, 7]
    seen = server.objects.head(Location(server.bucket, "page/b"))
    assert (page[0].etag, page[0].modified) == (seen.etag, seen.modified)
    assert server.objects.page(Location(server.bucket, "page/a"), prefix="page/a") == []


def test_parts_of_a_composite_object_tell_their_crc32s(server: Server) -> None:
    content = noise(11 * MIB)
    server.put("a", content, checksum="composite")

    seen = server.objects.head(Location(server.bucket, "a"))
    parts = server.objects.part_checksums(seen)

    assert (seen.composite, seen.crc32) == (True, None)
    assert parts is not None
    assert [size for _, size in parts] == [5 * MIB, 5 * MIB, MIB]
    assert crc32_of_parts(parts) == zlib.crc32(content)


def test_no_parts_are_told_of_other_objects(server: Server) -> None:
    server.put("whole", b"hello")
    server.put("changed", noise(6 * MIB), checksum="composite")
    whole = server.objects.head(Location(server.bucket, "whole"))
    changed = server.objects.head(Location(server.bucket, "changed"))
    server.put("changed", noise(6 * MIB, seed=1), checksum="composite")

    assert server.objects.part_checksums(whole) is None
    assert server.objects.part_checksums(changed) is None


def test_ranges_are_read_where_they_are(server: Server) -> None:
    content = noise(3 * MIB)
    server.put("a", content)
    seen = server.objects.head(Location(server.bucket, "a"))

    assert read(server, seen, 1_000, 2_500_000) == content[1_000:2_500_000]
    assert server.objects.crc32(seen, 7, 2 * MIB) == zlib.crc32(content[7 : 2 * MIB])
    assert server.traffic.bytes_read == 2_499_000 + 2 * MIB - 7


@pytest.mark.parametrize(
    ("checksum", "size", "told"),
    [("full", MIB, True), ("full", 6 * MIB, True), ("composite", MIB, True), ("composite", 6 * MIB, False),
     ("none", MIB, False)],
)  # fmt: skip
def test_of_all_of_an_object_s3_tells_the_crc32_and_of_a_range_it_does_not(
    server: Server, checksum: Checksum, size: int, told: bool
) -> None:
    """A COMPOSITE checksum tells that of a single part."""
    content = noise(size)
    server.put("a", content, checksum=checksum)
    seen = server.objects.head(Location(server.bucket, "a"))
    target = bytearray(size)

    (whole,) = server.objects.read_all([Read(seen, 0, memoryview(target))])
    (part,) = server.objects.read_all([Read(seen, 1, memoryview(target)[1:])])

    assert target == content
    assert (whole, part) == (zlib.crc32(content) if told else None, None)
    assert (seen.crc32, seen.composite) == (whole, checksum == "composite")


def test_a_changed_object_is_not_read(server: Server) -> None:
    server.put("a", b"before")
    seen = server.objects.head(Location(server.bucket, "a"))
    server.put("a", b"after!")

    with pytest.raises(SourceChanged):
        read(server, seen, 0, 6)
    with pytest.raises(SourceChanged):
        server.objects.crc32(seen, 0, 6)


def test_a_vanished_object_has_changed(server: Server) -> None:
    server.put("a", b"before")
    seen = server.objects.head(Location(server.bucket, "a"))
    server.delete("a")

    with pytest.raises(SourceChanged):
        read(server, seen, 0, 6)


def read(server: Server, source: SourceObject, start: int, stop: int) -> bytes:
    target = bytearray(stop - start)
    server.objects.read_all([Read(source, start, memoryview(target))])
    return bytes(target)


@pytest.mark.parametrize(
    "key",
    [
        "a b+c%20d?e=f&g.txt",
        "漢字/😀 é.bin",
        "/leading",
        "double//slash",
        "dot/./segment/../up",
        "tilde~(1)!*'@:,;=$.txt",
        "#hash",
        "100%",
        "trailing space ",
    ],
)
def test_any_key_is_found_and_read(server: Server, key: str) -> None:
    # given an object under a key that URLs need care for
    server.put(key, b"content")
    # when it is looked at, with and without its content, and read
    seen = server.objects.head(Location(server.bucket, key))
    fetched = server.objects.fetch_small(Location(server.bucket, key), limit=100)
    body = bytearray(4)
    server.objects.read_all([Read(seen, 3, memoryview(body))])
    # then it is that object
    assert (seen.key, seen.size, seen.crc32) == (key, 7, zlib.crc32(b"content"))
    assert fetched.body == b"content"
    assert body == b"tent"
