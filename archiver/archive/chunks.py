"""Which parts of a plan other workers may build: chunks, runs of parts that need nothing from outside themselves. Pure.

Others are invited to stretches of chunks, several to each, and whoever builds a chunk claims that alone. A turn is what
one of them builds of a stretch before its slot is free for something else: reads and uploads overlap in it all the way.
A chunk is short enough to wait for at the end.

A local header holds the CRC32 of its entry. So where S3 tells none, header and content stay together: in one chunk, or
with the builder, whose header waits until others have brought the content. Besides, the builder keeps what only it has:
deflated bytes, the list of missing sources, and the central directory.

Parts are weighed by the time that they take: by bytes that pass a worker, and by requests.
"""

from collections.abc import Iterator, Sequence
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
#: A turn ends with the chunk that brings it to this weight, which takes some ten seconds.
TURN = 512 * MIB
#: It does not end sooner than after so many seconds, though: on a fast network its pipeline would run dry, and its slot
#: go round by the queue, each second.
TURN_SECONDS = 5.0
#: So many turns has a small job, too, where there are two chunks for each: beyond them few find anything left.
LEAST_TURNS = 6
#: A stretch is so many turns and so many entries at most: each who is invited to it reads the plan of all of it.
MOST_STRETCH = 16 * TURN
MOST_ENTRIES = 16 * 1024


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
class Turn:
    """What one message invites to: a stretch, by its index, and the number of the chunk to begin with."""

    stretch: int
    begin: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A plan, shared out: ``chunks`` and what the builder keeps, all in the plan's order.

    Of what could be a chunk it keeps the first: it begins with that while nobody can be invited yet.
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
    begun = False

    def close() -> None:
        nonlocal run, heavy, begun
        if not run:
            return
        if begun:
            chunks.append(Chunk(len(chunks), tuple(run), heavy))
        else:
            kept.extend(run)
        begun, run, heavy = True, [], 0

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
        tuple(_stretches(layout, chunks)),
        tuple(kept),
        tuple(late),
        sum(weights.of),
    )


def _stretches(layout: Layout, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, ...]]:
    """In the plan's order."""
    run: list[Chunk] = []
    for chunk in chunks:
        if run and (
            run[-1].stop != chunk.start
            or sum(one.weight for one in run) + chunk.weight > MOST_STRETCH
            or layout.find(chunk.stop - 1) - layout.find(run[0].start) >= MOST_ENTRIES
        ):
            yield tuple(run)
            run = []
        run.append(chunk)
    if run:
        yield tuple(run)


def turns(stretches: Sequence[Sequence[Chunk]]) -> list[Turn]:
    """All turns: one of each stretch and then the next of each, from the back, since the builder comes from the front.

    Those of one stretch begin in other places: each goes on towards where the next one began.
    """
    least = min(LEAST_TURNS, sum(map(len, stretches)) // 2) // max(1, len(stretches))
    counts = [
        min(len(stretch), max(1, least, -(-sum(chunk.weight for chunk in stretch) // TURN))) for stretch in stretches
    ]
    return [
        Turn(index, stretches[index][len(stretches[index]) * (counts[index] - turn) // counts[index] - 1].number)
        for turn in range(max(counts, default=0))
        for index in reversed(range(len(stretches)))
        if turn < counts[index]
    ]


def next_chunk(left: Sequence[int], *, last: int, after: int | None = None) -> int | None:
    """The chunk of a stretch to try next, by its number, of those that are left, in ascending order.

    That before ``after``, or else one where its neighbours can be built next and nobody comes by soon: all go towards
    the front. ``last`` is the stretch's last chunk.
    """
    if after is not None and after - 1 in left:
        return after - 1
    longest: list[int] = []
    run: list[int] = []
    for number in left:
        if run and number == run[-1] + 1:
            run.append(number)
        else:
            run = [number]
        if len(run) >= len(longest):
            longest = run
    if not longest:
        return None
    return last if longest[-1] == last else longest[(len(longest) - 1) // 2]


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
