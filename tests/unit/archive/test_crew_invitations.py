"""Whom a builder invites to what, and when: by messages, of which few are to find nothing left."""

import pytest

from archiver.archive import crew
from archiver.archive.blueprint import Blueprint, make_blueprint
from archiver.archive.checksums import Checksums
from archiver.archive.chunks import Chunk, Cut
from archiver.archive.crew import BATCH, HELD_BACK, HELPERS_CLAIM, LOOK_SECONDS, Host, SharedUpload, Sharing, chunk_name
from archiver.archive.crew_record import Record, write_record
from archiver.archive.plan import MIB, Part
from archiver.archive.storage import SourceObject, UploadedPart
from tests.support.fake_crew import FakeCrew
from tests.support.waiting import eventually

UPLOAD = SharedUpload("archives", "a.zip", "upload-1")


class Builder:
    """A builder whose next part the test asks for; it has nothing in memory but the plan."""

    def __init__(self, fake: FakeCrew, *, photos: int) -> None:
        self.fake = fake
        names = [f"{number:05}.jpg" for number in range(photos)]
        sources = [SourceObject("photos", name, 4 * MIB, "etag", 1_700_000_000, None, 1) for name in names]
        self.blueprint: Blueprint = make_blueprint(names, sources, part_size=8 * MIB, uncopyable=set(range(photos)))
        host = Host(fake.crew(min_weight=64 * MIB), "job-1")
        found = host.crew.cut(self.blueprint)
        assert found is not None
        self.cut: Cut = found
        checksums = Checksums(self.blueprint.layout.entries)
        self.sharing = Sharing(host, found, self.blueprint, UPLOAD, checksums=checksums, on_part=lambda _: None)
        self.parts = self.sharing.parts(lambda: False)

    def begin_chunk(self) -> Part:
        """Go on to the next chunk of its own, some time later."""
        self.fake.now += LOOK_SECONDS
        first = {chunk.parts[0].number for chunk in self.cut.chunks}
        return next(part for part in self.parts if part.number in first)

    def claim(self, chunk: Chunk) -> None:
        """As a helper does."""
        self.fake.objects.put(UPLOAD.folder, chunk_name(chunk.number), HELPERS_CLAIM)

    def bring(self, chunk: Chunk, digest: str) -> None:
        """As a helper does that has built it; of bytes that there are none of."""
        parts = tuple(UploadedPart(part.number, "etag", part.size, 0) for part in chunk.parts)
        record = Record(digest, parts, [])
        self.fake.objects.put(UPLOAD.folder, chunk_name(chunk.number), write_record(record))

    def invited(self, count: int) -> list[int]:
        """The stretches that others are invited to, in the order of the messages, once there are so many."""
        assert eventually(lambda: len(self.fake.queue.invitations) >= count)
        return [invitation.number for invitation in self.fake.queue.invitations]


@pytest.fixture
def fake() -> FakeCrew:
    return FakeCrew()


@pytest.mark.parametrize("photos", [40, 400, 4_000])
def test_others_are_invited_to_the_first_stretches_once_half_of_the_others_are_begun(
    photos: int, fake: FakeCrew
) -> None:
    builder = Builder(fake, photos=photos)
    stretches = builder.cut.stretches
    count = len(stretches)
    held_back = max(0, min(HELD_BACK, count - BATCH))
    others = stretches[held_back:]
    builder.sharing.open(resumed=False)
    try:
        # at first to all but those
        expected = list(reversed(range(held_back, count)))
        assert builder.invited(len(expected)) == expected
        # not while fewer have begun
        half = -(-len(others) // 2)
        for stretch in others[1 - half :]:
            builder.claim(stretch[-1])
        builder.begin_chunk()
        assert builder.invited(len(expected)) == expected
        # but then, to what the builder has not begun itself
        builder.claim(others[-half][-1])
        builder.begin_chunk()
        own = {stretch[-1].number for stretch in stretches} & {0, 1}
        left = [number for number in reversed(range(held_back)) if stretches[number][-1].number not in own]
        assert builder.invited(len(expected) + len(left)) == expected + left
    finally:
        builder.sharing.close(over=True)
    assert fake.objects.left == {}


def test_who_is_not_helped_invites_nobody_to_what_it_comes_to_soon(fake: FakeCrew) -> None:
    builder = Builder(fake, photos=4_000)
    builder.sharing.open(resumed=False)
    builder.begin_chunk()
    builder.sharing.close(over=True)

    assert min(invitation.number for invitation in fake.queue.invitations) == HELD_BACK


def test_an_invitation_names_the_last_chunk_that_is_left(fake: FakeCrew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "check_record", lambda *_: [])
    builder = Builder(fake, photos=4_000)
    builder.sharing.open(resumed=False)
    try:
        count = len(builder.cut.stretches)
        builder.invited(count - HELD_BACK)
    finally:
        builder.sharing.close(over=False)
    last = {one.number: one.last for one in fake.queue.invitations}
    assert last == {number: builder.cut.stretches[number][-1].number for number in range(HELD_BACK, count)}

    # when another goes on, after the last chunk of the last stretch has been brought, and the whole of the one before
    *_, before, stretch = builder.cut.stretches
    digests = {one.number: one.digest for one in fake.queue.invitations}
    builder.bring(stretch[-1], digests[count - 1])
    for chunk in before:
        builder.bring(chunk, digests[count - 2])
    fake.queue.invitations.clear()
    follower = Builder(fake, photos=4_000)
    follower.sharing.open(resumed=True)
    try:
        numbers = follower.invited(count - HELD_BACK - 1)
    finally:
        follower.sharing.close(over=True)

    # then others are invited to what is left of them
    assert numbers == [count - 1, *reversed(range(HELD_BACK, count - 2))]
    assert fake.queue.invitations[0].last == stretch[-2].number
