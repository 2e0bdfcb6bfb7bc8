"""Archives of what manifests list: what may stand in these, and what becomes of jobs whose manifests are bad."""

import gzip
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from archiver.archive import manifests as module
from archiver.archive.access import Access
from archiver.archive.files import FileList, RequestedFile
from archiver.archive.location import Location
from archiver.archive.patterns import Selection
from archiver.archive.pipeline import build_archive
from archiver.archive.request import parse_request
from archiver.archive.resolve import Limits
from archiver.errors import (
    ArchiverError,
    InvalidPayload,
    LimitExceeded,
    MissingSources,
    NoSuchBucket,
    SourceChanged,
    StorageUnavailable,
)
from tests.support.fake_s3 import MIB, Call, Checksum, FakeS3, flip
from tests.support.jobs import ARCHIVES, SOURCES, FakeNotifier, delivery, logged, noise, services, unzipped


@pytest.fixture
def s3() -> FakeS3:
    s3 = FakeS3()
    for name in "abc":
        s3.put_object(SOURCES, f"{name}.txt", name.encode())
    s3.put_object("others", "d e.txt", b"d")
    return s3


def listing(
    s3: FakeS3,
    *lines: object,
    key: str = "list.jsonl",
    pack: Callable[[bytes], bytes] = bytes,
    checksum: Checksum = "full",
) -> str:
    """A manifest of JSON Lines, and its key."""
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    s3.put_object(SOURCES, key, pack("\n".join(texts).encode()), checksum=checksum)
    return key


def build(s3: FakeS3, payload: dict[str, Any], *, attempt: int = 1, **changes: Any) -> dict[str, bytes]:
    key = build_archive(payload, delivery=delivery(attempt), services=services(s3, **changes)).key
    return unzipped(s3.content(ARCHIVES, key))


def test_what_a_manifest_lists_follows_the_payloads_own_files(s3: FakeS3) -> None:
    manifest = listing(s3, {"source": "a.txt", "destination": "x/"}, {"source": "s3://others/d e.txt"})

    entries = build(s3, {"files": [{"source": "c.txt"}], "manifest": f"s3://{SOURCES}/{manifest}"})

    assert list(entries.items()) == [("c.txt", b"c"), ("x/a.txt", b"a"), ("d e.txt", b"d")]


def test_several_manifests_of_several_formats(s3: FakeS3) -> None:
    s3.put_object(SOURCES, "one.csv", b"source\nb.txt\n")
    s3.put_object("others", "two", gzip.compress(b"others,d+e.txt\n"))
    three = listing(s3, {"source": "./", "include": ["a.*"]}, {"source": "a.txt"}, key="three")

    entries = build(s3, {"files": [], "manifest": ["one.csv", "s3://others/two", three], "on_missing": "skip"})

    assert list(entries) == ["b.txt", "d e.txt", "a.txt"]


def test_a_pinned_version_of_a_manifest(s3: FakeS3) -> None:
    s3.create_bucket("versions", versioned=True)
    old = s3.put_object("versions", "list", f"source\ns3://{SOURCES}/a.txt\n".encode()).version_id
    s3.put_object("versions", "list", f"source\ns3://{SOURCES}/b.txt\n".encode())

    assert list(build(s3, {"manifest": f"s3://versions/list?versionId={old}"})) == ["a.txt"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"source": ""}, "source: must not be empty, got ''"),
        ({"destination": "x"}, "source: required"),
        ({"source": "a", "destination": 7}, "destination: must be text, got 7"),
        ({"source": "s3://../x"}, "source: names no valid bucket ('..'), got 's3://../x'"),
        ({"source": "a.txt", "include": ["*"]}, "include: 'a.txt' is no prefix"),
        ({"source": "list.jsonl"}, "source: the manifest lists itself"),
        ("nonsense", "is not JSON: Expecting value"),
    ],
)
def test_a_bad_line_is_named_with_its_manifest_and_value(s3: FakeS3, line: object, complaint: str) -> None:
    manifest = listing(s3, {"source": "a.txt"}, "", line)

    with pytest.raises(InvalidPayload) as refused:
        build(s3, {"manifest": manifest})

    assert refused.value.message.startswith(f"manifest s3://{SOURCES}/list.jsonl, line 3: {complaint}")


def test_what_is_found_out_later_names_the_line_too(s3: FakeS3) -> None:
    guarded = Limits(10, 1 << 30, Access((SOURCES,)))
    manifest = listing(s3, {"source": "a.txt"}, {"source": "s3://others/d e.txt"})

    with pytest.raises(LimitExceeded) as refused:
        build(s3, {"files": [{"source": "b.txt"}], "manifest": manifest}, limits=guarded)

    assert refused.value.message.startswith(f"manifest s3://{SOURCES}/list.jsonl, line 2: source: bucket 'others'")


