"""Time and memory of everything that happens before a byte moves: ``python -m benchmarks.planning [ENTRIES]``.

From the payload, or with ``--manifest`` from a manifest that lists as many, to the list of parts, with an S3 that
answers at once and holds no list in memory: what is left is the engine's own work. Then the plan as it is shared with
other workers, all of it read, as if nothing were copied.
"""

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice

from archiver.archive.access import Access
from archiver.archive.blueprint import make_blueprint
from archiver.archive.chunks import chunk_weight, cut, weight_of
from archiver.archive.crew_plan import read_block, write_block
from archiver.archive.location import Location
from archiver.archive.manifests import read_manifests
from archiver.archive.plan import bytes_copied, bytes_literal, plan_parts
from archiver.archive.request import parse_request
from archiver.archive.resolve import Limits, resolve
from archiver.archive.storage import ListedPage, OnRead, Read, SourceObject
from archiver.archive.streamed_body import Arriving

KIB = 1024
MIB = 1024 * KIB
#: Sizes of the objects, the small ones more often.
SIZES = (20 * KIB, 20 * KIB, 20 * KIB, 300 * KIB, 3 * MIB, 12 * MIB)
#: Folders that the objects lie in.
FOLDERS = 1000
BUCKET = "photos"
MANIFEST = "manifest.csv"
HEADER = b"source,destination\n"
#: The order in which the objects are asked for is that of the multiples of a prime: no two neighbours side by side.
STRIDE = 15_485_863


@dataclass(frozen=True, slots=True)
class InstantSources:
    """``count`` objects, each with its CRC32, and a manifest of all of them; all of it made as it is asked for."""

    count: int

    def asked(self) -> Iterator[tuple[str, str]]:
        """Sources and destinations in the order of the payload."""
        for index in range(self.count):
            yield self._row(index)

    def head(self, location: Location) -> SourceObject:
        if location.key == MANIFEST:
            return SourceObject(BUCKET, MANIFEST, len(HEADER) + self.count * self._width(), '"m"', 1_700_000_000)
        return self._object(location.key)

    def fetch_small(self, location: Location, *, limit: int) -> SourceObject:
        del limit
        return self.head(location)

    def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]:
        del prefix, after
        return iter(())

    def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
        keys = islice(self._keys_behind(after.key), 1000)
        return [self._object(key) for key in keys if key.startswith(prefix)]

    def part_checksums(self, source: SourceObject) -> None:
        del source

    def read_all(self, reads: Sequence[Read], on_read: OnRead | None = None) -> list[int | None]:
        """Bytes of the manifest, the only object whose content is asked for."""
        for number, read in enumerate(reads):
            skipped = max(0, read.start - len(HEADER))
            lines = bytearray(HEADER[read.start :])
            for index in range(skipped // self._width(), self.count):
                if len(lines) >= len(read.target) + self._width():
                    break
                lines += ",".join(self._row(index)).encode() + b"\n"
            begin = skipped % self._width()
            read.target[:] = lines[begin : begin + len(read.target)]
            if on_read is not None:
                on_read(number, None)
        return [None] * len(reads)

    def tells_crc32(self, bucket: str) -> bool:
        del bucket
        return False

    def opened(self, sources: Sequence[SourceObject]) -> AbstractContextManager[Sequence[Arriving]]:
        raise NotImplementedError  # no plan asks for it

    def crc32(self, source: SourceObject, start: int, stop: int) -> int:
        raise NotImplementedError  # no plan asks for it

    def _row(self, index: int) -> tuple[str, str]:
        number = index * STRIDE % self.count
        return _key(number), f"{number % 100:02d}/"

    def _width(self) -> int:
        return len(",".join(self._row(0))) + 1

    def _keys_behind(self, key: str) -> Iterator[str]:
        number = _number(key)
        if key >= _key(number):
            number += FOLDERS
        for folder in range(_number(key) % FOLDERS, FOLDERS):
            while number < self.count:
                yield _key(number)
                number += FOLDERS
            number = folder + 1

    @staticmethod
    def _object(key: str) -> SourceObject:
        number = _number(key)
        size, modified = SIZES[number % len(SIZES)], 1_700_000_000 + number
        return SourceObject(BUCKET, key, size=size, etag=f'"{number:032x}"', modified=modified, crc32=number)


def _key(number: int) -> str:
    return f"photos/{number % FOLDERS:03d}/{number:08d}.jpg"


def _number(key: str) -> int:
    """Of a key, or of what comes shortly before one."""
    return int(key[11:19])


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print how long a step took, and the peak memory of the process until then."""
    started, used = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    print(f"{title:<32} {wall:6.2f} s   {cpu:6.2f} s of CPU   {peak:4.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning", description=__doc__)
    parser.add_argument("entries", nargs="?", type=int, default=100_000)
    parser.add_argument("--manifest", action="store_true", help="the files are a manifest's, not the payload's own")
    options = parser.parse_args()
    count = options.entries
    sources = InstantSources(count)
    with step("nothing but imports"):
        pass
    payload: dict[str, object] = {"manifest": MANIFEST}
    if not options.manifest:
        payload = {"files": [{"source": source, "destination": place} for source, place in sources.asked()]}
    with step("all of it"):
        with step("validate the payload"):
            request = parse_request(payload, max_files=count, default_bucket=BUCKET)
            request = read_manifests(
                request, store=sources, access=Access(), max_files=count, source_bucket=BUCKET
            ).request
        with step("resolve (S3 answers at once)"), ThreadPoolExecutor(32) as executor:
            resolution = resolve(
                request,
                sources=sources,
                executor=executor,
                window=64,
                limits=Limits(max_files=count, max_archive_bytes=1 << 60),
            )
        with step("lay out and plan"):
            blueprint = make_blueprint(resolution.names, resolution.sources, part_size=8 * MIB)
    layout, parts = blueprint.layout, blueprint.parts
    read = plan_parts(layout, copyable=lambda _: False)
    with step("share out, write the plan"):
        weight = weight_of(layout, read)
        shared = cut(layout, resolution.sources, read, most=chunk_weight(weight, least_job=1024 * MIB))
        blocks = [write_block(layout, resolution.sources, stretch) or b"" for stretch in shared.stretches]
    with step("read the largest block"):
        read_block(max(blocks, key=len), zone=layout.zone)
    print(
        f"plan of {sum(map(len, blocks)) / MIB:.1f} MiB, {len(shared.chunks):,} chunks in {len(blocks):,} stretches, "
        f"the largest of {max(map(len, blocks)) / KIB:,.0f} KiB"
    )
    print(
        f"{count:,} entries, {layout.size / MIB:,.0f} MiB, {len(parts):,} parts; of the bytes S3 copies "
        f"{bytes_copied(parts) / layout.size:.0%}, the worker sends {bytes_literal(parts) / layout.size:.0%}"
    )


if __name__ == "__main__":
    main()
