"""Several archives in place of one: where they are cut, and what becomes of jobs that are disturbed half-way."""

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.archive.key import is_archive_key
from archiver.archive.notification import NOTIFICATION
from archiver.archive.pipeline import ArchiveResult, build_archive
from archiver.archive.portions import Portion, portions
from archiver.archive.request import parse_request
from archiver.archive.resolve import Resolution
from archiver.archive.split import MAX_ARCHIVES, SplitSpec, numbered
from archiver.archive.storage import SourceObject
from archiver.errors import InvalidPayload, KeyTaken, LimitExceeded, MissingSources
from archiver.zipformat.entry import Entry
from archiver.zipformat.layout import Layout
from tests.support.fake_s3 import MIB, Call, FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, FakeNotifier, delivery, files, noise, services, text, unzipped

GIB = 1024 * MIB


def resolution(sizes: list[int]) -> Resolution:
    names = [f"{n:04}/ü.bin" for n in range(len(sizes))]
    sources = [SourceObject("b", name, size, "e", 0) for name, size in zip(names, sizes, strict=True)]
    return Resolution(names, sources, ())


def size(found: Resolution) -> int:
    entries = [Entry(name, source.size, 0) for name, source in zip(found.names, found.sources, strict=True)]
    return Layout(entries).size


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 30_000, 64 * 1024, MIB, 4 * GIB - 1, 5 * GIB]), min_size=1, max_size=60),
    st.sampled_from([64 * 1024, 100_000, 3 * MIB, 4 * GIB, 9 * GIB, None]),
    st.sampled_from([1, 3, 7, None]),
)
def test_bounds_hold_and_no_archive_is_needlessly_small(
    sizes: list[int], max_bytes: int | None, max_files: int | None
) -> None:
    whole = resolution(sizes)

    found = portions(whole, SplitSpec(max_bytes=max_bytes, max_files=max_files), deflated=False)

    # All entries are there, once and in order,
    assert [portion.number for portion in found] == list(range(1, len(found) + 1))
    assert [name for portion in found for name in portion.of(whole).names] == whole.names
    for portion, after in zip(found, [*found[1:], None], strict=True):
        one = portion.of(whole)
        # no archive goes beyond a bound but for one entry,
        assert max_files is None or len(one.names) <= max_files
        assert max_bytes is None or size(one) <= max_bytes or len(one.names) == 1
        # and none could have taken the next one's first entry.
        if after is not None:
            more = Portion(0, portion.start, after.start + 1).of(whole)
            assert (max_files is not None and len(more.names) > max_files) or (
                max_bytes is not None and size(more) > max_bytes
            )


def test_there_is_an_end_to_archives() -> None:
    portions(resolution([1] * MAX_ARCHIVES), SplitSpec(max_files=1), deflated=False)
    with pytest.raises(LimitExceeded, match=r"split: more than 100 archives, got \{'max_files': 1\}"):
        portions(resolution([1] * (MAX_ARCHIVES + 1)), SplitSpec(max_files=1), deflated=False)


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("a.zip", "a-2.zip"),
        ("x.y/a", "x.y/a-2"),
        ("a.tar.zip", "a.tar-2.zip"),
        ("d/.zip", "d/.zip-2"),
        ("ü.ZIP", "ü-2.ZIP"),
    ],
)
def test_the_number_goes_before_the_extension(name: str, second: str) -> None:
    assert numbered(name, 2) == second


@pytest.fixture
def s3() -> FakeS3:
    """Three sources that make an upload in parts each, and three small ones."""
    s3 = FakeS3()
    for n in range(3):
        s3.put_object(SOURCES, f"{n}-small", b"%d" % n)
        s3.put_object(SOURCES, f"{n}-film", noise((12 + n) * MIB, seed=n))
    return s3


ALL = [f"{n}-{kind}" for n in range(3) for kind in ("small", "film")]
SPLIT = files(*ALL) | {"split": {"max_files": 2}}
WHOLE = [ALL[:2], ALL[2:4], ALL[4:]]


def built(s3: FakeS3, payload: dict[str, Any] = SPLIT, *, attempt: int = 1, **changes: Any) -> ArchiveResult:
    return build_archive(payload, delivery=delivery(attempt), services=services(s3, **changes))


def contents(s3: FakeS3, result: ArchiveResult) -> list[list[str]]:
    return [list(unzipped(s3.content(ARCHIVES, one.key))) for one in result.archives]


def test_all_archives_are_told_in_one_notification(s3: FakeS3) -> None:
    notifier = FakeNotifier()

    result = built(s3, SPLIT | {"filename": "films.zip"}, notifier=notifier)

    (told,) = notifier.sent
    NOTIFICATION.validate_python(told)
    assert told["archive"] == told["archives"][0]
    assert [archive["files"] for archive in told["archives"]] == [2, 2, 2]
    keys = [archive["key"] for archive in told["archives"]]
    assert [key[-6:] for key in keys] == ["-1.zip", "-2.zip", "-3.zip"]
    assert all(is_archive_key(key) for key in keys)
    assert contents(s3, result) == WHOLE
    assert "films-2.zip" in str(s3.buckets[ARCHIVES][keys[1]][-1].content_disposition)
    assert result.summary()["archives"] == 3
    assert s3.unfinished() == []


def test_one_archive_is_numbered_too(s3: FakeS3) -> None:
    result = built(s3, files("0-small") | {"split": {"max_files": 9}})

    assert [one.key[-6:] for one in result.archives] == ["-1.zip"]


