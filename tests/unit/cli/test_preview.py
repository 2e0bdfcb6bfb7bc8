"""The dry run promises what the build then does."""

from collections import Counter
from dataclasses import replace

import pytest

from archiver.archive.build import Options
from archiver.archive.pipeline import build_archive
from archiver.archive.plan import PlanError
from archiver.archive.request import parse_request
from archiver.cli.preview import Preview, described, preview
from archiver.cli.prices import US_EAST_1
from archiver.errors import LimitExceeded, MissingSources
from tests.support.fake_crew import FakeCrew
from tests.support.fake_s3 import MIB, FakeS3
from tests.support.jobs import ARCHIVES, OPTIONS, SOURCES, delivery, files, noise, services

#: S3's name of each call of the in-memory S3.
CALLS = {
    "create": "CreateMultipartUpload",
    "put_part": "UploadPart",
    "copy_part": "UploadPartCopy",
    "complete": "CompleteMultipartUpload",
    "put": "PutObject",
    "fetch_small": "GetObject",
    "read": "GetObject",
    "head": "HeadObject",
    "part_checksums": "GetObjectAttributes",
    "below": "ListObjectsV2",
    "page": "ListObjectsV2",
}
#: With one read at a time what a look finds, and so what the next one expects, does not depend on threads.
IN_TURN = replace(OPTIONS, read_concurrency=1)


@pytest.fixture
def s3() -> FakeS3:
    s3 = FakeS3()
    s3.put_object(SOURCES, "small.jpg", noise(30_000, 1))
    s3.put_object(SOURCES, "film.mp4", noise(21 * MIB, 2))
    s3.put_object(SOURCES, "parts.bin", noise(17 * MIB, 3), checksum="composite")
    s3.put_object(SOURCES, "other.bin", noise(16 * MIB, 4), checksum="none")
    s3.put_object(SOURCES, "below/a.csv", b"a,b\n" * 900)
    s3.put_object(SOURCES, "below/empty", b"")
    for number in range(40):
        s3.put_object(SOURCES, f"many/{number:02d}", noise(200_000, number))
    return s3


ALL = files("small.jpg", "film.mp4", "parts.bin", "other.bin", "below/")
#: So many that a listing is read.
MANY = files("film.mp4", *(f"many/{number:02d}" for number in range(40)))


def previewed(s3: FakeS3, payload: dict[str, object] = ALL, *, options: Options = IN_TURN) -> Preview:
    return preview(
        parse_request(payload, max_files=100, default_bucket="source-images"), services=services(s3, options=options)
    )


@pytest.mark.parametrize("payload", [ALL, MANY], ids=["few", "many"])
def test_the_build_does_what_the_dry_run_said(s3: FakeS3, payload: dict[str, object]) -> None:
    shown = previewed(s3, payload)
    s3.calls.clear()

    result = build_archive(payload, delivery=delivery(), services=services(s3, options=IN_TURN))

    assert (shown.size, len(shown.entries)) == (result.size, result.files)
    assert (shown.bytes_read, shown.bytes_copied) == (result.bytes_read, result.bytes_copied)
    done: Counter[str] = Counter()
    for call, name in CALLS.items():
        done[name] += s3.calls[call]
    assert shown.requests == dict(+done)


def test_the_dry_run_tells_the_pages_of_a_listing_however_many_are_read_at_a_time(s3: FakeS3) -> None:
    s3.page = 5

    shown = previewed(s3, files("many/"), options=OPTIONS)
    told, s3.calls["below"] = s3.calls["below"], 0
    build_archive(files("many/"), delivery=delivery(), services=services(s3, options=OPTIONS))

    assert shown.requests["ListObjectsV2"] == told == s3.calls["below"] >= 40 / 5


def test_the_build_of_a_small_archive_is_one_request_as_promised(s3: FakeS3) -> None:
    shown = previewed(s3, files("small.jpg"))

    result = build_archive(files("small.jpg"), delivery=delivery(), services=services(s3))

    assert shown.requests == {"GetObject": 1, "PutObject": 1}
    assert (shown.size, shown.bytes_read) == (result.size, result.bytes_read)


