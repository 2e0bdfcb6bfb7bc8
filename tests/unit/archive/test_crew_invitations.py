"""Whom a builder invites to what, and how it waits for them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice, takewhile

import pytest

from archiver.archive import sharing
from archiver.archive.blueprint import Blueprint, make_blueprint
from archiver.archive.checksums import Checksums
from archiver.archive.chunks import Chunk, Cut, turns
from archiver.archive.crew import AHEAD, PLAN, Host, SharedUpload, chunk_name, helpers_claim
from archiver.archive.crew_plan import Invitation
from archiver.archive.crew_record import Record, write_record
from archiver.archive.plan import MIB, Part
from archiver.archive.sharing import MOST_PATIENCE_SECONDS, PATIENCE, PATIENCE_SECONDS, Sharing
from archiver.archive.storage import SourceObject, UploadedPart
from archiver.archive.width import WIDE, LastWidth, Width
from archiver.errors import Cancelled, StorageUnavailable
from tests.support.fake_crew import FakeCrew
from tests.support.jobs import logged
from tests.support.waiting import LONG_ENOUGH, eventually

UPLOAD = SharedUpload("archives", "a.zip", "upload-1")


class Builder:
    """A builder that has nothing in memory but the plan."""

    def __init__(
        self,
        fake: FakeCrew,
        *,
        photos: int,
        wide: bool = True,
        upload: Callable[[], SharedUpload] = lambda: UPLOAD,
    ) -> None:
        self.fake = fake
        names = [f"{number:05}.jpg" for number in range(photos)]
        sources = [SourceObject("photos", name, 4 * MIB, "etag", 1_700_000_000, None, 1) for name in names]
        self.blueprint: Blueprint = make_blueprint(names, sources, part_size=8 * MIB, uncopyable=set(range(photos)))
        host = Host(fake.crew(min_weight=64 * MIB), "job-1")
        found = host.crew.cut(self.blueprint)
        assert found is not None
        self.cut: Cut = found
        checksums = Checksums(self.blueprint.layout.entries)
        width = Width(1, WIDE, last=LastWidth(WIDE if wide else 1))
        self.sharing = Sharing(
            host, found, self.blueprint, upload, checksums=checksums, width=width, on_part=lambda _: None
        )
        self.parts = self.sharing.parts(lambda: False)

    @contextmanager
    def shared(self, *, resumed: bool = False, over: bool = True) -> Iterator[None]:
        """Others are invited for the length of the block, at whose end the job is over, or left to another attempt."""
        self.sharing.open(is_resumed=lambda: resumed)
        try:
            yield
        finally:
            self.sharing.close(over=over)

    def claim(self, chunk: Chunk) -> None:
        """As a helper does."""
        self.fake.objects.put(UPLOAD.folder, chunk_name(chunk.number), helpers_claim(0))

    def bring(self, chunk: Chunk, digest: str) -> None:
        """As a helper does that has built it; of bytes that there are none of."""
        parts = tuple(UploadedPart(part.number, "etag", part.size, 0) for part in chunk.parts)
        record = Record(digest, parts, [])
        self.fake.objects.put(UPLOAD.folder, chunk_name(chunk.number), write_record(record))

    def invited(self, count: int) -> list[Invitation]:
        """The invitations, once there are so many."""
        assert eventually(lambda: len(self.fake.queue.invitations) >= count)
        return list(self.fake.queue.invitations)


@contextmanager
def set_at_last(event: threading.Event) -> Iterator[None]:
    """Whatever a block ends with, nobody waits for the event behind it."""
    try:
        yield
    finally:
        event.set()


@pytest.fixture
def fake() -> FakeCrew:
    return FakeCrew()


@pytest.mark.parametrize("photos", [40, 400, 4_000])
def test_others_are_invited_by_turns_to_all_stretches(photos: int, fake: FakeCrew) -> None:
    builder = Builder(fake, photos=photos)
    with builder.shared():
        expected = turns(builder.cut.stretches)
        found = builder.invited(len(expected))

    assert [(one.number, one.turns, one.begin) for one in found] == [
        (number, len(expected), turn.begin) for number, turn in enumerate(expected)
    ]
    for one, turn in zip(found, expected, strict=True):
        stretch = builder.cut.stretches[turn.stretch]
        assert (one.first, one.last) == (stretch[0].number, stretch[-1].number)
    assert len({(one.start, one.stop, one.digest) for one in found}) == len(builder.cut.stretches)
    assert fake.objects.left == {}


def test_of_what_has_been_brought_already_nobody_is_told(fake: FakeCrew, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a job whose last stretch was brought as a whole, and of the one before one chunk
    monkeypatch.setattr(sharing, "check_record", lambda *_: [])
    builder = Builder(fake, photos=4_000)
    with builder.shared(over=False):
        found = builder.invited(len(turns(builder.cut.stretches)))
    *_, before, stretch = builder.cut.stretches
    digests = {one.last: one.digest for one in found}
    for chunk in (*stretch, before[-1]):
        builder.bring(chunk, digests[stretch[-1].number if chunk in stretch else before[-1].number])
    fake.queue.invitations.clear()

    # when another goes on
    follower = Builder(fake, photos=4_000)
    with follower.shared(resumed=True):
        left = [turn for turn in turns(builder.cut.stretches) if turn.stretch < len(builder.cut.stretches) - 1]
        again = follower.invited(len(left))

    # then it invites to all but what has been brought
    assert [(one.begin, one.turns) for one in again] == [(turn.begin, len(left)) for turn in left]


def test_claims_of_an_attempt_before_are_nobodys(fake: FakeCrew) -> None:
    builder = Builder(fake, photos=40)
    for chunk in builder.cut.chunks:
        builder.claim(chunk)
    with builder.shared(resumed=True):
        assert builder.invited(1)


def test_the_longer_it_waits_the_less_often_it_looks(fake: FakeCrew) -> None:
    # given chunks that have been claimed by who is dead
    builder = Builder(fake, photos=400)
    for chunk in builder.cut.chunks:
        builder.claim(chunk)
    gets: list[int] = []
    fake.while_waiting = lambda: gets.append(fake.objects.calls["get"] + fake.objects.calls["sizes"])

    with builder.shared():
        for _ in builder.parts:
            pass

    assert fake.now - 1000 > PATIENCE_SECONDS
    assert len(gets) < 20 * (fake.now - 1000)


def test_a_claim_of_its_own_that_is_on_its_way_is_nobody_elses(fake: FakeCrew, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a builder that looks before each chunk, when what it has asked for is there
    monkeypatch.setattr(sharing, "LOOK_SECONDS", 0.0)
    builder = Builder(fake, photos=400)
    names = {part.number: chunk_name(chunk.number + 1) for chunk in builder.cut.chunks[:-1] for part in chunk.parts}
    handed = set()
    with builder.shared():
        for part in builder.parts:
            handed.add(part.number)
            if name := names.get(part.number):
                assert eventually(partial(fake.objects.has, UPLOAD.folder, name))

    # then it builds all of them, and waits for none
    assert handed == {part.number for part in builder.blueprint.parts}
    assert fake.waits == 0


def test_who_is_slow_claims_what_it_begins_and_no_more(fake: FakeCrew) -> None:
    # given a builder whose parts take their time
    builder = Builder(fake, photos=400, wide=False)
    last_of = {chunk.parts[-1].number: chunk.number for chunk in builder.cut.chunks}
    ahead = []
    with builder.shared():
        for part in builder.parts:
            if (number := last_of.get(part.number)) is not None:
                ahead.append(len(fake.objects.folders[UPLOAD.folder].keys() - {PLAN}) - number - 1)

    assert len(ahead) > 2 * AHEAD
    assert set(ahead) == {0}


def test_what_it_keeps_waits_neither_for_the_upload_nor_for_the_crew(fake: FakeCrew) -> None:
    # given an upload that S3 takes its time to begin
    begun = threading.Event()

    def begin() -> SharedUpload:
        begun.wait(LONG_ENOUGH)
        return UPLOAD

    builder = Builder(fake, photos=40, upload=begin)
    with builder.shared(), set_at_last(begun):
        kept = [part.number for part in islice(builder.parts, len(builder.cut.kept))]
        assert fake.objects.folders == {}
        begun.set()
        others = [part.number for part in builder.parts]

    assert kept == [part.number for part in builder.cut.kept] != []
    assert len({*kept, *others}) == len(builder.blueprint.parts)


@pytest.mark.parametrize("slow", ["sizes", "get"])
def test_who_builds_waits_neither_for_a_look_nor_for_records(
    slow: str, fake: FakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a builder that looks before each chunk, the last of which has come, and an S3 that takes its time
    monkeypatch.setattr(sharing, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(sharing, "check_record", lambda *_: [])
    builder = Builder(fake, photos=400, wide=False)
    asked, answered = threading.Event(), threading.Event()
    real: Callable[..., object] = getattr(fake.objects, slow)

    def answer_late(*arguments: object) -> object:
        asked.set()
        answered.wait(LONG_ENOUGH)
        return real(*arguments)

    last = builder.cut.chunks[-1]
    with builder.shared(), set_at_last(answered):
        builder.bring(last, builder.invited(1)[0].digest)
        monkeypatch.setattr(fake.objects, slow, answer_late)
        # when it has asked, it goes on to the end of what nobody has begun
        behind = builder.cut.chunks[-2].parts[-1].number
        before = [part.number for part in takewhile(lambda part: part.number != behind, builder.parts)]
        assert asked.wait(LONG_ENOUGH)
        answered.set()
        rest = {part.number for part in builder.parts}

    assert len(before) > len(builder.cut.kept)
    # then what has come meanwhile it does not build
    assert rest.isdisjoint(part.number for part in last.parts)
    assert builder.sharing.brought.keys() == {part.number for part in last.parts}


def test_one_look_shows_the_chunks_of_all_others(fake: FakeCrew) -> None:
    # given a builder whose parts are quick, and helpers with all but the first two chunks
    builder = Builder(fake, photos=400)
    for chunk in builder.cut.chunks[2:]:
        builder.claim(chunk)
    looks: list[int] = []
    fake.while_waiting = lambda: looks.append(fake.objects.calls["sizes"])
    with builder.shared():
        for _ in builder.parts:
            pass

    # then at its first wait it has looked once at all of them, and once more for what has come
    assert looks[0] == 2


@pytest.mark.parametrize("error", [StorageUnavailable("SlowDown"), LookupError("SlowDown")])
def test_who_can_not_begin_the_upload_leaves_that_to_the_parts(error: Exception, fake: FakeCrew) -> None:
    def fail() -> SharedUpload:
        raise error

    builder = Builder(fake, photos=40, upload=fail)
    with logged() as lines, builder.shared():
        handed = [part.number for part in builder.parts]

    assert handed == [part.number for part in builder.blueprint.parts]
    assert fake.objects.calls == {}
    assert [line["reason"] for line in lines if "goes on alone" in line["event"]] == ["SlowDown"]


def test_who_ends_the_build_with_what_an_attempt_before_has_left_ends_it(
    fake: FakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given records of an attempt before, and a job that is cancelled when it hears of their parts
    monkeypatch.setattr(sharing, "check_record", lambda *_: [])
    before = Builder(fake, photos=40)
    with before.shared(over=False):
        before.bring(before.cut.chunks[0], before.invited(1)[0].digest)
    builder = Builder(fake, photos=40)

    def cancel(_: Part) -> None:
        raise Cancelled("enough")

    monkeypatch.setattr(builder.sharing, "_on_part", cancel)

    with builder.shared(resumed=True), pytest.raises(Cancelled):
        list(builder.parts)


def test_what_the_builder_keeps_makes_it_no_more_patient(fake: FakeCrew) -> None:
    # given a builder that takes a second for each MiB, and who is dead with all chunks but the first
    builder = Builder(fake, photos=40, wide=False)
    first, second, *_ = builder.cut.chunks
    for chunk in builder.cut.chunks[1:]:
        builder.claim(chunk)
    since: list[float] = []
    fake.while_waiting = lambda: since.append(fake.now)
    with builder.shared():
        for part in takewhile(lambda part: part.number != second.parts[0].number, builder.parts):
            fake.now += part.size / MIB

    patience = PATIENCE * first.weight / MIB
    assert patience < MOST_PATIENCE_SECONDS
    assert fake.now - since[0] == pytest.approx(patience, rel=0.1)


def test_a_chunk_that_is_brought_while_it_can_not_be_claimed_is_not_built(
    fake: FakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a builder that may not claim, and looks before each chunk
    monkeypatch.setattr(sharing, "check_record", lambda *_: [])
    builder = Builder(fake, photos=40)
    fake.objects.denied.add("put")
    brought = builder.cut.chunks[1]
    real = builder.sharing._meet

    def bring(numbers: Sequence[int]) -> None:
        # as a look does that ends between the claim and its answer
        if brought.number not in builder.sharing._asked and brought.number in builder.sharing._waiting:
            builder.sharing._waiting.pop(brought.number)
        real(numbers)

    with builder.shared(over=False):
        handed = set()
        for part in builder.parts:
            handed.add(part.number)
            if part.number == builder.cut.chunks[0].parts[-1].number:
                monkeypatch.setattr(builder.sharing, "_meet", bring)

    assert handed == {part.number for part in builder.blueprint.parts} - {part.number for part in brought.parts}
