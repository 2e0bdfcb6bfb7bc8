"""Time and memory of everything that happens before a byte moves: ``python -m benchmarks.planning [ENTRIES]``.

From the payload to the list of parts, with an S3 that answers at once: what is left is the engine's own work. Then the
plan as it is shared with other workers, all of it read, as if nothing were copied.
"""

import random
import resource
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from archiver.archive.chunks import chunk_weight, cut, weight_of
from archiver.archive.crew_plan import read_block, write_block
from archiver.archive.location import Location
from archiver.archive.plan import bytes_copied, bytes_literal, plan_parts
from archiver.archive.request import parse_request
from archiver.archive.resolve import Limits, resolve
from archiver.archive.storage import SourceObject
from archiver.zipformat.entry import Entry
from archiver.zipformat.layout import Layout

KIB = 1024
MIB = 1024 * KIB
#: Sizes of the objects, the small ones more often.
SIZES = (20 * KIB, 20 * KIB, 20 * KIB, 300 * KIB, 3 * MIB, 12 * MIB)


@dataclass(frozen=True, slots=True)
class InstantSources:
    """Objects that exist wherever they are looked for, each with its CRC32; ``keys`` are sorted."""

    keys: Sequence[str]

    def head(self, location: Location) -> SourceObject:
        return self._object(location.key)

    def fetch_small(self, location: Location, *, limit: int) -> SourceObject:
        del limit
        return self.head(location)

    def below(self, prefix: Location) -> Iterator[SourceObject]:
        del prefix
        return iter(())

    def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
        start = bisect_right(self.keys, after.key)
        return [self._object(key) for key in self.keys[start : start + 1000] if key.startswith(prefix)]

    def part_checksums(self, source: SourceObject) -> None:
        del source

    @staticmethod
    def _object(key: str) -> SourceObject:
        number = int(key.rpartition("/")[2].partition(".")[0])
        size, modified = SIZES[number % len(SIZES)], 1_700_000_000 + number
        return SourceObject("photos", key, size=size, etag=f'"{number:032x}"', modified=modified, crc32=number)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print how long a step took, and the peak memory of the process until then."""
    started = time.perf_counter()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB
    print(f"{title:<32} {time.perf_counter() - started:6.2f} s   {peak:4.0f} MiB")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    numbers = random.Random(1).sample(range(count), count)
    files = [{"source": f"photos/{n % 1000:03d}/{n:06d}.jpg", "destination": f"{n % 100}/"} for n in numbers]
    sources = InstantSources(sorted(file["source"] for file in files))
    with step("all of it"):
        with step("validate the payload"):
            request = parse_request({"files": files}, max_files=count, default_bucket="photos")
        with step("resolve (S3 answers at once)"), ThreadPoolExecutor(32) as executor:
            resolution = resolve(
                request,
                sources=sources,
                executor=executor,
                window=64,
                limits=Limits(max_files=count, max_archive_bytes=1 << 60),
            )
        with step("lay out and plan"):
            pairs = zip(resolution.names, resolution.sources, strict=True)
            layout = Layout(
                [Entry(name=name, size=each.size, modified=each.modified, crc32=each.crc32) for name, each in pairs]
            )
            parts = plan_parts(layout, copyable=lambda _: True)
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
