"""Which parts of a plan other workers may build: chunks, runs of parts that need nothing from outside themselves. Pure.

Others are invited to a stretch of chunks at a time, and whoever builds one of them claims that alone: a stretch is long
enough for reads and uploads to overlap, a chunk short enough to wait for at the end.

A local header holds the CRC32 of its entry. So where S3 tells none, header and content stay together: in one chunk, or
with the builder, whose header waits until others have brought the content. Besides, the builder keeps what only it has:
deflated bytes, the list of missing sources, and the central directory.

Parts are weighed by the time that they take: by bytes that pass a worker, and by requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from archiver.archive.plan import MIB, MIN_PART, Part
from archiver.archive.storage import SourceObject
from archiver.zipformat.layout import Layout

#: What a request counts for, in bytes: an object is read in the time of so many bytes more, and some sixteen copies
#: inside S3 are under way at once, each of which takes a third of a second.
READ_WEIGHT = 32 * 1024
COPY_WEIGHT = MIB
#: A chunk is worth its requests from this weight on, and grows with the job up to the second one; beyond that only as
#: far as two pages of a listing show all of a job's chunks. Where even small jobs are shared it is a part of those.
LEAST_CHUNK = 32 * MIB
MOST_CHUNK = 128 * MIB
CHUNKS = 64
MOST_CHUNKS = 1_500
CHUNKS_OF_LEAST_JOB = 4
#: A stretch takes some ten seconds at most, and has two chunks' weight, where these are not as long themselves.
MOST_STRETCH = 512 * MIB
#: The first stretch is so large a part of the whole, and each further one of what is left: the last ones are short, so
#: that all workers end at about the same time.
SHARE = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive parts that whoever builds them needs no others for. ``number`` counts from 0."""

    number: int
    parts: tuple[Part, ...]
    weight: int

    @property
    def start(self) -> int:
        """The archive's byte that it begins with."""
        return self.parts[0].start

    @property
    def stop(self) -> int:
        """The archive's byte behind its last."""
        return self.parts[-1].stop


@dataclass(frozen=True, slots=True)
class Cut:
    """A plan, shared out: ``chunks`` and what the builder keeps, all in the plan's order.

    ``stretches`` are the chunks once more: those that follow one another, as others are invited to them. The parts in
    ``late`` may need what the chunks bring: they come last.
    """

    chunks: tuple[Chunk, ...]
    stretches: tuple[tuple[Chunk, ...], ...]
    kept: tuple[Part, ...]
    late: tuple[Part, ...]
    weight: int


def weight_of(layout: Layout, parts: Sequence[Part]) -> int:
    """What building these parts weighs, in bytes."""
    return sum(_Weights(layout, parts).of)


def chunk_weight(weight: int, *, least_job: int) -> int:
    """The weight of a chunk of a plan of this weight, where plans are shared from ``least_job`` on."""
    least = max(MIN_PART, min(LEAST_CHUNK, least_job // CHUNKS_OF_LEAST_JOB))
    return max(min(MOST_CHUNK, max(least, weight // CHUNKS)), weight // MOST_CHUNKS)


def cut(layout: Layout, sources: Sequence[SourceObject | None], parts: Sequence[Part], *, most: int) -> Cut:
    """Share out a plan in chunks of the weight ``most``, or a little more where a border can't be there.

    ``sources[entry]`` holds the entry's stored bytes, None where they lie nowhere.
    """
    weights = _Weights(layout, parts)
    bounds = _Bounds(layout, sources, parts, weights, most=most)
    chunks: list[Chunk] = []
    kept: list[Part] = []
    late: list[Part] = []
    run: list[Part] = []
    heavy = 0

    def close() -> None:
        nonlocal run, heavy
        if run:
            chunks.append(Chunk(len(chunks), tuple(run), heavy))
        run, heavy = [], 0

    for first, stop in bounds.blocks():
        block = parts[first:stop]
        if any(bounds.late[first:stop]):
            close()
            late += block
        elif any(bounds.kept[first:stop]):
            close()
            kept += block
        else:
            weight = sum(weights.of[first:stop])
            if heavy + weight > most and heavy >= most // 2:
                close()
            run += block
            heavy += weight
            if heavy >= most:
                close()
    close()
    return Cut(
        tuple(chunks),
        tuple(_stretches(chunks, least=min(2 * most, MOST_STRETCH))),
        tuple(kept),
        tuple(late),
        sum(weights.of),
    )


def _stretches(chunks: Sequence[Chunk], *, least: int) -> list[tuple[Chunk, ...]]:
    """From the back, where others begin, in the plan's order."""
    left = sum(chunk.weight for chunk in chunks)
    stretches: list[tuple[Chunk, ...]] = []
    run: list[Chunk] = []
    heavy = 0
    most = 0
    for chunk in reversed(chunks):
        if run and (heavy + chunk.weight > most or chunk.stop != run[-1].start):
            stretches.append(tuple(reversed(run)))
            run, heavy = [], 0
        if not run:
            most = max(least, min(MOST_STRETCH, left // SHARE))
        run.append(chunk)
        heavy += chunk.weight
        left -= chunk.weight
    if run:
        stretches.append(tuple(reversed(run)))
    return stretches[::-1]


class _Weights:
    """The weight of each part."""

    def __init__(self, layout: Layout, parts: Sequence[Part]) -> None:
        self.of = [COPY_WEIGHT if part.entry is not None else part.size for part in parts]
        for index, part in enumerate(parts):
            if part.entry is None:
                first, last = layout.find(part.start), layout.find(part.stop - 1)
                self.of[index] += READ_WEIGHT * (last - first + 1)
        self.before = [0, *accumulate(self.of)]

    def span(self, first: int, last: int) -> int:
        return self.before[last + 1] - self.before[first]


class _Bounds:
    """Which parts stay with the builder, and between which of them there is no border."""

    def __init__(
        self,
        layout: Layout,
        sources: Sequence[SourceObject | None],
        parts: Sequence[Part],
        weights: _Weights,
        *,
        most: int,
    ) -> None:
        self.kept = [False] * len(parts)
        self.late = [part.stop > layout.directory_offset for part in parts]
        self._joined = [False] * len(parts)  # to the part behind
        at = 0
        for index, entry in enumerate(layout.entries):
            while at < len(parts) and parts[at].stop <= layout.header_offset(index):
                at += 1
            if at == len(parts):
                break
            end = layout.data_end(index)
            last = at
            while last + 1 < len(parts) and parts[last + 1].start < end:
                last += 1
            source = sources[index]
            if end <= parts[at].start:
                continue
            if source is None or not source.bucket:
                self.kept[at : last + 1] = [True] * (last + 1 - at)
            elif entry.known_crc32 is None and last > at:
                if weights.span(at, last) <= most:
                    self._joined[at:last] = [True] * (last - at)
                else:
                    header = at
                    while header <= last and parts[header].start < layout.data_offset(index):
                        self.late[header] = True
                        header += 1

    def blocks(self) -> list[tuple[int, int]]:
        """The parts' indexes from and to, of what has no border inside."""
        stops = [index + 1 for index, joined in enumerate(self._joined) if not joined]
        return list(zip([0, *stops[:-1]], stops, strict=True))
