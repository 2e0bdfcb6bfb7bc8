"""What a helper makes of an invitation, and of one that nobody should follow."""

import json
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import archiver.archive.helper
from archiver.archive.access import Access
from archiver.archive.blueprint import make_blueprint
from archiver.archive.chunks import COPY_WEIGHT, TURN
from archiver.archive.crew import BUILDERS_CLAIM, PLAN, chunk_name, helpers_claim, is_record
from archiver.archive.crew_plan import Invitation, digest_of, read_block, write_block
from archiver.archive.destination import Destinations
from archiver.archive.helper import Needless, _Claims, _Noted, _Turn, help_build
from archiver.archive.parallel import JobThreads
from archiver.archive.parts import CopiesRefused, PartBuilder
from archiver.archive.pipeline import Services, build_archive
from archiver.archive.plan import GIB
from archiver.archive.resolve import Limits
from archiver.archive.storage import SourceObject, UploadedPart
from archiver.archive.upload import LAST_NUMBER
from archiver.archive.width import WIDE, Width
from archiver.errors import LimitExceeded
from tests.support.fake_crew import FakeCrew, helper, with_turns_of_a_chunk
from tests.support.fake_s3 import MIB, FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, delivery, noise, of_quick_parts, services
from tests.support.waiting import eventually

PAYLOAD = {"files": [{"source": f"s3://{SOURCES}/photos/"}]}


class Stopped(BaseException):
    """The builder, gone with its job unfinished."""


@pytest.fixture
def s3() -> FakeS3:
    s3 = FakeS3()
    for number in range(8):
        s3.put_object(SOURCES, f"photos/{number}.jpg", noise(3 * MIB, number))
    return s3


@pytest.fixture
def fake(s3: FakeS3) -> FakeCrew:
    """A crew whose builder has invited others and gone."""
    fake = FakeCrew()

    def stop() -> None:
        assert fake.queue.sent.wait(60)
        raise Stopped

    fake.at_first = stop
    with pytest.raises(Stopped):
        build_archive(PAYLOAD, delivery=delivery(), services=services(s3, crew=fake.crew()))
    return fake


@pytest.fixture
def invitation(fake: FakeCrew) -> Invitation:
    return fake.queue.invitations[0]


@pytest.fixture
def other(s3: FakeS3, fake: FakeCrew) -> Services:
    return helper(services(s3), fake)


def test_it_tells_what_it_took(other: Services, fake: FakeCrew, invitation: Invitation, s3: FakeS3) -> None:
    (upload,) = s3.uploads.values()
    before = set(upload.parts)  # the marker, and what the builder kept

    done = help_build(invitation, services=other)

    brought = [len(body) for number, (_, body) in upload.parts.items() if number not in before]
    assert done.parts == len(brought) > 0
    assert done.bytes == sum(brought)
    assert done.chunks == len(fake.objects.folders[invitation.folder]) - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bucket": "elsewhere"}, "ALLOWED_DESTINATION_BUCKETS"),
        ({"key": "archiver-crew/x"}, "keeps objects of its own"),
        ({"key": "others/report.zip"}, "ALLOWED_DESTINATION_PREFIXES"),
        ({"stop": 1 << 40}, "a block of bytes"),
        ({"start": 99, "stop": 99}, "a block of bytes"),
        ({"key": "reports/another.zip"}, "of another upload"),
        ({"upload_id": "another"}, "of another upload"),
        ({"folder": "0" * 64}, "of another upload"),
    ],
)
def test_it_writes_nowhere_that_a_payload_could_not(
    change: dict[str, Any], message: str, other: Services, invitation: Invitation, s3: FakeS3
) -> None:
    other = replace(other, destinations=Destinations(ARCHIVES, (), ("reports/",), reserved=("archiver-crew/",)))
    before = s3.calls["put_part"]

    with pytest.raises(LimitExceeded, match=message):
        help_build(invitation.model_copy(update=change), services=other)

    assert s3.calls["put_part"] == before


