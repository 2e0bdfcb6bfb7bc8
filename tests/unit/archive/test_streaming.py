"""Parts that go out while they come in: which ones do, and what happens where one does not end well."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import pytest

from archiver.archive.agenda import Agenda, Alone
from archiver.archive.blueprint import Blueprint, make_blueprint
from archiver.archive.carry import Carry
from archiver.archive.checksums import Checksums
from archiver.archive.location import Location
from archiver.archive.parallel import open_threads
from archiver.archive.parts import PartBuilder
from archiver.archive.plan import Part
from archiver.archive.storage import ArchiveObject, SourceObject, UploadGone
from archiver.archive.streamed_body import WINDOW, Arriving
from archiver.archive.streaming import MOST_FAILURES, PASSED_OVER, SENDING, Streaming
from archiver.archive.traffic import Traffic
from archiver.archive.upload import Upload
from archiver.archive.width import Width
from archiver.errors import DestinationUnavailable, SourceChanged, StorageUnavailable
from archiver.zipformat.crc import crc32_of_parts
from tests.support.fake_s3 import MIB, Action, Call, FakeS3, flip
from tests.support.fake_stores import FakeObjects
from tests.support.jobs import ARCHIVES, SOURCES, noise, unzipped

PHOTOS = {f"{number:02}.jpg": noise(2 * MIB + number, seed=number) for number in range(9)}


class Job:
    """The parts of one archive of objects in a bucket, read from ``store``."""

    def __init__(self, s3: FakeS3, contents: dict[str, bytes], *, looked_at: bool = True) -> None:
        self.s3 = s3
        s3.create_bucket(SOURCES)
        self.archives = s3.archives(ARCHIVES)(Traffic())
        self.traffic = Traffic()
        self.store: FakeObjects = s3.objects(self.traffic)
        self.names = list(contents)
        for name, content in contents.items():
            if name not in s3.buckets[SOURCES]:
                s3.put_object(SOURCES, name, content)
        (page,) = self.store.below(Location(SOURCES, ""))
        listed = {seen.key: seen for seen in page.objects}
        sources = [self._looked_at(name) if looked_at else listed[name] for name in self.names]
        self.blueprint: Blueprint = make_blueprint(self.names, sources, part_size=5 * MIB, uncopyable=set(range(99)))
        self.checksums = Checksums(self.blueprint.layout.entries)
        self.upload = Upload(self.archives, ArchiveObject("a.zip", {}, None), digest=lambda: "d", resume=False)
        self.memory = 64 * MIB
        self.ended: list[Part] = []
        self.upload.open()

    def _looked_at(self, name: str) -> SourceObject:
        source = self.store.head(Location(SOURCES, name))
        parts = self.store.part_checksums(source) if source.composite else None
        return source if parts is None else source._replace(crc32=crc32_of_parts(parts))

    def streaming(self, *, begin: int = 0, early: int = 0) -> Streaming:
        layout, sources = self.blueprint.layout, self.blueprint.sources
        return Streaming(layout, sources, self.checksums, self.store, self.upload, begin=begin, early=early)

    def weights(self, *, early: int = 0) -> list[int | None]:
        streaming = self.streaming(early=early)
        return [streaming.weight(part) for part in self.blueprint.parts]

    def run(self, agenda: Agenda | None = None) -> dict[str, bytes]:
        """What is in the finished archive."""
        with open_threads(parts=2, reads=2, copies=1) as threads:
            builder = PartBuilder(
                layout=self.blueprint.layout,
                sources=self.blueprint.sources,
                checksums=self.checksums,
                store=self.store,
                upload=self.upload,
                threads=threads,
                carry=Carry(0),
                width=Width(3, 3),
                memory=self.memory,
                on_part=self.ended.append,
                streams=True,
            )
            parts = builder.run(self.blueprint.parts, agenda)
        crc32 = crc32_of_parts((part.crc32 or 0, part.size) for part in parts)
        self.upload.complete(parts, crc32=crc32, size=self.blueprint.layout.size)
        assert not self.s3.violations
        return unzipped(self.s3.content(ARCHIVES, "a.zip"))


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


def raising(error: Exception) -> Action:
    def strike(_: Call) -> None:
        raise error

    return strike


def held(s3: FakeS3) -> int:
    """The most bytes of parts that were in memory at once."""
    return s3.peak_held


def test_parts_of_photos_go_out_while_they_come_in(s3: FakeS3) -> None:
    job = Job(s3, PHOTOS)
    weights = job.weights()
    assert all(weights[:-1])
    assert weights[-1] is None  # the directory

    assert job.run() == PHOTOS

    last = job.blueprint.parts[-1].size
    assert held(s3) <= last
    assert s3.calls["read"] == len(PHOTOS)
    assert job.traffic.bytes_read == sum(map(len, PHOTOS.values()))


def test_memory_is_counted_as_windows(s3: FakeS3) -> None:
    job = Job(s3, {"a": noise(20_000), "b": noise(5 * MIB + 1, seed=1), "c": noise(3 * MIB, seed=2)})
    (weight, *_) = job.weights()
    assert weight == SENDING + WINDOW + 20_000


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        ({f"{number}": noise(100_000, seed=number) for number in range(120)}, "only short ones"),
        ({f"{number}": noise(MIB, seed=number) for number in range(4)}, "the last part alone"),
        ({"a": noise(26 * MIB)}, "pieces of an object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_some_parts_are_built_in_memory(s3: FakeS3, contents: dict[str, bytes], why: str) -> None:
    job = Job(s3, contents)
    assert not any(job.weights()), why
    assert job.run() == contents


def test_short_files_beside_long_ones_come_along(s3: FakeS3) -> None:
    contents: dict[str, bytes] = {}
    for name, photo in PHOTOS.items():
        contents |= {name: photo, f"{name}.json": name.encode(), f"{name}.empty": b""}
    job = Job(s3, contents)
    assert any(job.weights())
    assert job.run() == contents


def test_nothing_is_opened_of_which_s3_may_tell_no_crc32(s3: FakeS3) -> None:
    for name, content in PHOTOS.items():
        s3.put_object(SOURCES, name, content, checksum="none")
    job = Job(s3, PHOTOS)
    assert not any(job.weights())
    assert job.run() == PHOTOS
    assert s3.calls["read"] == len(PHOTOS)  # none twice


def test_what_is_known_from_a_listing_alone_waits_for_a_first_object_that_tells(s3: FakeS3) -> None:
    job = Job(s3, PHOTOS, looked_at=False)
    assert not any(job.weights())
    source = next(iter(job.blueprint.sources))
    assert source is not None
    with job.store.opened([source]):
        pass
    assert any(job.weights())
    assert job.run() == PHOTOS


def test_objects_that_came_in_parts_are_streamed_where_a_look_has_told_their_crc32(s3: FakeS3) -> None:
    for name, content in PHOTOS.items():
        s3.put_object(SOURCES, name, content, checksum="composite", part_size=MIB)
    job = Job(s3, PHOTOS)
    assert all(job.weights()[:-1])
    assert job.run() == PHOTOS
    assert s3.calls["read"] == len(PHOTOS)  # none twice


def test_one_object_without_a_crc32_speaks_for_its_bucket(s3: FakeS3) -> None:
    s3.put_object(SOURCES, "00.jpg", PHOTOS["00.jpg"], checksum="none")
    job = Job(s3, PHOTOS, looked_at=False)
    for source in job.blueprint.sources[:2]:
        assert source is not None
        with job.store.opened([source]):
            pass
    assert not any(job.weights())
    assert job.run() == PHOTOS


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("read", flip),
        ("read", raising(StorageUnavailable("503"))),
        ("arrive", raising(ConnectionError("reset"))),
        ("put_part", raising(DestinationUnavailable("503"))),
    ],
    ids=["other bytes", "no answer", "broke off", "not taken"],
)
@pytest.mark.parametrize("skip", [0, 1, 5])
def test_a_part_that_does_not_end_well_is_built_in_memory(
    s3: FakeS3, operation: str, action: Action, skip: int
) -> None:
    job = Job(s3, PHOTOS)
    s3.before(operation, action, skip=skip, times=1)
    assert job.run() == PHOTOS


def test_one_at_a_time_is_built_in_memory_after_all(s3: FakeS3) -> None:
    job = Job(s3, PHOTOS)
    s3.before("arrive", raising(ConnectionError("reset")), times=None)
    job.memory = 1  # two parts are in flight all the same
    assert job.run() == PHOTOS
    largest = max(part.size for part in job.blueprint.parts)
    assert held(s3) <= 3 * (largest + MIB)


def test_a_source_that_changed_ends_the_build(s3: FakeS3) -> None:
    job = Job(s3, PHOTOS)
    s3.put_object(SOURCES, "04.jpg", b"another")
    with pytest.raises(SourceChanged):
        job.run()


def test_an_upload_that_is_over_ends_the_build(s3: FakeS3) -> None:
    job = Job(s3, PHOTOS)
    upload_id = job.upload.open()
    s3.before("put_part", lambda _: s3.uploads.pop(upload_id, None), skip=2)
    with pytest.raises(UploadGone):
        job.run()


def test_after_failures_in_a_row_it_is_left_for_a_while(s3: FakeS3) -> None:
    job = Job(s3, PHOTOS)
    streaming = job.streaming()
    part = job.blueprint.parts[0]
    s3.before("arrive", raising(ConnectionError("reset")), times=MOST_FAILURES)
    results: Sequence[object] = [streaming.put(part) for _ in range(MOST_FAILURES)]
    assert results == [None] * MOST_FAILURES
    assert [streaming.weight(part) for _ in range(PASSED_OVER)] == [None] * PASSED_OVER
    assert streaming.weight(part) is not None
    assert streaming.put(part) is not None


def test_what_begins_before_the_upload_is_built_in_memory_as_far_as_there_is_room(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(s3, PHOTOS)
    streamed = job.weights()
    first, second, *_ = job.blueprint.parts
    job.upload = Upload(job.archives, ArchiveObject("b.zip", {}, None), digest=lambda: "d", resume=False)

    assert job.weights(early=first.size + second.size) == [None, None, *streamed[2:]]

    # and what goes out while it comes in begins the upload first
    begun: list[bool] = []
    opened = job.store.opened

    def watched(sources: Sequence[SourceObject]) -> AbstractContextManager[Sequence[Arriving]]:
        begun.append(job.upload.begun)
        return opened(sources)

    monkeypatch.setattr(job.store, "opened", watched)
    assert job.streaming().put(first) is not None
    assert begun == [True]


def test_bytes_that_are_carried_are_not_streamed(s3: FakeS3) -> None:
    job = Job(s3, PHOTOS)
    assert job.streaming(begin=1).weight(job.blueprint.parts[0]) is None


@dataclass(frozen=True)
class Watched(Alone):
    """An agenda that counts the parts that are taken off it, and says when it is at its end."""

    taken: list[Part] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def parts(self, stopped: Callable[[], bool]) -> Iterator[Part]:
        for part in super().parts(stopped):
            self.taken.append(part)
            yield part
        self.ended.set()


def test_no_more_parts_are_taken_on_than_can_be_under_way(s3: FakeS3) -> None:
    """What is taken off a shared plan nobody else begins."""
    job = Job(s3, {f"{number:02}.jpg": noise(2 * MIB + number, seed=number) for number in range(24)})
    agenda = Watched(job.blueprint.parts)
    seen: list[int] = []

    def wait(_: Call) -> None:
        # as long as it takes a plan without an end to it to be taken on as a whole
        agenda.ended.wait(0.3)
        seen.append(len(agenda.taken) - len(job.ended))

    s3.before("put_part", wait, skip=1, times=3)
    job.run(agenda)

    assert len(agenda.taken) > 6
    # three under way, and the next, which waits for one of them
    assert max(seen) <= 4