@pytest.mark.parametrize(
    ("payload", "error", "complaint"),
    [
        ({"manifest": "empty"}, InvalidPayload, f"manifest s3://{SOURCES}/empty: lists no file"),
        ({"manifest": "gone"}, MissingSources, f"the manifest s3://{SOURCES}/gone does not exist"),
        ({"manifest": "s3://no-such-bucket/m"}, NoSuchBucket, "no such bucket: 'no-such-bucket', which the manifest"),
        ({"manifest": "s3://private/m"}, LimitExceeded, "manifest s3://private/m: bucket 'private' is not in"),
        ({"manifest": "four"}, LimitExceeded, f"manifest s3://{SOURCES}/four, line 5: more files than MAX_FILES=3"),
        ({"manifest": ["two", "two"]}, LimitExceeded, f"manifest s3://{SOURCES}/two, line 3: more files than"),
        ({"manifest": "folder/"}, InvalidPayload, "manifest: is a prefix, and a manifest is one object, got 'folder/'"),
        ({"manifest": ["two", "s3://x"]}, InvalidPayload, "manifest[1]: names no valid bucket"),
        ({"manifest": []}, InvalidPayload, "manifest"),
        ({"manifest": 7}, InvalidPayload, "manifest"),
        ({"manifest": None}, InvalidPayload, "files: required"),
        ({"files": []}, InvalidPayload, "files: must not be empty"),
        ({"files": None, "manifest": ""}, InvalidPayload, "manifest"),
    ],
)
def test_a_manifest_that_can_not_be_used(
    s3: FakeS3, payload: dict[str, Any], error: type[ArchiverError], complaint: str
) -> None:
    s3.create_bucket("private")
    s3.put_object(SOURCES, "empty", b"\n")
    s3.put_object(SOURCES, "four", b"source\n" + b"a.txt\n" * 4)
    s3.put_object(SOURCES, "two", b"source\n" + b"a.txt\n" * 2)
    limits = Limits(3, 1 << 30, Access((SOURCES, "no-such-bucket")))

    with pytest.raises(error) as refused:
        build(s3, payload, limits=limits)

    assert refused.value.message.startswith(complaint)


def test_a_manifest_that_changes_while_it_is_read_is_read_anew(s3: FakeS3) -> None:
    manifest = listing(s3, {"source": "a.txt"})
    s3.before("read", lambda _: listing(s3, {"source": "b.txt"}), times=1, key=manifest)

    assert list(build(s3, {"manifest": manifest})) == ["b.txt"]


def test_a_manifest_that_changes_each_time_is_a_matter_for_later(s3: FakeS3) -> None:
    manifest = listing(s3, {"source": "a.txt"})
    versions = itertools.count()
    s3.before("read", lambda _: listing(s3, {"source": "b.txt", "n": next(versions)}), key=manifest)

    with pytest.raises(SourceChanged):
        build(s3, {"manifest": manifest})


#: More than is read at once, all of it names.
LONG = [{"source": "a.txt", "destination": f"{n}/{'x' * 900}.txt"} for n in range(9_500)]
#: As much in a few lines.
WIDE = [{"source": "a.txt", "destination": f"{n}.txt", "note": "x" * 9_000} for n in range(950)]
MANY = Limits(10_000, 1 << 40)


def corrupt(s3: FakeS3, manifest: str, *, piece: int = 0) -> None:
    """Have the first reading of a manifest bring other bytes, which break their line, in one of its two pieces."""
    right = s3.content(SOURCES, manifest)
    (stored,) = s3.buckets[SOURCES][manifest]
    at = piece * 8 * MIB
    middle = at + len(right[at : at + 8 * MIB]) // 2
    wrong = replace(stored, content=right[:middle] + b"\n{" + right[middle + 2 :])
    reads = itertools.count()

    def spoil(_: Call) -> None:
        s3.buckets[SOURCES][manifest][:] = [wrong if next(reads) <= piece else stored]

    s3.before("read", spoil, key=manifest)


@pytest.mark.parametrize("checksum", ["full", "composite", "none"])
@pytest.mark.parametrize("pack", [bytes, lambda content: gzip.compress(content, 0)])
@pytest.mark.parametrize("piece", [0, 1])
def test_a_bit_that_flips_in_a_long_manifest_is_read_again(
    s3: FakeS3, checksum: Checksum, pack: Callable[[bytes], bytes], piece: int
) -> None:
    # Given a manifest of several reads, one of which brings other bytes than S3 has: they break a line, or gzip
    manifest = listing(s3, *WIDE, pack=pack, checksum=checksum)
    assert len(s3.content(SOURCES, manifest)) > 8 * MIB
    corrupt(s3, manifest, piece=piece)

    with logged() as lines:
        entries = build(s3, {"manifest": manifest})

    assert len(entries) == len(WIDE)
    assert "manifest read again: bytes may not be what S3 has" in {line["event"] for line in lines}


@pytest.mark.parametrize("checksum", ["full", "composite"])
def test_a_flip_that_breaks_no_line_is_found_by_s3s_checksum(s3: FakeS3, checksum: Checksum) -> None:
    manifest = listing(s3, *LONG, checksum=checksum)
    s3.before("read", flip, skip=1, times=1, key=manifest)

    assert {name[-8:] for name in build(s3, {"manifest": manifest}, limits=MANY)} == {"xxxx.txt"}


