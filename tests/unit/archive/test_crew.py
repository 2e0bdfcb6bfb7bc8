"""A job that invites others: whatever they bring, or don't, its archive is right."""

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest

import archiver.archive.chunks
import archiver.archive.sharing
from archiver.archive.crew import BUILDERS_CLAIM, PLAN, chunk_name, helpers_claim, is_record
from archiver.archive.crew_plan import Invitation, read_block
from archiver.archive.crew_record import read_record, write_record
from archiver.archive.helper import Help
from archiver.archive.pipeline import Services, build_archive
from archiver.archive.progress import Progress
from archiver.archive.sharing import PATIENCE_SECONDS
from archiver.archive.storage import UploadGone
from archiver.errors import ArchiverError, Cancelled, StorageUnavailable
from tests.support.fake_crew import FakeCrew, help_with, helper, with_turns_of_a_chunk
from tests.support.fake_s3 import MIB, Call, FakeS3, flip
from tests.support.jobs import ARCHIVES, OPTIONS, SOURCES, delivery, logged, noise, of_quick_parts, services, unzipped
from tests.support.waiting import eventually

COUNT = 10
FILES = {f"photos/{n:02}.jpg": noise(3 * MIB + n, n) for n in range(COUNT)}
PAYLOAD = {"files": [{"source": "photos/"}]}
#: Photos in what the builder keeps, since it begins before others can be invited.
KEPT = 2
#: A receive of an invitation.
RECEIVE = "a1b2c3"


@pytest.fixture
def s3(request: pytest.FixtureRequest) -> FakeS3:
    """Ten photos, whose CRC32s S3 does not know unless the test says so."""
    s3 = FakeS3()
    for key, content in FILES.items():
        s3.put_object(SOURCES, key, content, checksum=getattr(request, "param", "none"))
    return s3


@pytest.fixture
def fake() -> FakeCrew:
    return FakeCrew()


@pytest.fixture
def builder(s3: FakeS3, fake: FakeCrew) -> Services:
    return services(s3, crew=fake.crew())


@pytest.fixture
def other(s3: FakeS3, fake: FakeCrew) -> Services:
    """Another worker."""
    return helper(services(s3), fake)


