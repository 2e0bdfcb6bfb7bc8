"""Archives under keys that payloads chose, so that several requests may want the same one."""

import threading
from typing import Any

import pytest

from archiver.archive.destination import Destinations
from archiver.archive.pipeline import ArchiveResult, build_archive
from archiver.errors import KeyTaken, MissingSources
from tests.support.fake_s3 import MIB, Call, FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, FakeNotifier, delivery, files, noise, services, unzipped

KEY = "reports/june.zip"


class Killed(Exception):
    """The worker process died here."""


def kill(_: Call) -> None:
    raise Killed


@pytest.fixture
def s3() -> FakeS3:
    """Four sources: two large ones, of which an archive is uploaded in parts, and two others like them."""
    s3 = FakeS3()
    s3.create_bucket(SOURCES)
    for n in range(4):
        s3.put_object(SOURCES, f"photos/{n}.jpg", noise((11 + n) * MIB + n, seed=n))
    return s3


FIRST, SECOND = ("photos/0.jpg", "photos/1.jpg"), ("photos/2.jpg", "photos/3.jpg")


def build(
    s3: FakeS3,
    sources: tuple[str, ...] = FIRST,
    *,
    request_id: str = "request-1",
    attempt: int = 1,
    notifier: FakeNotifier | None = None,
    **archive: Any,
) -> ArchiveResult:
    payload = files(*sources) | {"archive": {"key": KEY} | archive}
    return build_archive(
        payload, delivery=delivery(attempt, request_id=request_id), services=services(s3, notifier=notifier)
    )


def names(s3: FakeS3, bucket: str = ARCHIVES) -> list[str]:
    return list(unzipped(s3.content(bucket, KEY)))


FIRST_NAMES, SECOND_NAMES = ["0.jpg", "1.jpg"], ["2.jpg", "3.jpg"]


def test_the_archive_has_the_key_the_tags_and_the_class(s3: FakeS3) -> None:
    notifier = FakeNotifier()

    result = build(s3, notifier=notifier, tags={"team": "a"}, storage_class="STANDARD_IA")

    stored = s3.buckets[ARCHIVES][KEY][-1]
    assert (result.key, result.bucket, names(s3)) == (KEY, ARCHIVES, FIRST_NAMES)
    assert (stored.tags, stored.storage_class) == ({"team": "a"}, "STANDARD_IA")
    assert notifier.sent[0]["archive"]["key"] == KEY
    assert s3.unfinished() == []


def test_another_bucket_and_a_shorter_link(s3: FakeS3) -> None:
    payload = files("photos/0.jpg") | {"archive": {"key": KEY, "bucket": "exports"}, "link_expires_seconds": 60}
    s3.create_bucket("exports")

    result = build_archive(
        payload, delivery=delivery(), services=services(s3, destinations=Destinations(ARCHIVES, buckets=("exports",)))
    )

    assert (result.bucket, names(s3, "exports")) == ("exports", ["0.jpg"])
    assert result.url == f"https://exports.example/{KEY}?X-Amz-Expires=60&X-Amz-Signature=secret"


def test_a_redelivery_finds_it(s3: FakeS3) -> None:
    first = build(s3)

    again = build(s3, attempt=2)

    assert (again.reused, again.etag) == (True, first.etag)


@pytest.mark.parametrize("sources", [FIRST, SECOND])
def test_another_request_for_the_key_fails_before_it_reads_anything(s3: FakeS3, sources: tuple[str, ...]) -> None:
    build(s3)
    s3.calls.clear()

    with pytest.raises(KeyTaken) as refused:
        build(s3, sources, request_id="request-2")

    assert refused.value.code == "archive_exists"
    assert refused.value.message.startswith(f"archive.key: s3://{ARCHIVES}/{KEY} exists")
    assert dict(s3.calls) == {"find_archive": 1}
    assert names(s3) == FIRST_NAMES


def test_an_object_that_is_no_archive_is_safe(s3: FakeS3) -> None:
    s3.put_object(ARCHIVES, KEY, b"precious")

    with pytest.raises(KeyTaken):
        build(s3)

    assert s3.content(ARCHIVES, KEY) == b"precious"


