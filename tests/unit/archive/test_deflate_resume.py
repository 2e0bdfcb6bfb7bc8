"""A deflated archive whose worker died: what S3 has of it is neither read nor deflated again."""

import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from archiver.archive.build import Options
from archiver.archive.checkpoint import Checkpoint, Cut, EndedEntries, decode
from archiver.archive.pipeline import build_archive
from archiver.archive.traffic import Traffic
from archiver.errors import StorageUnavailable
from tests.support.disturbances import Killed, kill, raising
from tests.support.fake_s3 import MIB, Checksum, FakeS3, flip
from tests.support.jobs import (
    ARCHIVES,
    OPTIONS,
    SOURCES,
    FakeCheckpoints,
    delivery,
    logged,
    noise,
    services,
    text,
    unzipped,
)


@cache
def _airy(seed: int) -> bytes:
    block = noise(3 * MIB, seed=seed)
    return b"".join(block[at : at + 3400] + bytes(700) for at in range(0, len(block), 3400))


def airy(size: int, seed: int = 0) -> bytes:
    """Content that deflates to five sixths: parts fill soon."""
    return (_airy(seed) * (size // len(_airy(seed)) + 1))[:size]


#: Objects by key, each set with another place for the cuts: between entries, within them, within one.
SHAPES: dict[str, Callable[[], dict[str, bytes]]] = {
    "many small": lambda: {f"{n:02}.csv": airy(3 * MIB, seed=n) for n in range(12)},
    "some larger": lambda: {f"{n}.csv": airy(9 * MIB + n, seed=n) for n in range(4)},
    "one large": lambda: {"large.csv": airy(28 * MIB)},
    "mixed": lambda: {
        "a.csv": airy(3 * MIB),
        "b.jpg": noise(6 * MIB),
        "c.csv": airy(16 * MIB, seed=2),
        "d.bin": noise(6 * MIB, seed=3),
        "e.csv": airy(6 * MIB, seed=4),
        "f.csv": airy(4 * MIB, seed=5),
        "g.csv": airy(7 * MIB, seed=6),
    },
}


class World:
    """One job, and what it takes from attempt to attempt."""

    def __init__(self, contents: dict[str, bytes], *, checksum: Checksum = "full", options: Options = OPTIONS) -> None:
        self.s3 = FakeS3()
        self.checkpoints = FakeCheckpoints()
        self.contents = contents
        self.options = options
        for key, content in contents.items():
            self.s3.put_object(SOURCES, key, content, checksum=checksum)

    @property
    def payload(self) -> dict[str, object]:
        return {"files": [{"source": key} for key in self.contents], "compression": "auto"}

    def attempt(self, number: int = 1) -> Traffic:
        """What an attempt moves."""
        traffic = Traffic()
        result = build_archive(
            self.payload,
            delivery=delivery(number),
            services=services(self.s3, options=self.options, checkpoints=self.checkpoints),
            traffic=traffic,
        )
        self.key = result.key
        return traffic

    def die(self, parts: int, *, number: int = 1) -> None:
        """An attempt whose worker is killed once so many parts, the marker not counted, were put."""
        self.s3.before("put_part", kill, skip=parts + (number == 1))
        with pytest.raises(Killed):
            self.attempt(number)
        self.s3.heal()

    @property
    def archive(self) -> bytes:
        return self.s3.content(ARCHIVES, self.key)

    def is_right(self) -> None:
        assert unzipped(self.archive) == self.contents
        assert self.s3.unfinished() == []
        assert self.s3.violations == []


@pytest.fixture(scope="module")
def whole() -> dict[str, tuple[int, int, bytes]]:
    """For each shape what a whole run reads, the parts that it puts, and its archive."""
    found = {}
    for name, make in SHAPES.items():
        world = World(make())
        traffic = world.attempt()
        found[name] = (traffic.bytes_read, traffic.uploads - 1, world.archive)
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_half_of_it_is_not_read_again(shape: str, whole: dict[str, tuple[int, int, bytes]]) -> None:
    read, parts, archive = whole[shape]
    world = World(SHAPES[shape]())
    world.die(parts // 2)

    again = world.attempt(2)

    world.is_right()
    assert world.archive == archive
    # Parts here are of 5 MiB, some of ten: what waits, what was being put and what was open are a few of them.
    assert again.bytes_read <= 0.8 * read
    assert again.uploads < parts


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [pytest.param(shape, marks=[pytest.mark.chaos] if shape != "mixed" else []) for shape in SHAPES]
)
def test_wherever_it_dies_the_archive_is_the_same(shape: str, whole: dict[str, tuple[int, int, bytes]]) -> None:
    _, parts, archive = whole[shape]
    for dead in range(1, parts):
        world = World(SHAPES[shape]())
        world.die(dead)

        world.attempt(2)

        world.is_right()
        assert world.archive == archive, dead


def test_it_may_die_again_and_again(whole: dict[str, tuple[int, int, bytes]]) -> None:
    world = World(SHAPES["mixed"]())
    world.die(2)
    for number in range(2, 5):
        world.die(1, number=number)

    world.attempt(5)

    world.is_right()
    assert world.archive == whole["mixed"][2]


def test_what_is_stored_after_it_finds_all_of_it_deflated() -> None:
    contents = {f"{n}.csv": airy(6 * MIB, seed=n) for n in range(4)} | {
        f"{n}.bin": noise(6 * MIB, seed=n) for n in range(5)
    }
    world = World(contents)
    # given a worker that dies among the copies and literal parts
    world.s3.before("copy_part", kill)
    world.s3.before("put_part", kill, skip=6)
    with pytest.raises(Killed):
        world.attempt()
    world.s3.heal()

    again = world.attempt(2)

    world.is_right()
    # the last blocks of the deflated stretch, which were in no part, and the trials of what is stored
    assert again.bytes_read <= 16 * MIB + 5 * 6 * MIB


def test_a_job_of_one_part_has_no_checkpoint() -> None:
    world = World({"a.csv": text(MIB), "b.bin": noise(1000)})

    world.attempt()

    assert world.checkpoints.calls == []
    world.is_right()


def test_a_bucket_that_denies_them_costs_a_warning_or_three() -> None:
    world = World(SHAPES["many small"]())
    world.checkpoints.denied = True
    with logged() as lines:
        world.die(4)
        read = world.attempt(2).bytes_read

    assert unzipped(world.archive) == world.contents
    assert read >= sum(map(len, world.contents.values()))
    warned = [line["event"] for line in lines if "checkpoint" in line["event"] and line["log_level"] == "warning"]
    assert 2 <= len(warned) <= 7


@pytest.mark.parametrize("spoilt", ["torn", "no checkpoint", "of another plan"])
def test_one_that_can_not_be_used_is_not(spoilt: str) -> None:
    world = World(SHAPES["many small"]())
    world.die(4)
    ((name, body),) = world.checkpoints.bodies.items()
    if spoilt == "of another plan":
        world.options = replace(OPTIONS, part_size=6 * MIB)
    else:
        world.checkpoints.bodies[name] = body[:-9] if spoilt == "torn" else b"{}"

    with logged() as lines:
        read = world.attempt(2).bytes_read

    world.is_right()
    assert read >= sum(map(len, world.contents.values()))
    assert any(line["event"].startswith("deflating from the start") for line in lines)


@pytest.mark.parametrize(
    "cut",
    [Cut(1, 0, 99, 0, header=1), Cut(1, 0, 0, 99 * MIB, header=1), Cut(1, 1, 99, 0)],
    ids=["index", "offset", "end"],
)
def test_one_of_other_sources_is_not_followed(cut: Cut) -> None:
    world = World(SHAPES["many small"]())
    world.die(4)
    ((name, body),) = world.checkpoints.bodies.items()
    right = decode(body)
    entries = EndedEntries()
    entries.append(0 if cut.header else 99, compressed_size=1, crc32=1)
    (upload_id,) = world.s3.unfinished()
    part = world.s3.uploads[upload_id].parts[1][0]
    wrong = Checkpoint(right.digest, entries, [replace(cut, size=part.size)], [part.crc32])
    world.checkpoints.bodies[name] = wrong.encode()

    world.attempt(2)

    world.is_right()


def test_a_part_that_is_another_in_s3_is_made_again() -> None:
    world = World(SHAPES["many small"]())
    world.die(4)
    # given a second part that somebody else has put
    (upload_id,) = world.s3.unfinished()
    uploads = world.s3.archives(ARCHIVES)(Traffic())
    key = world.s3.uploads[upload_id].archive.key
    size = uploads.parts_of(key, upload_id)[2].size
    uploads.put_part(key, upload_id, 2, bytes(size), crc32=zlib.crc32(bytes(size)))

    world.attempt(2)

    world.is_right()


def test_a_lost_upload_leaves_a_checkpoint_of_no_use() -> None:
    world = World(SHAPES["many small"]())
    world.die(4)
    world.s3.uploads.clear()

    world.attempt(2)

    world.is_right()


def test_bits_that_flip_while_a_part_is_made_again_are_found(whole: dict[str, tuple[int, int, bytes]]) -> None:
    """What the missing part held was read before: it must come out the same, or all is deflated again."""
    world = World(SHAPES["one large"]())
    world.die(2)
    world.s3.before("read", flip, times=1)

    with logged() as lines:
        world.attempt(2)

    world.is_right()
    assert world.archive == whole["one large"][2]
    (line,) = [line for line in lines if line["event"].startswith("deflated again")]
    assert line["reason"] == "part 1 has not come out again as it was"


@pytest.mark.parametrize("checksum", ["composite", "none"])
def test_without_checksums_of_s3_it_goes_on_as_well(
    checksum: Checksum, whole: dict[str, tuple[int, int, bytes]]
) -> None:
    world = World(SHAPES["some larger"](), checksum=checksum)
    world.die(3)

    world.attempt(2)

    world.is_right()


def test_a_server_that_tells_no_checksums_of_parts_is_not_trusted() -> None:
    world = World(SHAPES["many small"]())
    world.die(4)
    for upload in world.s3.uploads.values():
        upload.parts = {
            number: (part if number > 9_000 else replace(part, crc32=None), body)
            for number, (part, body) in upload.parts.items()
        }

    read = world.attempt(2).bytes_read

    world.is_right()
    assert read >= sum(map(len, world.contents.values()))


def test_two_attempts_at_once_end_with_one_archive(whole: dict[str, tuple[int, int, bytes]]) -> None:
    """Another attempt goes on with the upload while the first one still puts parts, and overwrites its checkpoints."""
    world = World(SHAPES["some larger"]())
    seconds: list[Traffic] = []

    def overtake(_: object) -> None:
        seconds.append(world.attempt(2))

    world.s3.before("put_part", overtake, skip=4, times=1)

    world.attempt()

    assert len(seconds) == 1
    world.is_right()
    assert world.archive == whole["some larger"][2]


def test_a_job_that_fails_for_now_keeps_its_checkpoint() -> None:
    world = World(SHAPES["many small"]())
    world.die(2)
    world.s3.before("read", raising(StorageUnavailable("away")), skip=2)

    with pytest.raises(StorageUnavailable):
        world.attempt(2)

    world.s3.heal()
    assert world.attempt(3).bytes_read < sum(map(len, world.contents.values()))
    world.is_right()