@pytest.mark.parametrize("compression", ["stored", "auto"])
def test_a_bound_in_bytes_is_the_archives_whole_size(s3: FakeS3, compression: str) -> None:
    for n in range(10):
        s3.put_object(SOURCES, f"texts/{n}.txt", text(150_000) if n % 2 else noise(150_000, seed=n))
    payload = files("texts/") | {"split": {"max_bytes": 400_000}, "compression": compression}

    result = built(s3, payload)

    assert len(result.archives) > 3
    assert all(len(s3.content(ARCHIVES, one.key)) == one.size <= 400_000 for one in result.archives)


def test_a_redelivery_finds_all(s3: FakeS3) -> None:
    first = built(s3)
    s3.calls.clear()

    again = built(s3, attempt=2)

    assert (again.reused, again.archives) == (True, first.archives)
    assert dict(s3.calls) == {"find_archive": 3}


class Killed(Exception):
    """The worker process died here."""


def kill(_: Call) -> None:
    raise Killed


def test_a_killed_job_skips_what_is_finished_and_goes_on_with_the_rest(s3: FakeS3) -> None:
    s3.before("complete", kill, skip=1)
    with pytest.raises(Killed):
        built(s3)
    s3.heal()
    s3.calls.clear()

    result = built(s3, attempt=2)

    # The first stands, the second's upload is resumed, the third is new.
    assert (s3.calls["create"], s3.calls["complete"]) == (1, 2)
    assert contents(s3, result) == WHOLE
    assert s3.unfinished() == []


def test_a_source_that_changes_between_the_archives_cuts_anew(s3: FakeS3) -> None:
    # Given a first archive that stands, when one of its sources changes before the next is built
    s3.before("complete", lambda _: s3.put_object(SOURCES, "2-film", b"short"), skip=1, times=1)
    s3.before("complete", lambda _: s3.put_object(SOURCES, "0-small", b"new"), skip=1, times=1)

    result = built(s3)

    # then all archives are of one look at the sources.
    assert contents(s3, result) == WHOLE
    assert unzipped(s3.content(ARCHIVES, result.archives[0].key))["0-small"] == b"new"
    assert unzipped(s3.content(ARCHIVES, result.archives[2].key))["2-film"] == b"short"


@pytest.mark.parametrize("moment", ["create", "copy_part", "complete"])
def test_two_workers_with_one_message_end_with_one_set(s3: FakeS3, moment: str) -> None:
    barrier = threading.Barrier(2, timeout=30)
    s3.before(moment, lambda _: barrier.wait(), times=2)
    outcomes: list[ArchiveResult | Exception] = []

    def work(attempt: int) -> None:
        try:
            outcomes.append(built(s3, attempt=attempt))
        except Exception as error:
            outcomes.append(error)

    workers = [threading.Thread(target=work, args=(attempt,)) for attempt in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [type(outcome) for outcome in outcomes] == [ArchiveResult, ArchiveResult], outcomes
    one, other = (outcome for outcome in outcomes if isinstance(outcome, ArchiveResult))
    assert one.archives == other.archives
    assert contents(s3, one) == WHOLE
    assert len(s3.buckets[ARCHIVES]) == 3
    assert s3.unfinished() == []


def test_a_named_key_is_numbered_and_taken_by_its_first(s3: FakeS3) -> None:
    named = SPLIT | {"archive": {"key": "films.zip"}}
    assert [one.key for one in built(s3, named).archives] == ["films-1.zip", "films-2.zip", "films-3.zip"]

    with pytest.raises(KeyTaken):
        build_archive(named, delivery=delivery(request_id="other"), services=services(s3))


def test_missing_sources_are_of_all_and_a_failure_leaves_no_upload(s3: FakeS3) -> None:
    payload = files(*ALL, "gone") | {"split": {"max_files": 3}, "on_missing": "list"}
    result = built(s3, payload)
    assert contents(s3, result) == [ALL[:3], ALL[3:], ["MISSING.txt"]]
    assert built(s3, payload, attempt=2).missing == ("gone",)

    s3.before("complete", kill, times=1)
    with pytest.raises(Killed):
        build_archive(SPLIT, delivery=delivery(request_id="other"), services=services(s3))
    s3.delete_object(SOURCES, "0-film")
    with pytest.raises(MissingSources):
        build_archive(SPLIT, delivery=delivery(2, request_id="other"), services=services(s3))
    assert s3.unfinished() == []


@pytest.mark.parametrize(
    ("more", "error", "complaint"),
    [
        ({"split": {}}, InvalidPayload, "split: neither max_bytes nor max_files"),
        ({"split": {"max_bytes": None, "max_files": None}}, InvalidPayload, "split: neither"),
        ({"split": {"max_files": 0}}, InvalidPayload, "split.max_files: "),
        ({"split": {"max_bytes": 65_535}}, InvalidPayload, "split.max_bytes: "),
        ({"split": 3}, InvalidPayload, "split: "),
        (
            {"split": {"max_files": 1}, "archive": {"key": "a", "overwrite": True}},
            InvalidPayload,
            "archive.overwrite: ",
        ),
        ({"split": {"max_files": 1}, "metadata": {"x": "x" * 262_144}}, LimitExceeded, "metadata: "),
    ],
)
def test_what_is_no_split_is_refused(more: dict[str, Any], error: type[Exception], complaint: str) -> None:
    with pytest.raises(error) as refused:
        parse_request(files("a") | more, max_files=1, default_bucket="b")

    assert str(refused.value).startswith(complaint)