@pytest.fixture(autouse=True)
def right(s3: FakeS3, fake: FakeCrew, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After each test: the archive is that of the photos, and nothing else is left. Before its patches are undone."""
    del monkeypatch
    yield
    ((archive,),) = s3.buckets[ARCHIVES].values()
    assert unzipped(archive.content) == {key.removeprefix("photos/"): content for key, content in FILES.items()}
    assert s3.violations == []
    assert s3.unfinished() == []
    assert fake.objects.left == {}


def invited(fake: FakeCrew) -> list[Invitation]:
    """The invitations, once they are sent."""
    assert fake.queue.sent.wait(60)
    return fake.queue.invitations


def helping(other: Services, fake: FakeCrew, *, of: slice = slice(None)) -> Callable[[], None]:
    """A helper that takes the invitations of a slice, the first sent first."""

    def take() -> None:
        for invitation in invited(fake)[of]:
            help_with(other, invitation)

    return take


class Died(BaseException):
    """The builder is gone, with its job unfinished."""


def die(_: Call) -> None:
    raise Died


def build(builder: Services, attempt: int = 1, **more: Any) -> None:
    build_archive(PAYLOAD, delivery=delivery(attempt, correlation_id="c-1"), services=builder, **more)


@pytest.mark.parametrize("s3", ["full", "none"], indirect=True)
def test_others_build_all_but_the_directory(s3: FakeS3, builder: Services, other: Services, fake: FakeCrew) -> None:
    fake.at_first = helping(other, fake)
    seen: list[Progress] = []

    with logged() as lines:
        build(builder, on_progress=seen.append)

    done = seen[-1]
    assert (done.parts_done, done.step) == (done.parts_total, "completed")
    # the marker, the parts of the helper, and that of the directory
    assert s3.calls["put_part"] == 1 + done.parts_total
    assert fake.waits == 0
    assert fake.queue.correlation_ids == {"c-1"}
    assert {invitation.request_id for invitation in fake.queue.invitations} == {"request-1"}
    assert [line["turns"] for line in lines if line["event"] == "others are invited"] == [len(fake.queue.invitations)]


def test_nobody_comes(s3: FakeS3, builder: Services, fake: FakeCrew) -> None:
    build(builder)

    assert fake.waits == 0


def test_others_are_sent_the_back_first(builder: Services, fake: FakeCrew) -> None:
    fake.at_first = lambda: invited(fake)

    build(builder)

    begins = [invitation.begin for invitation in fake.queue.invitations]
    assert begins == sorted(begins, reverse=True)
    assert len(begins) > 1


@pytest.mark.parametrize("helped", [1, 2])
def test_some_is_brought(
    helped: int, s3: FakeS3, builder: Services, other: Services, fake: FakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_turns_of_a_chunk(monkeypatch)
    found: list[Help | None] = []
    fake.at_first = lambda: found.extend(help_with(other, invitation) for invitation in invited(fake)[:helped])

    build(builder)

    assert [done and done.chunks for done in found] == [1] * helped
    assert s3.calls["read"] == COUNT  # none twice


def test_many_help_at_once_with_one_stretch(s3: FakeS3, builder: Services, other: Services, fake: FakeCrew) -> None:
    found: list[Help | None] = []

    def help_all() -> None:
        with ThreadPoolExecutor(4) as threads:
            found.extend(threads.map(lambda invitation: help_with(other, invitation), invited(fake)))

    fake.at_first = help_all
    build(builder)

    assert sum(done.chunks for done in found if done) > 1
    assert s3.calls["read"] == COUNT  # none twice


def test_a_message_that_comes_again_takes_what_it_had_claimed_and_leaves_others_theirs(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew
) -> None:
    # given claims of a turn that died, and of one that is alive
    brought: list[Help | None] = []

    def claim() -> None:
        first, second, *_ = invited(fake)
        names = chunks_of(fake, first)
        fake.objects.put(first.folder, names[1], helpers_claim(first.number, RECEIVE))
        fake.objects.put(first.folder, names[2], helpers_claim(second.number, RECEIVE))
        # when its message comes again
        brought.append(help_with(other, first, redelivered=True))
        left = {name: fake.objects.get(first.folder, name) for name in names}
        assert left.pop(names[2]) == helpers_claim(second.number, RECEIVE)
        assert all(is_record(len(body)) for body in left.values() if body)
        fake.objects.delete(first.folder, [names[2]])

    fake.at_first = claim
    build(builder)

    assert brought[0] is not None
    assert s3.calls["read"] == COUNT


def test_claims_whose_answers_are_lost_are_theirs_who_sent_them(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = fake.objects.put

    def put_again(folder: str, name: str, body: bytes, *, new: bool = False) -> bool:
        put(folder, name, body, new=new)
        return put(folder, name, body, new=new)

    # given requests that are all sent twice, and a helper with some of the chunks
    monkeypatch.setattr(fake.objects, "put", put_again)
    with_turns_of_a_chunk(monkeypatch)
    found: list[Help | None] = []
    fake.at_first = lambda: found.append(help_with(other, invited(fake)[0]))
    build(builder)

    # then nobody waits for a chunk that nobody builds, and none is built twice
    assert [done and done.chunks for done in found] == [1]
    assert fake.waits == 0
    assert s3.calls["read"] == COUNT


def test_two_receives_of_a_message_at_once_build_nothing_twice(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew
) -> None:
    found: list[Help | None] = []

    def help_twice() -> None:
        with ThreadPoolExecutor(2) as threads:
            found.extend(threads.map(lambda invitation: help_with(other, invitation), invited(fake)[:1] * 2))

    fake.at_first = help_twice
    build(builder)

    assert sum(done.chunks for done in found if done) > 1
    assert s3.calls["read"] == COUNT


def test_a_helper_dies_with_its_claim(s3: FakeS3, builder: Services, fake: FakeCrew) -> None:
    def claim() -> None:
        invited(fake)
        fake.objects.put(fake.queue.invitations[0].folder, "00002", helpers_claim(0, RECEIVE))

    fake.at_first = claim
    with logged() as lines:
        build(builder)

    assert [line["chunk"] for line in lines if "not brought in time" in line["event"]] == [2]
    assert PATIENCE_SECONDS <= fake.now - 1000 < PATIENCE_SECONDS + 2


def test_a_builder_that_has_built_little_itself_waits_no_longer_for_that(
    s3: FakeS3, builder: Services, fake: FakeCrew
) -> None:
    # given a builder that takes ten seconds for its first chunk, while the others are claimed by who is dead
    def claim() -> None:
        for invitation in invited(fake):
            for name in chunks_of(fake, invitation):
                if name != chunk_name(0):
                    fake.objects.put(invitation.folder, name, helpers_claim(0, RECEIVE))
        fake.now += 10

    fake.at_first = claim
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake, "while_waiting", lambda: pytest.fail("it waits for ever") if fake.waits > 1_000 else None)
        build(builder)

    assert fake.now - 1010 < 60


@pytest.mark.parametrize("ahead", [0, 1])
def test_who_meets_one_claim_of_others_tries_no_more_of_theirs_than_it_has_asked_for(
    ahead: int, s3: FakeS3, other: Services, fake: FakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given helpers that have claimed all but the first chunk, and a builder whose parts are quick
    monkeypatch.setattr(archiver.archive.sharing, "AHEAD", ahead)
    builder = services(s3, crew=fake.crew(), options=of_quick_parts(OPTIONS))
    claimed: list[str] = []
    tried: list[int] = []

    def claim() -> None:
        for name in chunks_of(fake, invited(fake)[0])[1:]:
            claimed.append(name)
            fake.objects.put(fake.queue.invitations[0].folder, name, helpers_claim(0, RECEIVE))

    def bring() -> None:
        if not tried:
            tried.append(fake.objects.calls["put"])
            help_with(other, fake.queue.invitations[0], redelivered=True)

    fake.at_first, fake.while_waiting = claim, bring
    build(builder)

    # then the builder has claimed its own, and tried one of theirs, and what it asked for meanwhile
    assert len(claimed) > 2
    assert tried == [len([PLAN, *claimed]) + 2 + ahead]


def test_who_may_not_look_does_not_try_to_after_each_claim_of_others(builder: Services, fake: FakeCrew) -> None:
    looks: list[int] = []

    def claim() -> None:
        for name in chunks_of(fake, invited(fake)[0])[1:]:
            fake.objects.put(fake.queue.invitations[0].folder, name, helpers_claim(0, RECEIVE))
        fake.objects.denied.add("sizes")
        fake.objects.calls.clear()

    fake.at_first = claim
    fake.while_waiting = lambda: looks.append(fake.objects.calls["sizes"])
    build(builder)

    assert looks[0] == 1


def test_what_comes_late_is_waited_for(s3: FakeS3, builder: Services, other: Services, fake: FakeCrew) -> None:
    # given a helper that has claimed a stretch, and brings it while the builder waits
    def claim() -> None:
        for number in chunks_of(fake, invited(fake)[0]):
            fake.objects.put(fake.queue.invitations[0].folder, number, helpers_claim(0, RECEIVE))

    def bring() -> None:
        if fake.waits == 3:
            help_with(other, fake.queue.invitations[0], redelivered=True)

    fake.at_first, fake.while_waiting = claim, bring
    build(builder)

    assert fake.waits == 3
    assert s3.calls["read"] == COUNT


def test_who_can_not_see_what_came_for_once_looks_again(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = fake.objects.get

    def fail_once(folder: str, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        if fake.waits == 1:
            raise StorageUnavailable("SlowDown")
        return get(folder, name, start, stop)

    # given a helper that has claimed chunks and brings them while the builder waits, which fails to look in between
    def claim() -> None:
        for name in chunks_of(fake, invited(fake)[0])[-2:]:
            fake.objects.put(fake.queue.invitations[0].folder, name, helpers_claim(0, RECEIVE))

    def bring() -> None:
        if fake.waits == 3:
            help_with(other, fake.queue.invitations[0], redelivered=True)

    monkeypatch.setattr(fake.objects, "get", fail_once)
    fake.at_first, fake.while_waiting = claim, bring
    build(builder)

    assert fake.waits == 3
    assert s3.calls["read"] == COUNT


def chunks_of(fake: FakeCrew, invitation: Invitation) -> list[str]:
    """The names of an invitation's chunks."""
    block = fake.objects.get(invitation.folder, PLAN, invitation.start, invitation.stop)
    assert block is not None
    return [chunk_name(number) for number in read_block(block, zone=UTC).chunks]


@pytest.mark.parametrize("how", ["no JSON", "of another plan", "wrong CRC32", "wrong part", "gone"])
def test_a_record_that_is_none_is_no_harm(
    how: str, s3: FakeS3, builder: Services, other: Services, fake: FakeCrew
) -> None:
    def spoil() -> None:
        helping(other, fake, of=slice(0, 1))()
        (folder,) = fake.objects.folders
        for name, body in fake.objects.folders[folder].items():
            if name == PLAN or not is_record(len(body)):
                continue
            record = read_record(body)
            match how:
                case "no JSON":
                    spoilt = b"\xff" * 200
                case "of another plan":
                    spoilt = write_record(replace(record, digest="0" * 64))
                case "wrong CRC32":
                    spoilt = write_record(replace(record, crc32s=[crc32 ^ 1 for crc32 in record.crc32s]))
                case "wrong part":
                    parts = tuple(replace(part, number=part.number + 1) for part in record.parts)
                    spoilt = write_record(replace(record, parts=parts))
                case _:
                    # the record is as it was, but its parts have gone
                    (upload,) = s3.uploads.values()
                    for part in record.parts:
                        del upload.parts[part.number]
                    spoilt = body
            fake.objects.folders[folder][name] = spoilt

    fake.at_first = spoil
    with logged() as lines:
        build(builder)

    warnings = [line["event"] for line in lines if line["log_level"] == "warning"]
    assert any("of no use" in text or "are built again" in text for text in warnings)


def test_a_helper_that_comes_again_and_late_changes_nothing(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew
) -> None:
    fake.at_first = helping(other, fake)
    build(builder)
    archive = s3.content(ARCHIVES, next(iter(s3.buckets[ARCHIVES])))

    for invitation in fake.queue.invitations:
        assert help_with(other, invitation) is None
        assert help_with(other, invitation, redelivered=True) is None

    assert s3.content(ARCHIVES, next(iter(s3.buckets[ARCHIVES]))) == archive


def test_an_invitation_that_is_delivered_twice_is_built_once(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew
) -> None:
    def twice() -> None:
        invitation = invited(fake)[0]
        first, second = help_with(other, invitation), help_with(other, invitation)
        assert first is not None
        assert second is None

    fake.at_first = twice
    build(builder)

    assert s3.calls["read"] == COUNT


@pytest.mark.parametrize("denied", ["put", "get", "sizes", "delete"])
def test_without_a_right_the_job_goes_on(
    denied: str, s3: FakeS3, builder: Services, other: Services, fake: FakeCrew
) -> None:
    fake.objects.denied.add(denied)

    def help_if_invited() -> None:
        if denied != "put":
            with suppress(StorageUnavailable):
                help_with(other, invited(fake)[0])

    fake.at_first = help_if_invited
    with logged() as lines:
        build(builder)

    assert len([line for line in lines if line["log_level"] == "warning"]) <= 2
    fake.objects.folders.clear()  # the lifecycle rule's


def test_without_a_queue_the_job_goes_on_alone_and_says_so_once(builder: Services, fake: FakeCrew) -> None:
    fake.queue.down = True

    with logged() as lines:
        build(builder)

    warnings = [line for line in lines if line["log_level"] == "warning"]
    assert [line["event"] for line in warnings] == ["others can't be invited: the job goes on alone"]


@pytest.mark.parametrize("s3", ["full", "none"], indirect=True)
def test_who_follows_a_builder_that_died_takes_what_the_crew_has_brought(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew
) -> None:
    # given a builder that dies once others have brought everything
    fake.at_first = helping(other, fake)
    s3.before("complete", die, times=1)
    with pytest.raises(Died):
        build(builder)
    assert fake.objects.left
    reads = s3.calls["read"]

    # when its message comes again
    build(replace(builder, crew=fake.crew()), attempt=2)

    # then nothing is read again but what the builder had kept
    assert s3.calls["read"] == reads + KEPT


def test_who_cuts_the_plan_otherwise_than_the_builder_that_died_is_helped_all_the_same(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given records of other stretches, as another version makes them
    fake.at_first = helping(other, fake)
    s3.before("complete", die, times=1)
    with pytest.raises(Died):
        build(builder)
    reads = s3.calls["read"]
    monkeypatch.setattr(archiver.archive.chunks, "MOST_STRETCH", 10 * MIB)

    # when others build the chunks of the next attempt
    fake.queue.invitations.clear()
    fake.queue.sent.clear()
    with logged() as lines:
        build(replace(builder, crew=fake.crew()), attempt=2)

    # then what they bring is taken
    assert any("of no use" in line["event"] for line in lines)
    assert s3.calls["read"] == reads + COUNT
    assert fake.waits == 0


def test_the_claims_of_a_builder_that_died_are_nobodys(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew
) -> None:
    # given a builder that dies at the second part: one was its own from the start
    s3.before("put_part", die, skip=2, times=1)
    with pytest.raises(Died):
        build(builder)
    (names,) = fake.objects.folders.values()
    assert any(body.startswith(BUILDERS_CLAIM) and not is_record(len(body)) for body in names.values())

    # when another follows, others are invited to all of it
    fake.queue.invitations.clear()
    fake.queue.sent.clear()
    fake.at_first = helping(other, fake)
    build(replace(builder, crew=fake.crew()), attempt=2)

    assert fake.waits == 0


def test_a_source_that_changes_makes_helpers_step_back_and_the_builder_start_over(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew
) -> None:
    key = f"photos/{COUNT - 1:02}.jpg"
    stepped_back = []

    def change() -> None:
        s3.put_object(SOURCES, key, noise(3 * MIB, 99))
        try:
            help_with(other, invited(fake)[0])
        except ArchiverError as error:
            stepped_back.append(error.code)

    fake.at_first = change
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FILES, key, noise(3 * MIB, 99))
        build(builder)
        assert stepped_back == ["source_changed"]
        assert unzipped(s3.content(ARCHIVES, next(iter(s3.buckets[ARCHIVES])))) == {
            name.removeprefix("photos/"): content for name, content in FILES.items()
        }
    # for the fixture, which knows the sources as they were
    s3.put_object(SOURCES, key, FILES[key])
    s3.buckets[ARCHIVES].clear()
    build(builder, attempt=1)


def test_a_helper_in_the_middle_when_the_job_is_over_forgets(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew
) -> None:
    # given a helper that is stopped before it uploads its first part
    late: list[Any] = []

    def gone(_: Call) -> None:
        raise UploadGone

    def stopped() -> None:
        # what the builder keeps is there, and its next part waits for the test
        (upload,) = s3.uploads.values()
        assert eventually(lambda: len(upload.parts) == len(["marker", "kept"]))
        s3.before("put_part", gone, times=1)
        late.append(help_with(other, invited(fake)[0]))

    fake.at_first = stopped
    build(builder)

    assert late == [None]


def test_equal_parts_of_other_etags_are_completed_all_the_same(
    s3: FakeS3, builder: Services, other: Services, fake: FakeCrew
) -> None:
    """Where a KMS key encrypts, a part that is put again has another ETag."""

    def put_again(call: Call) -> None:
        (upload,) = s3.uploads.values()
        for number, (part, body) in list(upload.parts.items())[1:4]:
            upload.parts[number] = (replace(part, etag=f'"{len(part.etag)}{part.etag[1:]}'), body)

    fake.at_first = helping(other, fake)
    s3.before("complete", put_again, times=3)

    build(builder)

    assert s3.calls["complete"] == 4


def test_wrong_bytes_that_a_late_helper_puts_over_a_part_are_put_right(
    s3: FakeS3, builder: Services, fake: FakeCrew
) -> None:
    """As one of another version would, or one whose every read of an object without a CRC32 is wrong."""

    def put_over(_: Call) -> None:
        (upload,) = s3.uploads.values()
        for number in (1, 3):
            part, body = upload.parts[number]
            wrong = bytes(body[:-1]) + bytes([body[-1] ^ 1])
            upload.parts[number] = (replace(part, etag='"wrong"', crc32=zlib.crc32(wrong)), wrong)

    s3.before("complete", put_over, times=1)

    build(builder)

    assert s3.calls["complete"] == 2


def test_a_job_that_is_cancelled_meanwhile_ends(s3: FakeS3, builder: Services, other: Services, fake: FakeCrew) -> None:
    fake.at_first = helping(other, fake)

    def follow(progress: Progress) -> None:
        if progress.parts_done:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        build(builder, on_progress=follow)
    assert (fake.objects.left, s3.unfinished()) == ({}, [])

    fake.at_first = lambda: None
    build(replace(builder, crew=fake.crew()))


def test_a_small_job_invites_nobody_and_asks_s3_for_nothing_more(s3: FakeS3, fake: FakeCrew) -> None:
    with_crew, without = services(s3, crew=fake.crew(1 << 40)), services(s3)
    calls = []
    for one in (without, with_crew):
        s3.calls.clear()
        s3.buckets[ARCHIVES].clear()
        build(one)
        calls.append(dict(s3.calls))

    assert calls[0] == calls[1]
    assert not fake.objects.calls
    assert fake.queue.invitations == []


@pytest.mark.parametrize("s3", ["full", "none"], indirect=True)
def test_wrong_bytes_that_a_helper_reads_of_a_long_object_are_built_again(
    s3: FakeS3, fake: FakeCrew, other: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an object over several chunks, whose ranges tell no checksum, one of which a helper reads wrong
    monkeypatch.setitem(FILES, "photos/99.raw", noise(40 * MIB, 3))
    s3.put_object(SOURCES, "photos/99.raw", FILES["photos/99.raw"])
    reading = replace(OPTIONS, write_worth=1 << 40)
    fake.at_first = helping(replace(other, options=reading), fake)
    s3.before("read", flip, times=1, key="photos/99.raw")

    with logged() as lines:
        build(services(s3, crew=fake.crew(), options=reading))

    assert len([line for line in lines if "built again: bytes are not" in line["event"]]) == 1