def test_it_reads_nothing_that_a_payload_could_not(other: Services, invitation: Invitation, s3: FakeS3) -> None:
    other = replace(other, limits=Limits(1_000, 1 << 40, Access(("public",))))
    before = s3.calls["read"]

    with pytest.raises(LimitExceeded, match="ALLOWED_SOURCE_BUCKETS"):
        help_build(invitation, services=other)

    assert s3.calls["read"] == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": 1 << 20, "stop": (1 << 20) + 1}, "the plan is another"),
        ({"digest": "0" * 64}, "the plan is another"),
    ],
)
def test_a_plan_that_is_another_is_needless(
    change: dict[str, Any], message: str, other: Services, invitation: Invitation
) -> None:
    with pytest.raises(Needless, match=message):
        help_build(invitation.model_copy(update=change), services=other)


def test_a_job_that_is_over_is_needless(other: Services, invitation: Invitation, s3: FakeS3, fake: FakeCrew) -> None:
    s3.uploads.clear()
    before = set(fake.objects.folders[invitation.folder])
    with pytest.raises(Needless, match="the upload is over"):
        help_build(invitation, services=other)

    # and what it has claimed after the job had cleared the folder it has deleted
    assert set(fake.objects.folders[invitation.folder]) == before

    fake.objects.folders.clear()
    with pytest.raises(Needless, match="the job is over"):
        help_build(invitation, services=other)


def test_an_invitation_that_comes_late_costs_two_looks_and_the_plan(
    other: Services, invitation: Invitation, fake: FakeCrew
) -> None:
    for number in range(invitation.first, invitation.last + 1):
        fake.objects.put(invitation.folder, chunk_name(number), BUILDERS_CLAIM)
    fake.objects.calls.clear()

    with pytest.raises(Needless, match="others have begun it"):
        help_build(invitation, services=other)

    assert fake.objects.calls == {"has": 1, "sizes": 1, "get": 1}


def test_who_finds_its_first_chunk_begun_takes_another(other: Services, invitation: Invitation, fake: FakeCrew) -> None:
    fake.objects.put(invitation.folder, chunk_name(invitation.begin), BUILDERS_CLAIM)

    done = help_build(invitation, services=other)

    assert done.chunks == invitation.last - invitation.first


@pytest.mark.parametrize("change", [{"first": 1}, {"last": 0}, {"last": 9_000}, {"first": 0, "last": 9_999}])
def test_chunks_that_are_not_the_plans_are_refused(
    change: dict[str, int], other: Services, invitation: Invitation, s3: FakeS3
) -> None:
    before = s3.calls["put_part"]

    with pytest.raises(LimitExceeded, match="the plan has other chunks"):
        help_build(invitation.model_copy(update=change), services=other)

    assert s3.calls["put_part"] == before


def test_no_claim_is_as_long_as_a_record() -> None:
    assert not is_record(len(helpers_claim(LAST_NUMBER, "a" * 6)))


def test_one_that_begins_elsewhere_begins_somewhere(other: Services, invitation: Invitation) -> None:
    assert help_build(invitation.model_copy(update={"begin": 9_000}), services=other).chunks


def test_who_has_no_crew_helps_nobody(s3: FakeS3, invitation: Invitation) -> None:
    with pytest.raises(Needless, match="SQS_CREW_QUEUE"):
        help_build(invitation, services=services(s3))


def test_who_keeps_other_hours_helps_nobody(other: Services, invitation: Invitation) -> None:
    other = replace(other, options=replace(other.options, zone=ZoneInfo("Europe/Berlin")))

    with pytest.raises(Needless, match="TIMEZONE=UTC"):
        help_build(invitation, services=other)


