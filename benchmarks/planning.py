"""Time and memory of everything that happens before a byte moves: ``python -m benchmarks.planning [ENTRIES]``.

From the payload to the list of parts, with an S3 that answers at once: what is left is the engine's own work.
"""

import random
import resource
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from archiver.archive.location import Location
from archiver.archive.plan import bytes_copied, bytes_literal, plan_parts
from archiver.archive.request import parse_request
from archiver.archive.resolve import Limits, resolve
from archiver.archive.storage import SourceObject
from archiver.zipformat.entry import Entry
from archiver.zipformat.layout import Layout

KIB = 1024
MIB = 1024 * KIB
ENTRIES = 100_000
#: Sizes of the objects, the small ones more often.
SIZES = (20 * KIB, 20 * KIB, 20 * KIB, 300 * KIB, 3 * MIB, 12 * MIB)

Result = TypeVar("Result")


class InstantSources:
    """Objects that exist wherever they are looked for, each with its CRC32."""

    def __init__(self, bucket: str, keys: list[str]) -> None:
        self._bucket = bucket
        self._keys = sorted(keys)

    def head(self, location: Location) -> SourceObject:
        return self._object(location.key)

    def _object(self, key: str) -> SourceObject:
        number = int(key.rpartition("/")[2].partition(".")[0])
        return SourceObject(
            bucket=self._bucket,
            key=key,
            size=SIZES[number % len(SIZES)],
            etag=f'"{number:032x}"',
            modified=1_700_000_000 + number,
            crc32=number,
        )

    def fetch_small(self, location: Location, *, limit: int) -> SourceObject:
        del limit
        return self.head(location)

    def below(self, prefix: Location) -> Iterator[SourceObject]:
        del prefix
        return iter(())

    def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
        start = bisect_right(self._keys, after.key)
        return [self._object(key) for key in self._keys[start : start + 1000] if key.startswith(prefix)]

    def part_checksums(self, source: SourceObject) -> None:
        del source


def timed(title: str, step: Callable[[], Result]) -> tuple[Result, float]:
    """Carry out a step; print how long it took, and the peak memory of the process until then."""
    started = time.perf_counter()
    result = step()
    took = time.perf_counter() - started
    print(f"{title:<32} {took:6.2f} s   {peak_memory():4.0f} MiB")
    return result, took


def peak_memory() -> float:
    """The greatest resident size of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    dice = random.Random(1)
    numbers = list(range(count))
    dice.shuffle(numbers)
    payload = {
        "files": [{"source": f"photos/{n % 1000:03d}/{n:06d}.jpg", "destination": f"{n % 100}/"} for n in numbers]
    }
    print(f"{'imports and the payload':<32}            {peak_memory():4.0f} MiB")
    started = time.perf_counter()
    request, _ = timed(
        "validate the payload", lambda: parse_request(payload, max_files=count, default_bucket="source-images")
    )
    with ThreadPoolExecutor(32) as executor:
        resolution, _ = timed(
            "resolve (S3 answers at once)",
            lambda: resolve(
                request,
                sources=InstantSources("photos", [file.source for file in request.files]),
                executor=executor,
                window=64,
                limits=Limits(max_files=count, max_archive_bytes=1 << 60),
            ),
        )
    layout, laid_out = timed(
        "lay out",
        lambda: Layout(
            [
                Entry(name=name, size=source.size, modified=source.modified, crc32=source.crc32)
                for name, source in zip(resolution.names, resolution.sources, strict=True)
            ]
        ),
    )
    parts, planned = timed("plan", lambda: plan_parts(layout, copyable=lambda _: True))
    total = time.perf_counter() - started
    print(f"{'lay out and plan':<32} {laid_out + planned:6.2f} s")
    print(f"{'all of it':<32} {total:6.2f} s")
    print(
        f"{count:,} entries, {layout.size / MIB:,.0f} MiB, {len(parts):,} parts; of the bytes S3 copies "
        f"{bytes_copied(parts) / layout.size:.0%}, the worker sends {bytes_literal(parts) / layout.size:.0%}; "
        f"peak memory of the process {peak_memory():.0f} MiB"
    )


if __name__ == "__main__":
    main()
