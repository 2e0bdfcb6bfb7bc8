"""The parts of a plan, built by threads that wait for one another."""

import io
import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from archiver.archive import parts as parts_module
from archiver.archive import width as width_module
from archiver.archive.blueprint import Blueprint, make_blueprint
from archiver.archive.carry import Carry
from archiver.archive.checksums import Checksums
from archiver.archive.location import Location
from archiver.archive.parallel import Threads, open_threads
from archiver.archive.parts import PartBuilder
from archiver.archive.plan import Part
from archiver.archive.storage import ArchiveObject, SourceStore
from archiver.archive.traffic import Traffic
from archiver.archive.upload import Upload
from archiver.archive.width import Width
from archiver.zipformat.crc import crc32_of_parts
from tests.support.fake_s3 import MIB, FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, noise, unzipped

NAMES = [f"{number}.txt" for number in range(20)]


def part_builder(
    blueprint: Blueprint, store: SourceStore, upload: Upload, threads: Threads, *, parts_in_flight: int, memory: int
) -> PartBuilder:
    return PartBuilder(
        layout=blueprint.layout,
        sources=blueprint.sources,
        checksums=Checksums(blueprint.layout.entries),
        store=store,
        upload=upload,
        threads=threads,
        carry=Carry(0),
        width=Width(parts_in_flight, parts_in_flight),
        memory=memory,
        on_part=lambda _: None,
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize("memory", [0, 1, 5 * MIB])
def test_two_parts_are_in_flight_however_little_memory_there_is(memory: int) -> None:
    # given an object without a checksum over three parts: its local header, in the first, waits for the last
    s3 = FakeS3()
    s3.create_bucket(SOURCES)
    s3.create_bucket(ARCHIVES)
    content = noise(13 * MIB)
    s3.put_object(SOURCES, "a", content, checksum="none")
    store = s3.objects(Traffic())
    source = store.head(Location(SOURCES, "a"))
    blueprint = make_blueprint(["a"], [source], part_size=5 * MIB, uncopyable={0})
    assert len(blueprint.parts) == 3
    upload = Upload(
        s3.archives(ARCHIVES)(Traffic()), ArchiveObject("a.zip", {}, None), digest=lambda: "d", resume=False
    )

    # when its parts are built in less memory than one of them takes
    with open_threads(parts=2, reads=2, copies=1) as threads:
        builder = part_builder(blueprint, store, upload, threads, parts_in_flight=6, memory=memory)
        parts = builder.run(blueprint.parts)
        crc32 = crc32_of_parts((part.crc32 or 0, part.size) for part in parts)
        archive = upload.complete(parts, crc32=crc32, size=blueprint.layout.size)

    # then nobody has waited for a part that could not begin
    assert archive.size == blueprint.layout.size
    assert unzipped(s3.content(ARCHIVES, "a.zip")) == {"a": content}


def test_a_plan_widens_by_parts_that_are_built_and_not_by_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(width_module, "QUICK", math.inf)
    s3 = FakeS3()
    s3.create_bucket(SOURCES)
    s3.create_bucket(ARCHIVES)
    s3.put_object(SOURCES, "a", noise(13 * MIB))
    store = s3.objects(Traffic())
    blueprint = make_blueprint(["a"], [store.head(Location(SOURCES, "a"))], part_size=5 * MIB, uncopyable={0})
    widths = []

    for resume in (False, True):
        upload = Upload(
            s3.archives(ARCHIVES)(Traffic()), ArchiveObject("a.zip", {}, None), digest=lambda: "d", resume=resume
        )
        width = Width(2, 8)
        with open_threads(parts=2, reads=2, copies=1) as threads:
            builder = part_builder(blueprint, store, upload, threads, parts_in_flight=2, memory=30 * MIB)
            replace(builder, width=width).run(blueprint.parts)
        widths.append(width.now)

    assert widths == [2 + len(blueprint.parts), 2]


@contextmanager
def builder_of_small_objects(sources: Callable[[Sequence[Any]], Sequence[Any]] = list) -> Iterator[PartBuilder]:
    """A builder of the one part of twenty small objects, whose sources it finds in what ``sources`` makes of them."""
    s3 = FakeS3()
    s3.create_bucket(SOURCES)
    s3.create_bucket(ARCHIVES)
    for name in NAMES:
        s3.put_object(SOURCES, name, name.encode())
    store = s3.objects(Traffic())
    blueprint = make_blueprint(NAMES, [store.head(Location(SOURCES, name)) for name in NAMES], part_size=5 * MIB)
    upload = Upload(
        s3.archives(ARCHIVES)(Traffic()), ArchiveObject("a.zip", {}, None), digest=lambda: "d", resume=False
    )
    with open_threads(parts=2, reads=2, copies=1) as threads:
        builder = part_builder(blueprint, store, upload, threads, parts_in_flight=2, memory=5 * MIB)
        yield replace(builder, sources=sources(blueprint.sources))


def literal_body(builder: PartBuilder) -> tuple[bytes, int]:
    body, crc32 = builder.literal_body(Part(1, 0, builder.layout.size, None, 0))
    return bytes(body), crc32


@pytest.mark.parametrize("piece", [1, 100, 1 << 20])
def test_the_directory_is_the_same_in_pieces_of_any_size(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "DIRECTORY_PIECE", piece)

    with builder_of_small_objects() as builder:
        archive, crc32 = literal_body(builder)

    assert zlib.crc32(archive) == crc32
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert {name: opened.read(name).decode() for name in opened.namelist()} == {name: name for name in NAMES}


def test_a_part_makes_each_source_once() -> None:
    made: Counter[int] = Counter()

    class Counted(list[Any]):
        def __getitem__(self, number: Any) -> Any:
            made[number] += 1
            return super().__getitem__(number)

    with builder_of_small_objects(Counted) as builder:
        literal_body(builder)

    assert made == dict.fromkeys(range(len(NAMES)), 1)