def _with(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda block: block.update(changes)


def _chunks(change: Callable[[list[Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda block: change(block["chunks"][0][1])


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_with(chunks=[]), id="no chunks"),
        pytest.param(_with(entries=[]), id="no entries"),
        pytest.param(_with(buckets=[]), id="no buckets"),
        pytest.param(_with(skip=-1), id="negative"),
        pytest.param(_chunks(lambda parts: parts[0].__setitem__(1, 1 << 35)), id="part of 32 GiB"),
        pytest.param(_chunks(lambda parts: parts[0].__setitem__(0, 10_000)), id="number of the marker"),
        pytest.param(_chunks(lambda parts: parts[0].__setitem__(2, 99)), id="copy of no entry"),
        pytest.param(_chunks(lambda parts: parts[0].__setitem__(2, 0)), id="copy of another place"),
        pytest.param(_chunks(lambda parts: parts.extend(parts * 99)), id="beyond the entries"),
        pytest.param(lambda block: block["entries"][0].__setitem__(1, -5), id="negative size"),
        pytest.param(lambda block: block["entries"][0].__setitem__(3, 1 << 32), id="CRC32 of 33 bits"),
        pytest.param(lambda block: block["entries"][0].__setitem__(0, "x/"), id="directory with content"),
        pytest.param(lambda block: block["entries"][0].pop(), id="too few fields"),
    ],
)
def test_a_plan_that_is_none_is_refused(
    spoil: Callable[[dict[str, Any]], Any], other: Services, fake: FakeCrew, invitation: Invitation
) -> None:
    plan = fake.objects.folders[invitation.folder][PLAN]
    block = json.loads(zlib.decompress(plan[invitation.start : invitation.stop]))
    assert read_block(zlib.compress(json.dumps(block).encode()), zone=UTC).chunks
    spoil(block)
    spoilt = zlib.compress(json.dumps(block).encode())
    fake.objects.folders[invitation.folder][PLAN] = spoilt
    invitation = invitation.model_copy(update={"start": 0, "stop": len(spoilt), "digest": digest_of(spoilt)})

    with pytest.raises(Needless, match="can't be read"):
        help_build(invitation, services=other)


@pytest.mark.parametrize("item", ["0,", "[],", '["a",0,0,null,0,"k","e"],'])
def test_a_block_of_millions_of_faults_is_refused_for_the_first(item: str) -> None:
    block = '{"zone":"UTC","skip":0,"chunks":[[0,[[1,5,-1,0]]]],"buckets":["b"],"entries":['
    packed = zlib.compress(f"{block}{item * 100_000}[]]}}".encode())

    with pytest.raises(ValueError, match="entries") as refused:
        read_block(packed, zone=UTC)

    assert len(str(refused.value)) < 2_000


def test_a_block_that_unpacks_to_more_than_any_stretch_has_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 16777216 bytes"):
        read_block(zlib.compress(b"[" + b"0," * (8 << 20)), zone=UTC)


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no zlib", id="no zlib"),
        pytest.param(zlib.compress(b"{}" * 99)[:-4], id="cut"),
        pytest.param(zlib.compress(b"\xff"), id="no text"),
    ],
)
def test_bytes_that_are_no_block_are_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"block|JSON"):
        read_block(packed, zone=UTC)


