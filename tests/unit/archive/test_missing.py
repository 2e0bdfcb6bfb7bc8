"""MISSING.txt: the archive's own list of what is not in it."""

import itertools
from typing import Any, Literal

import pytest

from archiver.archive.pipeline import build_archive
from archiver.archive.resolve import Limits
from archiver.errors import MissingSources
from tests.support.fake_s3 import MIB, Call, FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, FakeNotifier, delivery, files, noise, services, unzipped


class Killed(Exception):
    """The worker process died here."""


def listing(*sources: str, **more: Any) -> dict[str, Any]:
    return files(*sources) | {"on_missing": "list"} | more


def built(s3: FakeS3, payload: dict[str, Any], **changes: Any) -> dict[str, bytes]:
    key = build_archive(payload, delivery=delivery(), services=services(s3, **changes)).key
    return unzipped(s3.content(ARCHIVES, key))


@pytest.fixture
def s3() -> FakeS3:
    s3 = FakeS3()
    s3.put_object(SOURCES, "there.txt", b"here")
    return s3


def test_it_is_the_last_entry_and_counts(s3: FakeS3) -> None:
    notifier = FakeNotifier()
    gone = "gone/ü\n1.jpg"

    entries = built(s3, listing("nowhere/", gone, "there.txt"), notifier=notifier)

    assert list(entries) == ["there.txt", "MISSING.txt"]
    assert entries["MISSING.txt"].decode() == "nowhere/\ngone/ü 1.jpg\n"
    assert (notifier.sent[0]["archive"]["files"], notifier.sent[0]["missing"]) == (2, ["nowhere/", gone])


def test_without_missing_sources_there_is_none(s3: FakeS3) -> None:
    assert list(built(s3, listing("there.txt"))) == ["there.txt"]


def test_with_nothing_else_there_is_no_archive(s3: FakeS3) -> None:
    with pytest.raises(MissingSources):
        built(s3, listing("gone"))


def test_a_source_of_its_name_keeps_it(s3: FakeS3) -> None:
    s3.put_object(SOURCES, "missing.TXT", b"mine")

    assert built(s3, listing("gone", "missing.TXT")) == {"missing.TXT": b"mine", "MISSING (1).txt": b"gone\n"}


@pytest.mark.parametrize("compression", ["stored", "auto"])
def test_one_that_is_larger_than_parts_are(s3: FakeS3, compression: Literal["stored", "auto"]) -> None:
    # Given a list of many mebibytes, which S3 has nowhere to copy from, behind an object that it copies
    s3.put_object(SOURCES, "film", noise(12 * MIB))
    names = [f"gone/{'x' * 1000}/{n:06}" for n in range(11_000)]

    entries = built(
        s3,
        listing("film", *names, compression=compression),
        limits=Limits(max_files=30_000, max_archive_bytes=1 << 30),
    )

    assert entries["MISSING.txt"].decode().splitlines() == names
    assert s3.violations == []


def test_a_killed_job_is_resumed_with_it(s3: FakeS3) -> None:
    s3.put_object(SOURCES, "film", noise(12 * MIB))
    payload = listing("film", "gone")
    killing = itertools.chain([True], itertools.repeat(False))

    def kill(_: Call) -> None:
        if next(killing):
            raise Killed

    s3.before("complete", kill)
    with pytest.raises(Killed):
        build_archive(payload, delivery=delivery(), services=services(s3))
    s3.calls.clear()

    key = build_archive(payload, delivery=delivery(attempt=2), services=services(s3)).key

    assert s3.calls["create"] == 0
    assert unzipped(s3.content(ARCHIVES, key))["MISSING.txt"] == b"gone\n"
