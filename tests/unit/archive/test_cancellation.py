"""A job that is to end does so wherever it is: looking, deflating, copying, or waiting for what S3 does."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from archiver.archive import cancellation as module
from archiver.archive.cancellation import Cancellation
from archiver.archive.pipeline import ArchiveResult, build_archive
from archiver.errors import Cancelled
from tests.support.disturbances import Killed, kill, three_photos
from tests.support.fake_s3 import MIB, Call, FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, delivery, files, noise, services, text
from tests.support.waiting import LONG_ENOUGH, eventually


@pytest.fixture
def cancellation() -> Cancellation:
    return Cancellation()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def build(s3: FakeS3, cancellation: Cancellation, payload: dict[str, Any], *, attempt: int = 1) -> ArchiveResult:
    return build_archive(payload, delivery=delivery(attempt), services=services(s3), cancellation=cancellation)


def ask(s3: FakeS3, cancellation: Cancellation, operation: str, *, skip: int) -> None:
    s3.before(operation, lambda _: cancellation.ask(), skip=skip, times=1)


def left(s3: FakeS3) -> list[str]:
    return [*s3.unfinished(), *s3.buckets[ARCHIVES]]


def many(s3: FakeS3, count: int, size: int) -> dict[str, Any]:
    for number in range(count):
        s3.put_object(SOURCES, f"many/{number:03}.csv", text(size)[number:])
    return files(*(f"many/{number:03}.csv" for number in range(count)))


def test_while_it_looks(s3: FakeS3, cancellation: Cancellation) -> None:
    payload = many(s3, 31, 100)  # too few for a listing
    ask(s3, cancellation, "fetch_small", skip=10)

    with pytest.raises(Cancelled, match="while it ran"):
        build(s3, cancellation, payload)

    assert s3.calls["fetch_small"] <= 10 + 4
    assert left(s3) == []


def test_while_it_lists(s3: FakeS3, cancellation: Cancellation) -> None:
    many(s3, 20, 100)
    ask(s3, cancellation, "below", skip=0)

    with pytest.raises(Cancelled):
        build(s3, cancellation, files("many/"))

    assert set(s3.calls) == {"below"}


def test_while_it_reads_a_manifest(s3: FakeS3, cancellation: Cancellation) -> None:
    s3.put_object(SOURCES, "list", b'{"source":"a","note":"%s"}\n' % (b"x" * 60_000) * 400)
    ask(s3, cancellation, "read", skip=0)

    with pytest.raises(Cancelled):
        build(s3, cancellation, {"manifest": "list"})

    assert s3.calls["read"] == 1


def test_while_it_deflates(s3: FakeS3, cancellation: Cancellation) -> None:
    s3.put_object(SOURCES, "large.csv", noise(20 * MIB).hex().encode())
    ask(s3, cancellation, "read", skip=5)

    with pytest.raises(Cancelled):
        build(s3, cancellation, files("large.csv") | {"compression": "auto"})

    assert s3.calls["read"] <= 6 + 4
    assert s3.calls["put_part"] >= 1
    assert left(s3) == []


@pytest.mark.parametrize(("operation", "skip"), [("read", 1), ("copy_part", 0), ("put_part", 1)])
def test_while_it_reads_and_copies(s3: FakeS3, cancellation: Cancellation, operation: str, skip: int) -> None:
    for number in range(20):
        s3.put_object(SOURCES, f"{number}.jpg", noise(11 * MIB, seed=number), checksum="none")
    before: Counter[str] = Counter()

    def note_and_ask(_: Call) -> None:
        before.update(s3.calls)
        cancellation.ask()

    s3.before(operation, note_and_ask, skip=skip, times=1)

    with pytest.raises(Cancelled):
        build(s3, cancellation, files(*(f"{number}.jpg" for number in range(20))))

    # What was under way goes on to its end: four copies, three parts.
    assert s3.calls["copy_part"] <= before["copy_part"] + 4
    assert s3.calls["put_part"] <= before["put_part"] + 3
    assert left(s3) == []


@pytest.mark.parametrize(
    ("slow", "compression"),
    [("copy_part", "stored"), ("put_part", "stored"), ("read", "stored"), ("put_part", "auto")],
)
def test_while_it_waits_for_what_does_not_end(
    s3: FakeS3,
    cancellation: Cancellation,
    released: threading.Event,
    slow: str,
    compression: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.05)
    # given a job whose parts wait for requests that S3 does not answer
    contents = three_photos(s3, checksum="none")
    if compression == "auto":
        contents = {"large.csv": noise(30 * MIB).hex().encode()}
        s3.put_object(SOURCES, "large.csv", contents["large.csv"])
    reached = threading.Event()

    def hold(_: Call) -> None:
        reached.set()
        assert released.wait(LONG_ENOUGH)

    s3.before(slow, hold, skip=1 if slow == "put_part" else 0)
    outcomes: list[Exception] = []

    def work() -> None:
        try:
            build(s3, cancellation, files(*contents) | {"compression": compression})
        except Exception as error:
            outcomes.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    assert reached.wait(LONG_ENOUGH)
    # when it is cancelled
    cancellation.ask()
    worker.join(LONG_ENOUGH)
    # then it does not wait for them
    assert [type(outcome) for outcome in outcomes] == [Cancelled]
    assert not released.is_set()
    assert left(s3) == []
    # and whatever they still do leaves nothing
    released.set()
    assert eventually(
        lambda: all(not thread.name.startswith(("copy", "literal", "part", "read")) for thread in threading.enumerate())
    )
    assert left(s3) == []


def test_a_part_that_lands_after_all_is_aborted_again(
    s3: FakeS3, cancellation: Cancellation, released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 may keep a part that was under way when its upload was aborted."""
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.05)
    contents = three_photos(s3)
    aborts = s3.calls
    reached = threading.Event()
    taken = s3.uploads

    def land(_: Call) -> None:
        # Of the server: the upload is there for this request, though it has been aborted.
        kept = dict(taken)
        reached.set()
        assert released.wait(LONG_ENOUGH)
        taken.update(kept)

    s3.before("copy_part", land, times=1)

    def work() -> None:
        with pytest.raises(Cancelled):
            build(s3, cancellation, files(*contents))

    worker = threading.Thread(target=work)
    worker.start()
    assert reached.wait(LONG_ENOUGH)
    cancellation.ask()
    worker.join(LONG_ENOUGH)
    assert aborts["abort"] >= 1

    released.set()

    assert eventually(lambda: aborts["abort"] >= 2)
    assert eventually(lambda: left(s3) == [])


def test_what_an_earlier_attempt_has_left_goes_too(s3: FakeS3, cancellation: Cancellation) -> None:
    contents = three_photos(s3)
    s3.before("put_part", kill, skip=2, times=1)
    with pytest.raises(Killed):
        build(s3, Cancellation(), files(*contents))
    assert s3.unfinished()
    cancellation.ask()

    with pytest.raises(Cancelled):
        build(s3, cancellation, files(*contents), attempt=2)

    assert left(s3) == []


def test_at_the_completion_it_is_too_late(s3: FakeS3, cancellation: Cancellation) -> None:
    contents = three_photos(s3)
    ask(s3, cancellation, "complete", skip=0)

    assert build(s3, cancellation, files(*contents)).files == 3


def test_who_listens_late_hears_it_too(cancellation: Cancellation) -> None:
    heard: list[str] = []
    with cancellation.heard_by(lambda: heard.append("early")):
        cancellation.ask()
    with cancellation.heard_by(lambda: heard.append("late")):
        pass
    cancellation.ask()
    assert heard == ["early", "late"]