@pytest.fixture
def ending(fake: FakeCrew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks what there is finds that the job is over, and has cleared what it had shared."""
    sizes = fake.objects.sizes

    def clear(folder: str) -> dict[str, int]:
        fake.objects.folders[folder].clear()
        return sizes(folder)

    monkeypatch.setattr(fake.objects, "sizes", clear)


@pytest.mark.usefixtures("ending")
def test_who_looks_once_the_job_is_over_leaves_nothing(other: Services, invitation: Invitation, fake: FakeCrew) -> None:
    fake.objects.put(invitation.folder, chunk_name(invitation.begin), BUILDERS_CLAIM)

    with pytest.raises(Needless, match="the job is over"):
        help_build(invitation, services=other)

    assert fake.objects.left == {}


@pytest.mark.usefixtures("ending")
def test_who_has_begun_when_the_job_is_over_leaves_nothing_either(
    other: Services, invitation: Invitation, fake: FakeCrew, s3: FakeS3
) -> None:
    # given a helper of quick parts, which claims ahead, and whose second claim finds somebody's
    fake.objects.put(invitation.folder, chunk_name(invitation.begin - 1), BUILDERS_CLAIM)

    with pytest.raises(Needless, match="the job is over"):
        help_build(invitation, services=replace(other, options=of_quick_parts(other.options)))

    assert s3.calls["put_part"] > 1
    assert fake.objects.left == {}


def test_who_claims_ahead_claims_no_more_than_its_turn(
    other: Services, invitation: Invitation, fake: FakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_turns_of_a_chunk(monkeypatch)

    done = help_build(invitation, services=replace(other, options=of_quick_parts(other.options)))

    assert done.chunks == 1
    assert fake.objects.left == {invitation.folder: sorted([PLAN, chunk_name(invitation.begin)])}


def test_letting_go_of_a_claim_deletes_no_record(other: Services, invitation: Invitation, fake: FakeCrew) -> None:
    # given a receive of an invitation that has asked ahead
    with JobThreads(4, "crew") as threads:
        first = _Claims(fake.objects, invitation, threads)
        while len(first.asked) < 3 and first.ask():
            pass
        asked = first.asked
        assert eventually(lambda: all(fake.objects.has(invitation.folder, chunk_name(number)) for number in asked))
        # when its message is received again, which builds what the first has asked for, and the first one fails
        assert help_build(invitation, services=other, redelivered=True).chunks
        first.close()

    there = fake.objects.folders[invitation.folder]
    assert [number for number in asked if is_record(len(there.get(chunk_name(number), b"")))] == asked


def test_a_turn_that_is_quick_goes_on(other: Services, invitation: Invitation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver.archive.helper, "TURN", 1)

    assert help_build(invitation, services=other).chunks == invitation.last - invitation.first + 1 > 1


def test_of_several_claims_that_are_refused_one_look_tells_the_rest(
    other: Services, invitation: Invitation, fake: FakeCrew
) -> None:
    # given a helper that claims ahead, of chunks of which somebody has begun all but its first one
    for number in range(invitation.first, invitation.last):
        fake.objects.put(invitation.folder, chunk_name(number), BUILDERS_CLAIM)
    fake.objects.calls.clear()

    done = help_build(invitation, services=replace(other, options=of_quick_parts(other.options)))

    assert (done.chunks, fake.objects.calls["sizes"]) == (1, 1)


def test_who_is_invited_again_reads_no_claims_but_those_that_may_be_its_own(
    other: Services, invitation: Invitation, fake: FakeCrew
) -> None:
    # given claims of the builder, but one that is a turn's of this message
    own = invitation.first
    for number in range(own + 1, invitation.last + 1):
        fake.objects.put(invitation.folder, chunk_name(number), BUILDERS_CLAIM + b"a1b2c3")
    fake.objects.put(invitation.folder, chunk_name(own), helpers_claim(invitation.number, "a1b2c3"))
    fake.objects.calls.clear()

    done = help_build(invitation, services=other, redelivered=True)

    assert done.chunks == 1
    assert fake.objects.calls["get"] == len(["plan", "claim"])


def test_a_turn_takes_on_no_more_copies_than_its_weight_however_quickly(
    other: Services, invitation: Invitation, fake: FakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a plan that is all copies, which nobody has to wait for to take on the next
    names = [f"{number:03}" for number in range(200)]
    films = [SourceObject("films", name, GIB, "etag", 1_700_000_000, None, 1) for name in names]
    blueprint = make_blueprint(names, films, part_size=8 * MIB)
    found = fake.crew(min_weight=64 * MIB).cut(blueprint)
    assert found is not None
    (stretch,) = found.stretches
    block = write_block(blueprint.layout, blueprint.sources, stretch)
    assert block is not None
    stretched = invitation.model_copy(update={"first": 0, "last": len(stretch) - 1, "begin": len(stretch) - 1})
    fake.objects.folders[invitation.folder] = {PLAN: block}
    with JobThreads(4, "crew") as threads:
        claims = _Claims(fake.objects, stretched, threads)
        plan = read_block(block, zone=UTC)
        turn = _Turn(plan, claims, _Noted(plan.layout.entries), {}, Width(1, WIDE), until=time.monotonic() + 3600)
        recorded: list[int] = []
        monkeypatch.setattr(turn, "_record", recorded.append)

        begun = list(turn.parts(lambda: False))

        # then it ends with its weight
        assert TURN <= COPY_WEIGHT * len(begun) < TURN + 2 * found.chunks[0].weight
        assert len(begun) < sum(len(chunk.parts) for chunk in stretch) // 2
        # and once the copies are there it would have gone on
        for part in begun:
            turn.on_part(part)
        assert recorded
        assert list(turn.parts(lambda: False))
        claims.close()


def test_who_is_refused_a_copy_lets_go_of_what_it_has_not_built(
    other: Services, invitation: Invitation, fake: FakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an S3 that refuses a helper its copies once it has built a chunk, and a job that has cleared the folder
    there = dict(fake.objects.folders[invitation.folder])

    def refuse(builder: PartBuilder, turn: _Turn) -> dict[int, UploadedPart]:
        next(turn.parts(lambda: False))
        raise CopiesRefused({0: "AccessDenied"}, set())

    monkeypatch.setattr(PartBuilder, "follow", refuse)

    with pytest.raises(Needless, match="AccessDenied"):
        help_build(invitation, services=other)

    assert fake.objects.folders[invitation.folder] == there
