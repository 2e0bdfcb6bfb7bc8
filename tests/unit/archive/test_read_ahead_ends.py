"""How reading ahead ends with its job, and what it takes of the job's memory."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from archiver.archive.cancellation import LEAVE_SECONDS, Cancellation
from archiver.archive.parallel import AHEAD
from archiver.archive.pipeline import build_archive
from archiver.archive.progress import Progress
from archiver.archive.read_ahead import ReadAhead, room_for
from archiver.archive.resolve import Limits
from archiver.archive.source_table import SourceTable
from archiver.archive.storage import OnRead, Read, SourceObject
from archiver.errors import Cancelled, LimitExceeded
from tests.support.fake_crew import FakeCrew, help_with, helper
from tests.support.fake_s3 import MIB, Call, FakeS3
from tests.support.jobs import SOURCES, delivery, files, noise, services
from tests.support.waiting import eventually

COUNT = 500


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


@pytest.fixture
def small(s3: FakeS3) -> None:
    s3.page = COUNT // 10
    for number in range(COUNT):
        s3.put_object(SOURCES, f"p/{number:04}.txt", noise(200 + number, seed=number % 300))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("why", ["cancelled", "limit"])
def test_a_job_that_ends_in_its_listing_waits_for_no_read_that_hangs(s3: FakeS3, why: str) -> None:
    # given a read ahead that S3 does not answer, for as long as libcurl would wait for it
    begun, released = threading.Event(), threading.Event()

    def hang(_: Call) -> None:
        begun.set()
        released.wait(60)

    s3.before("read", hang)
    cancellation = Cancellation()
    limits = Limits(max_files=1000, max_archive_bytes=1 << 40)

    def end(_: Call) -> None:
        assert begun.wait(30)
        if why == "cancelled":
            cancellation.ask()

    s3.before("below", end, skip=8, times=1)
    if why == "limit":
        limits = Limits(max_files=COUNT - 1, max_archive_bytes=1 << 40)
    ended = threading.Event()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            build_archive(
                files("p/"), delivery=delivery(), services=services(s3, limits=limits), cancellation=cancellation
            )
        except BaseException as error:
            raised.append(error)
        ended.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert ended.wait(2 * LEAVE_SECONDS + 5), "the job waits for what it has no use for"
        assert isinstance(raised[0], Cancelled if why == "cancelled" else LimitExceeded)
    finally:
        released.set()
        thread.join(30)


class Narrow:
    """A store that is asked for one object at a time, each after the first of many once the job has ended."""

    def __init__(self, store: Any, begun: threading.Event, over: threading.Event, late: list[str]) -> None:
        self._store, self._begun, self._over, self._late = store, begun, over, late

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read_all(self, reads: list[Read], on_read: OnRead | None = None) -> list[int | None]:
        found: list[int | None] = []
        for number, read in enumerate(reads):
            self._begun.set()
            if number:
                assert self._over.wait(60)
                self._late.append(read.source.key)
            found += self._store.read_all([read])
            if on_read is not None:
                on_read(number, found[-1])
        return found


@pytest.mark.usefixtures("small")
def test_a_job_beyond_its_limit_reads_nothing_more(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, over = threading.Event(), threading.Event()
    late: list[str] = []
    close = ReadAhead.close

    def closed(ahead: ReadAhead) -> None:
        close(ahead)
        over.set()

    monkeypatch.setattr(ReadAhead, "close", closed)
    s3.before("below", lambda _: begun.wait(60), skip=8, times=1)
    with pytest.raises(LimitExceeded):
        build_archive(
            files("p/"),
            delivery=delivery(),
            services=services(
                s3,
                limits=Limits(max_files=COUNT - 1, max_archive_bytes=1 << 40),
                sources=lambda traffic: Narrow(s3.objects(traffic), begun, over, late),
            ),
        )

    # then of what was under way each batch meets one more answer at most
    assert eventually(lambda: not any(thread.name.startswith("ahead") for thread in threading.enumerate()))
    assert len(late) <= AHEAD


@pytest.mark.parametrize(
    ("memory", "part_size", "room"), [(88, 8, 44), (16, 8, 0), (20, 8, 4), (16, 5, 6), (16, 100, 0)]
)
def test_two_parts_have_their_memory_whatever_is_read_ahead(memory: int, part_size: int, room: int) -> None:
    assert room_for(memory * MIB, part_size=part_size * MIB) == room * MIB


def test_what_is_kept_of_tiny_objects_is_lent_with_what_it_takes() -> None:
    # given so many objects of a byte that they take all the room of a job of 88 MiB
    class Store:
        def read_all(self, reads: list[Read], on_read: Any = None) -> list[int | None]:
            for number, _ in enumerate(reads):
                on_read(number, number * 7_919_000_003 & 0xFFFF_FFFF)
            return [None] * len(reads)

    table = SourceTable(
        SourceObject("my-sources", f"customers/2026/11/27/image-{number:08}.jpg", 1, f'"{number:032x}"', 1_700_000_000)
        for number in range(20_000)
    )
    with ThreadPoolExecutor(1) as threads:
        ahead: Any = ReadAhead(cast("Any", Store()), threads, room=44 * MIB)
        tracemalloc.start()
        try:
            assert ahead.offer(map(table.at, range(len(table))))
            threads.shutdown()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert held <= 2 * ahead.lent.size + MIB, f"{held / MIB:.1f} MiB of objects, {ahead.lent.size / MIB:.2f} MiB lent"


def test_what_others_have_brought_is_kept_no_longer(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a job that has read ahead what others bring before it asks for it
    s3.page = 20
    for number in range(120):
        s3.put_object(SOURCES, f"p/{number:03}.jpg", noise(300_000, number))
    fake = FakeCrew()
    other = helper(services(s3), fake)
    aheads: list[ReadAhead] = []
    made = ReadAhead.__init__

    def remember(ahead: ReadAhead, *given: Any, **named: Any) -> None:
        made(ahead, *given, **named)
        aheads.append(ahead)

    def help_with_all() -> None:
        assert fake.queue.sent.wait(60)
        for invitation in fake.queue.invitations:
            help_with(other, invitation)

    monkeypatch.setattr(ReadAhead, "__init__", remember)
    fake.at_first = help_with_all
    lent: list[int] = []

    def follow(progress: Progress) -> None:
        if progress.step == "completed":
            lent.append(aheads[0].lent.size)

    build_archive(files("p/"), delivery=delivery(), services=services(s3, crew=fake.crew()), on_progress=follow)

    assert lent == [0]
