"""What an archive begins with is read while it is still being listed: once, in order, within bounds, and no failure."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from archiver.archive import read_ahead as module
from archiver.archive.cancellation import Cancellation
from archiver.archive.location import Location
from archiver.archive.pipeline import ArchiveResult, build_archive
from archiver.archive.read_ahead import ReadAhead
from archiver.archive.reading import read_verified
from archiver.archive.resolve import Limits
from archiver.archive.storage import ListedPage, OnRead, Read, SourceMissing, SourceObject, SourceStore
from archiver.archive.traffic import Traffic
from archiver.errors import ArchiverError, Cancelled, LimitExceeded, SourceAccessDenied, SourceChanged
from tests.support.fake_s3 import MIB, Call, FakeS3, flip
from tests.support.jobs import ARCHIVES, SOURCES, delivery, files, noise, services, unzipped
from tests.support.waiting import LONG_ENOUGH, eventually

KIB = 1024


class AtOnce(Executor):
    """Does what it is given while it is given it."""

    def submit(self, function: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*given, **named))
        return future


class Never(Executor):
    """Has no thread to begin anything."""

    def submit(self, function: Callable[..., Any], /, *_: Any, **__: Any) -> Future[Any]:
        del function
        return Future()


def ahead_of(s3: FakeS3, *, room: int = MIB, executor: Executor | None = None) -> ReadAhead:
    return ReadAhead(s3.objects(Traffic()), executor or AtOnce(), room=room)


def stored(s3: FakeS3, *sizes: int, archived: bool = False) -> list[SourceObject]:
    """Objects of these sizes as a listing shows them."""
    for number, size in enumerate(sizes):
        s3.put_object(SOURCES, f"p/{number:03}", noise(size, seed=number), archived=archived)
    (page,) = s3.objects(Traffic()).below(Location(SOURCES, "p/"))
    return list(page.objects)


def contents(ahead: ReadAhead, sources: list[SourceObject]) -> list[bytes]:
    """What a part gets of them."""
    targets = [bytearray(source.size) for source in sources]
    read_verified(ahead, [Read(source, 0, memoryview(to)) for source, to in zip(sources, targets, strict=True)])
    return [bytes(target) for target in targets]


def keys_read(s3: FakeS3) -> list[str]:
    """The keys that are read from now on."""
    keys: list[str] = []
    s3.before("read", lambda call: keys.append(call.key))
    return keys


class TestTheObjects:
    def test_are_read_once_and_handed_over_once(self, s3: FakeS3) -> None:
        sources = stored(s3, 100, 20 * KIB, 1)
        ahead = ahead_of(s3)

        assert ahead.offer(sources)
        assert s3.calls["read"] == 3
        assert contents(ahead, sources) == [s3.content(SOURCES, source.key) for source in sources]
        assert s3.calls["read"] == 3
        assert contents(ahead, sources[:1]) == [s3.content(SOURCES, sources[0].key)]
        assert s3.calls["read"] == 4

    def test_are_those_that_begin_the_archive(self, s3: FakeS3) -> None:
        sources = stored(s3, *[20 * KIB] * 10)
        keys = keys_read(s3)
        ahead = ahead_of(s3, room=90 * KIB)

        assert ahead.offer(sources[:2])
        assert not ahead.offer(sources[2:])
        assert keys == ["p/000", "p/001", "p/002", "p/003"]
        assert not ahead.offer(stored(s3, 1))
        assert len(keys) == 4

    def test_are_not_those_behind_a_long_one_that_takes_the_room(self, s3: FakeS3) -> None:
        sources = stored(s3, 10, 2 * MIB, 10)
        keys = keys_read(s3)

        assert not ahead_of(s3).offer(sources)
        assert keys == ["p/000"]

    def test_are_neither_empty_nor_long_nor_archived(self, s3: FakeS3) -> None:
        sources = stored(s3, 0, MIB, 5 * MIB, MIB - 1)
        archived = [sources[3]._replace(archived=True)]
        keys = keys_read(s3)
        ahead = ahead_of(s3, room=20 * MIB)

        assert ahead.offer([*sources[:3], *archived])
        assert keys == []
        assert ahead.offer(sources[3:])
        assert keys == ["p/003"]

    def test_are_read_no_second_time_where_they_are_listed_anew(self, s3: FakeS3) -> None:
        sources = stored(s3, 10, 20)
        ahead = ahead_of(s3)
        ahead.offer(sources)
        ahead.offer(sources)

        assert s3.calls["read"] == 2

    def test_are_those_of_their_etag_alone(self, s3: FakeS3) -> None:
        ahead = ahead_of(s3)
        ahead.offer(stored(s3, 10))
        s3.put_object(SOURCES, "p/000", b"another")
        (now,) = stored_now(s3)

        assert contents(ahead, [now]) == [b"another"]

    def test_are_no_answer_to_who_wants_a_piece(self, s3: FakeS3) -> None:
        sources = stored(s3, 100)
        ahead = ahead_of(s3)
        ahead.offer(sources)
        target = bytearray(50)
        ahead.read_all([Read(sources[0], 50, memoryview(target))])

        assert target == s3.content(SOURCES, "p/000")[50:]
        assert ahead.lent.size == 0


def stored_now(s3: FakeS3) -> list[SourceObject]:
    (page,) = s3.objects(Traffic()).below(Location(SOURCES, "p/"))
    return list(page.objects)


class TestTheMemory:
    def test_is_lent_until_all_that_was_read_together_was_handed_over(
        self, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "TOGETHER", 2)
        sources = stored(s3, 100, 200, 400)
        ahead = ahead_of(s3)
        ahead.offer(sources)
        given: list[int] = []
        with ahead.lent.heard_by(lambda: given.append(ahead.lent.size)):
            assert ahead.lent.size == 700 + 3 * module.RECORD
            contents(ahead, sources[:1])
            assert given == []
            contents(ahead, sources[1:])
        assert given[-1] == 0

    def test_is_given_back_at_the_end(self, s3: FakeS3) -> None:
        ahead = ahead_of(s3)
        ahead.offer(stored(s3, 100, 200))
        ahead.close()

        assert ahead.lent.size == 0

    def test_of_what_was_not_begun_is_given_back_once_a_part_asks(self, s3: FakeS3) -> None:
        sources = stored(s3, 100, 200)
        ahead = ahead_of(s3, executor=Never())
        ahead.offer(sources)
        assert ahead.lent.size == 300 + 2 * module.RECORD

        assert contents(ahead, sources[1:]) == [s3.content(SOURCES, "p/001")]
        assert ahead.lent.size == 0
        assert s3.calls["read"] == 1

    def test_is_taken_for_nothing_once_a_part_has_asked(self, s3: FakeS3) -> None:
        sources = stored(s3, 100, 200)
        ahead = ahead_of(s3)
        contents(ahead, sources[:1])
        ahead.offer(sources)

        assert (ahead.lent.size, s3.calls["read"]) == (0, 1)

    def test_pieces_of_work_are_bounded_by_their_bytes(self, s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "TOGETHER_BYTES", 250)
        sources = stored(s3, 100, 200, 400, 50)
        together: list[int] = []

        class Counted(AtOnce):
            def submit(self, function: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
                together.append(len(given[0].reads))
                return super().submit(function, *given, **named)

        ahead_of(s3, executor=Counted()).offer(sources)
        assert together == [1, 1, 1, 1]


class TestAFailure:
    @pytest.mark.parametrize("error", [SourceAccessDenied("no"), SourceMissing("gone"), OSError("broken")])
    def test_is_forgotten(self, s3: FakeS3, error: Exception) -> None:
        def fail(_: Call) -> None:
            raise error

        sources = stored(s3, 10, 20, 30)
        s3.before("read", fail, skip=1, times=1)
        ahead = ahead_of(s3)
        ahead.offer(sources)

        assert contents(ahead, sources) == [s3.content(SOURCES, source.key) for source in sources]
        assert ahead.lent.size == 0
        # The first had come, the second was asked for twice.
        assert s3.calls["read"] == 4

    def test_that_lasts_is_the_builds(self, s3: FakeS3) -> None:
        sources = stored(s3, 10)
        s3.put_object(SOURCES, "p/000", b"changed")
        ahead = ahead_of(s3)
        ahead.offer(sources)

        with pytest.raises(SourceChanged):
            contents(ahead, sources)
        assert ahead.lent.size == 0

    def test_of_the_bytes_has_them_read_again(self, s3: FakeS3) -> None:
        sources = stored(s3, 10, 20)
        s3.before("read", flip, times=1)
        ahead = ahead_of(s3)
        ahead.offer(sources)

        assert contents(ahead, sources) == [s3.content(SOURCES, source.key) for source in sources]
        assert s3.calls["read"] == 3


def test_who_asks_waits_for_what_is_under_way(s3: FakeS3) -> None:
    sources = stored(s3, 10, 20)
    begun, released = threading.Event(), threading.Event()

    def hold(_: Call) -> None:
        begun.set()
        assert released.wait(LONG_ENOUGH)

    s3.before("read", hold, times=1)
    with ThreadPoolExecutor(1) as threads, ThreadPoolExecutor(1) as parts:
        ahead = ahead_of(s3, executor=threads)
        ahead.offer(sources)
        assert begun.wait(LONG_ENOUGH)
        part = parts.submit(contents, ahead, sources)
        released.set()
        assert part.result(LONG_ENOUGH) == [s3.content(SOURCES, source.key) for source in sources]
    assert s3.calls["read"] == 2


# Jobs.

COUNT = 500


@pytest.fixture
def small(s3: FakeS3) -> dict[str, bytes]:
    """Many small objects, ten pages of them."""
    s3.page = COUNT // 10
    found = {f"p/{number:04}.txt": noise(200 + number, seed=number % 300) for number in range(COUNT)}
    for key, content in found.items():
        s3.put_object(SOURCES, key, content)
    return found


def build(s3: FakeS3, payload: dict[str, Any] | None = None, *, attempt: int = 1, **changes: Any) -> ArchiveResult:
    return build_archive(payload or files("p/"), delivery=delivery(attempt), services=services(s3, **changes))


def order_of(s3: FakeS3) -> list[str]:
    """What is asked for from now on: L for a page, R for a read."""
    order: list[str] = []
    s3.before("below", lambda _: order.append("L"))
    s3.before("read", lambda _: order.append("R"))
    return order


def read_early(order: list[str]) -> bool:
    return "R" in order[: len(order) - order[::-1].index("L")]


class LastPageWaits:
    """Sources whose last page comes once one of them was read."""

    def __init__(self, store: SourceStore, read: threading.Event) -> None:
        self._store = store
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]:
        for page in self._store.below(prefix, after=after):
            if not page.more:
                assert self._read.wait(LONG_ENOUGH), "nothing was read before the last page came"
            yield page

    def read_all(self, reads: list[Read], on_read: OnRead | None = None) -> list[int | None]:
        self._read.set()
        return self._store.read_all(reads, on_read)


def test_the_first_object_is_read_before_the_last_page_has_come(s3: FakeS3, small: dict[str, bytes]) -> None:
    read = threading.Event()
    result = build(s3, sources=lambda traffic: LastPageWaits(s3.objects(traffic), read))

    assert unzipped(s3.content(ARCHIVES, result.key)) == {key[2:]: content for key, content in small.items()}
    assert s3.calls["read"] == COUNT
    assert result.bytes_read == sum(map(len, small.values()))


@pytest.mark.parametrize(
    ("payload", "attempt"),
    [(files("p/"), 2), ({**files("p/"), "compression": "auto"}, 1), (files("q/1", "p/"), 1)],
    ids=["resumed", "deflated", "behind another"],
)
def test_nothing_is_read_ahead_of_what(
    s3: FakeS3, small: dict[str, bytes], payload: dict[str, Any], attempt: int
) -> None:
    del small
    s3.put_object(SOURCES, "q/1", b"one")
    order = order_of(s3)
    build(s3, payload, attempt=attempt)

    assert not read_early(order)


def test_one_page_is_asked_for_as_ever(s3: FakeS3, small: dict[str, bytes]) -> None:
    s3.page = COUNT
    order = order_of(s3)
    build(s3)

    assert order == ["L", *"R" * len(small)]


def test_only_what_is_chosen_is_read(s3: FakeS3, small: dict[str, bytes]) -> None:
    keys = keys_read(s3)
    order = order_of(s3)
    build(s3, {"files": [{"source": "p/", "include": ["*5.txt"]}]})

    assert read_early(order)
    assert sorted(keys) == sorted(key for key in small if key.endswith("5.txt"))


def test_a_source_that_changes_meanwhile_is_found_by_the_build(s3: FakeS3, small: dict[str, bytes]) -> None:
    s3.before("read", lambda _: s3.put_object(SOURCES, "p/0001.txt", b"new"), times=1)
    result = build(s3)

    assert unzipped(s3.content(ARCHIVES, result.key)) == {
        key[2:]: b"new" if key == "p/0001.txt" else content for key, content in small.items()
    }


def threads_ahead() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.mark.parametrize("failing", ["limit", "page"])
def test_a_listing_that_fails_ends_it(s3: FakeS3, small: dict[str, bytes], failing: str) -> None:
    def fail(_: Call) -> None:
        raise SourceAccessDenied("no")

    changes: dict[str, Any] = {}
    if failing == "limit":
        changes["limits"] = Limits(max_files=COUNT - 100, max_archive_bytes=1 << 40)
    else:
        s3.before("below", fail, skip=5)
    with pytest.raises(ArchiverError) as raised:
        build(s3, **changes)

    assert raised.type in (LimitExceeded, SourceAccessDenied)
    assert s3.calls["read"] < len(small)
    assert eventually(lambda: threads_ahead() == [])


def test_a_job_that_is_cancelled_reads_no_more(s3: FakeS3, small: dict[str, bytes]) -> None:
    cancellation = Cancellation()
    s3.before("below", lambda _: cancellation.ask(), skip=5, times=1)
    with pytest.raises(Cancelled):
        build_archive(files("p/"), delivery=delivery(), services=services(s3), cancellation=cancellation)

    assert s3.calls["read"] < len(small)
    assert eventually(lambda: threads_ahead() == [])
    assert s3.buckets[ARCHIVES] == {}


def test_what_lies_below_the_first_prefixes_is_read_in_the_archives_order(s3: FakeS3) -> None:
    s3.page = 10
    for name in ("b", "a", "c"):
        for number in range(100):
            s3.put_object(SOURCES, f"{name}/{number:03}", noise(1 + number))
    keys = keys_read(s3)
    early: list[int] = []
    s3.before("below", lambda _: early.append(len(keys)))
    build(s3, files("b/", "a/", "c/"))

    assert early[-1] > 0
    assert sorted(keys) == sorted(f"{name}/{number:03}" for name in "abc" for number in range(100))