def test_overwrite_replaces_whatever_is_there(s3: FakeS3) -> None:
    s3.put_object(ARCHIVES, KEY, b"old")
    build(s3, overwrite=True)
    assert names(s3) == FIRST_NAMES

    again = build(s3, SECOND, request_id="request-2", overwrite=True)

    assert not again.reused
    assert names(s3) == SECOND_NAMES
    assert s3.unfinished() == []


def test_overwrite_with_an_equal_payload_looks_at_the_sources_anew(s3: FakeS3) -> None:
    build(s3, overwrite=True)
    s3.put_object(SOURCES, "photos/0.jpg", b"new")

    # An attempt after the first looks for its own archive, and this one is the request's before.
    build(s3, request_id="request-2", attempt=2, overwrite=True)

    assert unzipped(s3.content(ARCHIVES, KEY))["0.jpg"] == b"new"
    assert build(s3, request_id="request-2", attempt=3, overwrite=True).reused


def test_a_small_archive_overwrites_in_one_request(s3: FakeS3) -> None:
    s3.put_object(SOURCES, "small", b"x")
    build(s3)

    build(s3, ("small",), request_id="request-2", overwrite=True)

    assert names(s3) == ["small"]


def killed(s3: FakeS3, sources: tuple[str, ...] = FIRST, request_id: str = "request-1") -> str:
    """The upload that a killed job leaves."""
    before = set(s3.unfinished())
    s3.before("complete", kill, times=1)
    with pytest.raises(Killed):
        build(s3, sources, request_id=request_id)
    s3.heal()
    (left,) = set(s3.unfinished()) - before
    return left


def test_a_killed_job_goes_on_with_its_upload(s3: FakeS3) -> None:
    killed(s3)
    s3.calls.clear()

    result = build(s3, attempt=2)

    assert (s3.calls["create"], s3.calls["copy_part"]) == (0, 0)
    assert (result.reused, names(s3), s3.unfinished()) == (False, FIRST_NAMES, [])


@pytest.mark.parametrize("sources", [FIRST, SECOND])
def test_no_job_goes_on_with_anothers_upload_or_drops_it(s3: FakeS3, sources: tuple[str, ...]) -> None:
    # Given the upload of a job that may still run,
    others = killed(s3, sources, request_id="request-2")

    # when another is killed, resumed and done, be it of the same sources,
    killed(s3)
    build(s3, attempt=2)

    # then that upload is there still, and its job ends with the verdict.
    assert s3.unfinished() == [others]
    with pytest.raises(KeyTaken):
        build(s3, sources, request_id="request-2", attempt=2)
    assert names(s3) == FIRST_NAMES


def test_a_failing_job_drops_its_own_upload_alone(s3: FakeS3) -> None:
    others = killed(s3, SECOND, request_id="request-2")
    killed(s3)
    s3.delete_object(SOURCES, "photos/0.jpg")

    with pytest.raises(MissingSources):
        build(s3, attempt=2)

    assert s3.unfinished() == [others]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("moment", ["fetch_small", "create", "copy_part", "complete"])
@pytest.mark.parametrize("requests", [("request-1", "request-1"), ("request-1", "request-2")])
def test_two_at_once_are_never_mixed(s3: FakeS3, requests: tuple[str, str], moment: str, overwrite: bool) -> None:
    # Given two workers that meet at some moment: with one message, or with two for one key,
    barrier = threading.Barrier(2, timeout=30)
    s3.before(moment, lambda _: barrier.wait(), times=2)
    outcomes: list[ArchiveResult | Exception] = []
    same = requests[0] == requests[1]

    def work(attempt: int, request_id: str) -> None:
        try:
            sources = FIRST if same or attempt == 1 else SECOND
            outcomes.append(build(s3, sources, request_id=request_id, attempt=attempt, overwrite=overwrite))
        except Exception as error:
            outcomes.append(error)

    workers = [
        threading.Thread(target=work, args=(attempt, request_id)) for attempt, request_id in enumerate(requests, 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    # then one of them has the key, whole; of two requests the other fails, unless it may overwrite.
    kinds = sorted(type(outcome).__name__ for outcome in outcomes)
    assert kinds == (["ArchiveResult"] * 2 if same or overwrite else ["ArchiveResult", "KeyTaken"]), outcomes
    assert names(s3) in ([FIRST_NAMES] if same else [FIRST_NAMES, SECOND_NAMES])
    assert s3.unfinished() == []
    assert s3.violations == []
