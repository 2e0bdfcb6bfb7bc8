"""What is archived: sets of objects whose bytes follow from their names, so that nothing need be remembered.

The contents are random, as photos and videos are to a compressor.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.job import Entry

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Source:
    """One object of a workload."""

    key: str
    name: str
    size: int

    def contents(self) -> bytes:
        return random.Random(self.key).randbytes(self.size)


@dataclass(frozen=True, slots=True)
class Workload:
    """A set of objects, by their number and size in bytes.

    ``latency`` in milliseconds is added to each request unless the command line says else.
    """

    name: str
    title: str
    groups: Sequence[tuple[int, int]]
    latency: float = 0

    @property
    def sources(self) -> tuple[Source, ...]:
        sizes = [size for count, size in self.groups for _ in range(count)]
        # Interleaved, the same way each time: sources seldom arrive sorted by size.
        random.Random(self.name).shuffle(sizes)
        return tuple(
            Source(key=f"{self.name}/{n:05d}-{size}.bin", name=f"{self.name}/{n // 100:03d}/{n:05d}.bin", size=size)
            for n, size in enumerate(sizes)
        )

    @property
    def size(self) -> int:
        return sum(count * size for count, size in self.groups)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(Entry(source=source.key, destination=source.name) for source in self.sources)

    def scaled(self, divisor: int) -> "Workload":
        """A tenth of it or so, for a look at whether everything works: fewer objects, then smaller ones."""
        groups = tuple(
            (max(1, count // divisor), size if count >= divisor else size // divisor) for count, size in self.groups
        )
        return Workload(name=self.name, title=f"{self.title}, scaled down", groups=groups, latency=self.latency)


WORKLOADS = (
    Workload("small", "1,000 x 20 KiB", ((1000, 20 * KIB),), latency=20),
    Workload("photos", "100 x 3 MiB", ((100, 3 * MIB),)),
    Workload("large", "4 x 128 MiB", ((4, 128 * MIB),)),
    Workload(
        "mix",
        "200 x 20 KiB, 30 x 3 MiB, 10 x 12 MiB, 2 x 128 MiB",
        ((200, 20 * KIB), (30, 3 * MIB), (10, 12 * MIB), (2, 128 * MIB)),
    ),
)

#: Sources that archives of any size are made of, by listing them often: what S3 copies, and what the worker reads.
MEMORY_SOURCES = (
    Workload("copied", "objects of 64 MiB", ((4, 64 * MIB),)),
    Workload("read", "objects of 3 MiB", ((16, 3 * MIB),)),
)


def workload_named(name: str, *, scale: int) -> Workload:
    """A workload by its name; ``scale`` over 1 divides it. Raises ``KeyError``."""
    workload = {each.name: each for each in (*WORKLOADS, *MEMORY_SOURCES)}[name]
    return workload.scaled(scale) if scale > 1 else workload