def test_a_dry_run_writes_nothing(s3: FakeS3) -> None:
    previewed(s3)

    assert not s3.unfinished()
    assert not s3.buckets.get(ARCHIVES)


def test_each_entry_says_where_its_checksum_comes_from(s3: FakeS3) -> None:
    origins = {entry.name: entry.crc32_from for entry in previewed(s3).entries}

    assert origins == {
        "small.jpg": "read",
        "film.mp4": "stored",
        "parts.bin": "parts",
        "other.bin": "copies",
        "a.csv": "read",
        "empty": "empty",
    }


def test_what_might_shrink_is_counted(s3: FakeS3) -> None:
    shown = previewed(s3, ALL | {"compression": "auto"})

    # Not film.mp4 and small.jpg, which are compressed, nor what is empty.
    assert shown.deflatable_files == 3
    assert shown.deflatable_bytes == 33 * MIB + 3600


def test_missing_sources_end_it_or_are_listed(s3: FakeS3) -> None:
    with pytest.raises(MissingSources):
        previewed(s3, files("small.jpg", "gone.jpg"))

    assert previewed(s3, files("small.jpg", "gone.jpg") | {"on_missing": "skip"}).missing == ("gone.jpg",)


def test_what_s3_cannot_hold_is_a_limit(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PlanError("larger than S3's largest object")

    monkeypatch.setattr("archiver.cli.preview.make_blueprint", refuse)

    with pytest.raises(LimitExceeded, match="largest object"):
        previewed(s3)


def test_the_other_way_is_the_plan_where_a_request_is_worth_another_amount(s3: FakeS3) -> None:
    copying, reading = (previewed(s3, options=replace(IN_TURN, write_worth=worth)) for worth in (0, 1 << 40))

    (read,), (copied,) = copying.alternatives, reading.alternatives
    assert (read.copies, copied.copies) == (False, True)
    assert (copying.bytes_copied > 0, reading.bytes_copied) == (True, 0)
    for other, chosen in ((read, reading), (copied, copying)):
        assert other.requests == chosen.requests
        assert (other.bytes_read, other.bytes_copied) == (chosen.bytes_read, chosen.bytes_copied)


@pytest.mark.parametrize("payload", [files("small.jpg"), files("below/")], ids=["one", "below"])
def test_where_nothing_can_be_copied_there_is_no_other_way(s3: FakeS3, payload: dict[str, object]) -> None:
    assert previewed(s3, payload).alternatives == ()


def test_a_way_that_s3_has_no_room_for_is_none(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PlanError("too many parts")

    monkeypatch.setattr("archiver.cli.alternatives.plan_parts", refuse)

    assert previewed(s3).alternatives == ()


def test_writes_cost_more_than_reads() -> None:
    assert US_EAST_1.cost({"UploadPartCopy": 500, "ListObjectsV2": 500}) == pytest.approx(0.005)
    assert US_EAST_1.cost({"GetObject": 400, "HeadObject": 600}) == pytest.approx(0.0004)
    assert "us-east-1" in str(US_EAST_1)


def test_a_missing_url_is_told_without_its_secret(s3: FakeS3) -> None:
    payload = files("small.jpg", "https://b.s3.amazonaws.com/a?X-Amz-Signature=5ecre7") | {"on_missing": "skip"}

    told = described(previewed(s3, payload))

    assert told["archive"]["missing"] == ["https://b.s3.amazonaws.com/a?X-Amz-Signature=REDACTED"]


def test_it_tells_whether_others_are_invited(s3: FakeS3) -> None:
    request = parse_request(ALL, max_files=100, default_bucket=SOURCES)

    assert preview(request, services=services(s3)).chunks is None
    assert preview(request, services=services(s3, crew=FakeCrew().crew(1 << 40))).chunks == 0
    shown = preview(request, services=services(s3, crew=FakeCrew().crew()))
    assert shown.chunks is not None
    assert shown.chunks > 1
    assert described(shown)["crew"] == {"chunks": shown.chunks}