def test_a_manifest_that_never_is_what_s3_says_is_a_matter_for_later(s3: FakeS3) -> None:
    manifest = listing(s3, *LONG)
    s3.before("read", flip, key=manifest)

    with pytest.raises(StorageUnavailable, match="S3 says"):
        build(s3, {"manifest": manifest}, limits=MANY)


@pytest.mark.parametrize("checksum", ["full", "composite", "none"])
@pytest.mark.parametrize("size", ["short", "long"])
def test_a_manifest_that_is_bad_is_bad_after_at_most_two_readings(s3: FakeS3, checksum: Checksum, size: str) -> None:
    manifest = listing(s3, "{bad", *(LONG if size == "long" else []), checksum=checksum)

    with pytest.raises(InvalidPayload, match="line 1"):
        build(s3, {"manifest": manifest}, limits=MANY)

    assert s3.calls["read"] <= 2


def test_of_a_manifest_beyond_all_limits_the_rest_is_not_read(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 8 * MIB)
    manifest = listing(s3, *LONG, *LONG)

    with pytest.raises(LimitExceeded):
        build(s3, {"manifest": manifest}, limits=Limits(10, 1 << 40))

    assert s3.calls["read"] == 2


def test_a_short_manifest_without_a_checksum_is_read_once_more(s3: FakeS3) -> None:
    manifest = listing(s3, {"source": "a.txt"}, checksum="none")
    corrupt(s3, manifest)

    assert list(build(s3, {"manifest": manifest})) == ["a.txt"]


class TestARedelivery:
    """The archive is finished; its consumer is told what is missing, by the manifest as it was."""

    PAYLOAD: ClassVar[dict[str, Any]] = {
        "files": [{"source": "gone-0"}],
        "manifest": "list.jsonl",
        "on_missing": "skip",
    }

    @pytest.fixture(autouse=True)
    def _finished(self, s3: FakeS3) -> None:
        listing(s3, {"source": "gone-1"}, {"source": "a.txt"}, {"source": "gone-2"})
        build(s3, self.PAYLOAD)

    def told(self, s3: FakeS3) -> list[str]:
        notifier = FakeNotifier()
        result = build_archive(self.PAYLOAD, delivery=delivery(2), services=services(s3, notifier=notifier))
        assert result.reused
        missing: list[str] = notifier.sent[0]["missing"]
        return missing

    def test_reads_the_manifest_again(self, s3: FakeS3) -> None:
        s3.put_object(SOURCES, "gone-1", b"not any more")

        assert self.told(s3) == ["gone-0", "gone-1", "gone-2"]

    def test_of_another_manifest_looks_anew(self, s3: FakeS3) -> None:
        listing(s3, {"source": "a.txt"}, {"source": "gone-3"})

        assert self.told(s3) == ["gone-0", "gone-3"]

    def test_of_a_bad_manifest_tells_what_it_knows(self, s3: FakeS3) -> None:
        listing(s3, "nonsense")

        with logged() as lines:
            assert self.told(s3) == ["gone-0", "entry 1 of the manifests", "entry 3 of the manifests"]
        assert [line["log_level"] for line in lines if "missing of the archive" in line["event"]] == ["warning"]


def test_a_job_with_a_manifest_is_resumed(s3: FakeS3) -> None:
    s3.put_object(SOURCES, "film.mp4", noise(12 * MIB))
    payload = {"manifest": listing(s3, {"source": "film.mp4"}, {"source": "a.txt"})}

    def kill(_: Call) -> None:
        raise RuntimeError("killed")

    s3.before("complete", kill, times=1)
    with pytest.raises(RuntimeError):
        build(s3, payload)
    s3.calls.clear()

    assert list(build(s3, payload, attempt=2)) == ["film.mp4", "a.txt"]
    assert s3.calls["create"] == 0


def test_unknown_keys_in_manifests_are_told_once(s3: FakeS3) -> None:
    manifest = listing(s3, {"source": "a.txt", "size": 1}, {"source": "b.txt", "size": 1})

    with logged() as lines:
        build(s3, {"manifest": manifest})

    assert [line["keys"] for line in lines if "unknown keys" in line["event"]] == [["size"]]


def test_many_files_are_what_they_were() -> None:
    files = [
        RequestedFile(Location("b", "a"), text="a"),
        RequestedFile(Location("b", "a"), "x/"),
        RequestedFile(Location("c", "a", "v1")),
        RequestedFile(Location("b", "p/"), None, Selection(("*",)), "S3://b/p/"),
    ]

    many = FileList(files)

    assert list(many) == files
    assert [file.source for file in many] == ["a", "s3://b/a", "s3://c/a?versionId=v1", "S3://b/p/"]
    assert (many[-1], list(many[1:3]), len(many)) == (files[-1], files[1:3], 4)
    with pytest.raises(IndexError):
        many[4]


@pytest.mark.parametrize("source", ["a", "s3://bucket/a", "S3://bucket/a", "s3://bucket/a?versionId=1"])
def test_a_source_is_told_as_it_was_written(source: str) -> None:
    request = parse_request({"files": [{"source": source}]}, max_files=1, default_bucket="bucket")

    assert request.files[0].source == source
