"""How an archive becomes the parts of a multipart upload: which bytes the worker sends, which S3 copies itself.

Two kinds of parts: a literal part is put together by the worker, out of headers, small objects and the heads of
large ones; a copied part is a range of one object that S3 copies (UploadPartCopy) without the worker seeing it.
Every part but the last has 5 MiB or more, so a copy can only begin once the literal part before it has: where it
has not, it is topped up with the head of the object. Which objects to copy is chosen so that as few bytes as
possible pass the worker: between objects of 10 and 9 MiB, say, it is better to send the first, which then spares
the second its head, than to copy half of the first and to send the second. A copy is a request of S3's dearest kind,
and mostly splits a literal part in two; so each copied range must spare the worker bytes that are worth them.

Where 10,000 parts do not suffice, everything grows by the same factor: the pieces that are copied, the least size
of a literal part before a copy (so fewer objects are copied), and the size of literal parts.

The limits are those of "Amazon S3 multipart upload limits"
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from archiver.zipformat.layout import Layout

MIB = 1024 * 1024
GIB = 1024 * MIB

#: The least size of a part in bytes; the last part is free.
MIN_PART = 5 * MIB
#: The greatest size of a part in bytes.
MAX_PART = 5 * GIB
#: Parts of one upload, and the highest part number.
MAX_PARTS = 10_000
#: The greatest object in bytes: 48.8 TiB, as many of the largest parts as there may be.
MAX_OBJECT = MAX_PARTS * MAX_PART
#: A range can be copied only of a source that is larger than this, in bytes
#: (https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html, x-amz-copy-source-range).
COPY_SOURCE_MIN = 5 * MIB

#: Uploaded parts, where nothing else is asked for.
PART_SIZE = 8 * MIB
#: One copy runs at some 100 MB/s, so an object is copied in several pieces at once: at this size 128 MiB take 0.6 of
#: the time that they take in one piece, for 0.00002 $ more.
COPY_PART_SIZE = 32 * MIB
#: US dollars of a PUT, COPY or LIST request, S3 Standard, us-east-1, November 2026: https://aws.amazon.com/s3/pricing/
WRITE_PRICE = 0.000_005

#: An entry whose data are no longer than this is never split over two literal parts. What is left of an object
#: that is just too short to be copied is shorter than that.
_WHOLE = 2 * MIN_PART


class PlanError(ValueError):
    """The archive does not fit into one multipart upload."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the upload: bytes [start, stop) of the archive.

    ``entry`` None: a literal part. Else the part is a copy of that entry's stored bytes, from ``source_start`` on.
    """

    number: int
    start: int
    stop: int
    entry: int | None
    source_start: int

    @property
    def size(self) -> int:
        """Bytes of the part."""
        return self.stop - self.start

    @property
    def source_stop(self) -> int:
        """Where the copied range of the entry's stored bytes ends, exclusive."""
        return self.source_start + self.size


def bytes_copied(parts: Iterable[Part]) -> int:
    """How many bytes S3 copies itself."""
    return sum(part.size for part in parts if part.entry is not None)


def bytes_literal(parts: Iterable[Part]) -> int:
    """How many bytes the worker uploads."""
    return sum(part.size for part in parts if part.entry is None)


def plan_parts(
    layout: Layout,
    *,
    part_size: int = PART_SIZE,
    copyable: Callable[[int], bool],
    copy_part_size: int = COPY_PART_SIZE,
    write_worth: int = 0,
    start: int = 0,
    first_number: int = 1,
    last_number: int = MAX_PARTS,
) -> list[Part]:
    """Tile the archive's bytes [start, size) with parts, numbered from ``first_number`` to ``last_number`` at most.

    ``copyable`` tells whether the stored bytes of an entry, by its number, are an object that S3 can copy from; it
    is asked only about entries that are large enough. ``part_size`` and ``copy_part_size``, in bytes, are wishes:
    a literal part has at most ``part_size`` or 15 MiB, whichever is more, plus, before a copy, less than 5 MiB and a
    local header; both wishes grow where the numbers would not suffice. ``start`` is where the parts of an earlier
    attempt end: anywhere. ``write_worth`` is what one more write request is worth, in bytes that do not pass the worker
    for it; 0: as few bytes as possible, whatever it costs.

    Raises ``PlanError`` where S3's limits can't be kept, ``ValueError`` for arguments out of bounds.
    """
    for wish in (part_size, copy_part_size):
        if not MIN_PART <= wish <= MAX_PART:
            raise ValueError(f"a part has {MIN_PART} to {MAX_PART} bytes, not {wish}")
    if not 0 <= start <= layout.size:
        raise ValueError(f"byte {start} of an archive of {layout.size}")
    if first_number < 1 or last_number > MAX_PARTS:
        raise ValueError(f"part numbers go from 1 to {MAX_PARTS}, not from {first_number} to {last_number}")
    if layout.size > MAX_OBJECT:
        raise PlanError(f"an archive of {layout.size} bytes is larger than S3's largest object, {MAX_OBJECT}")
    numbers = range(first_number, last_number + 1)
    if layout.size - start > len(numbers) * MAX_PART:
        raise PlanError(f"{layout.size - start} bytes do not fit into the {len(numbers)} part numbers that are left")

    # An archive of terabytes is copied in pieces that leave half of the numbers to everything else.
    copy_part_size = max(copy_part_size, min(MAX_PART, -(-2 * (layout.size - start) // len(numbers)))) if numbers else 1
    sources = _sources(layout, copyable)
    largest_source = max((layout.stored_size(index) for index, can in enumerate(sources) if can), default=0)
    growth = 1.0
    least = MIN_PART
    while least < MAX_PART:
        least = min(int(MIN_PART * growth), MAX_PART)
        pieces = min(int(copy_part_size * growth), MAX_PART)
        growth *= 1.25
        greatest = max(min(largest_source, pieces), part_size, least, MIN_PART + _WHOLE) + MIN_PART + MIB
        if greatest * len(numbers) < layout.size - start:
            continue  # Even if all parts were of the greatest size there would be too many: not worth a try.
        planner = _Planner(
            layout=layout,
            sources=_best_sources(layout, sources, start=start, write_worth=write_worth, copy_part_size=copy_part_size)
            if least == MIN_PART
            else sources,
            numbers=numbers,
            part_size=max(part_size, least),
            copy_part_size=pieces,
            least=least,
        )
        if planner.run(start):
            return planner.parts
    # Near S3's largest object only parts of the greatest size are few enough.
    starts = range(start, layout.size, MAX_PART)
    return [
        Part(number, at, min(at + MAX_PART, layout.size), None, 0) for number, at in zip(numbers, starts, strict=False)
    ]


def _sources(layout: Layout, copyable: Callable[[int], bool]) -> bytearray:
    """Which entries can be copied, a byte each: the callable is asked once, however often the plan is tried."""
    return bytearray(
        layout.stored_size(index) > COPY_SOURCE_MIN and copyable(index) for index in range(len(layout.entries))
    )


def write_worth(dollars_per_gib: float) -> int:
    """Bytes through the worker that are worth one write request, where a gibibyte is worth so many US dollars."""
    return round(WRITE_PRICE / dollars_per_gib * GIB)


def never_copied(write_worth: int) -> int:
    """The size in bytes below which copying an object is never worth its two requests, and it lies in one part."""
    return min(2 * write_worth, _WHOLE - MIB)


_Trail = tuple[int, "_Trail"] | None
# What was gained in bytes, IMPOSSIBLE where there is no such past, and the sources copied, the last one first.
_Past = tuple[int, _Trail]
_IMPOSSIBLE = -(1 << 80)


def _gained(past: _Past) -> int:
    return past[0]


def _best_sources(
    layout: Layout, sources: bytearray, *, start: int, write_worth: int, copy_part_size: int
) -> bytearray:
    """Those of the sources to be copied so that most is gained: bytes copied, less what the requests are worth.

    What can be copied next depends on the past only through the literal bytes since the last copy, as far as these
    are fewer than 5 MiB. A source has more than that, so before each source two pasts matter: the best of those
    with enough literal bytes, and the best of those in which the source before was copied.
    """
    impossible: _Past = (_IMPOSSIBLE, None)
    enough: _Past = impossible
    recent: _Past = (0, None)
    since = start

    def gain(length: int) -> int:
        # The copies, and a further literal part.
        return length - write_worth * (-(-length // copy_part_size) + 1)

    for index, can in enumerate(sources):
        if not can:
            continue
        begin, end = max(start, layout.data_offset(index)), layout.data_end(index)
        if end - begin < MIN_PART:
            continue
        if begin - since >= MIN_PART:
            enough, recent = max(enough, recent, key=_gained), impossible
        head = MIN_PART - (begin - since) if begin > since else 0
        after_enough = enough[0] + gain(end - begin) if enough[0] > _IMPOSSIBLE else _IMPOSSIBLE
        after_recent = _IMPOSSIBLE
        if recent[0] > _IMPOSSIBLE and end - begin - head >= MIN_PART:
            after_recent = recent[0] + gain(end - begin - head)
        left_out = max(enough, recent, key=_gained)
        copied = (
            (after_enough, (index, enough[1])) if after_enough >= after_recent else (after_recent, (index, recent[1]))
        )
        enough, recent, since = left_out, copied, end
    chosen = bytearray(len(sources))
    trail = max(enough, recent, key=_gained)[1]
    while trail:
        chosen[trail[0]], trail = True, trail[1]
    return chosen


class _NoNumbers(Exception):
    """The part numbers do not suffice for this try."""


class _Planner:
    """One try at fixed sizes. ``open`` is where the literal part that is still growing starts."""

    def __init__(
        self, *, layout: Layout, sources: bytearray, numbers: range, part_size: int, copy_part_size: int, least: int
    ) -> None:
        self.layout = layout
        self.sources = sources
        self.numbers = numbers
        self.part_size = part_size
        self.copy_part_size = copy_part_size
        self.least = least
        self.parts: list[Part] = []
        self.open = 0

    def run(self, start: int) -> bool:
        """Plan from ``start`` on; False where the part numbers do not suffice."""
        layout = self.layout
        self.open = start
        try:
            for index in range(layout.find(start), len(layout.entries)):
                begin, end = max(start, layout.header_offset(index)), layout.data_end(index)
                if not (self.sources[index] and self._copy(index, begin, end)):
                    self._literal(begin, end)
            self._literal(max(start, layout.directory_offset), layout.size)
            self._close(layout.size)
        except _NoNumbers:
            return False
        return True

    def _copy(self, index: int, begin: int, end: int) -> bool:
        """Copy as much of the entry as can be; False, and nothing done, where that is nothing."""
        data = self.layout.data_offset(index)
        at = max(begin, data)
        if at - self.open > MAX_PART:
            # The header does not fit any more: it opens a part of its own.
            self._close(begin)
        if self._may_join(at) and end - at >= MIN_PART:
            # Rather a longer part than a head: the bytes that are left join the part before.
            self.open = self.parts.pop().start
        head = max(0, self.least - (at - self.open)) if at > self.open else 0
        length = end - at - head
        if length < MIN_PART:
            return False
        at += head
        self._close(at)
        # Even pieces: no short tail, and all of them done at about the same time.
        count = min(-(-length // self.copy_part_size), length // MIN_PART)
        for piece in range(count):
            stop = end - length + length * (piece + 1) // count
            self._add(stop, index, at - data)
            at = stop
        return True

    def _may_join(self, at: int) -> bool:
        """Whether the open part, up to ``at``, is too short for a copy after it, and the part before can take it."""
        before = self.parts[-1] if self.parts else None
        return (
            before is not None
            and before.entry is None
            and self.open < at < self.open + self.least
            and at - before.start <= MAX_PART
        )

    def _literal(self, begin: int, end: int) -> None:
        whole = end - begin <= _WHOLE
        # Rather a little over the wish than a file less: of photos of 3 MiB three make a part, of 6 MB two.
        most = max(self.part_size, min(self.part_size * 3 // 2, MIN_PART + _WHOLE))
        if begin - self.open >= MIN_PART and (
            begin - self.open >= self.part_size or (whole and end - self.open > most)
        ):
            self._close(begin)
        if not whole:
            while end - self.open > self.part_size:
                self._close(self.open + self.part_size)

    def _close(self, stop: int) -> None:
        if stop > self.open:
            self._add(stop, None, 0)

    def _add(self, stop: int, entry: int | None, source_start: int) -> None:
        if len(self.parts) == len(self.numbers):
            raise _NoNumbers  # at once: an entry of terabytes would have a million parts
        number = self.numbers.start + len(self.parts)
        self.parts.append(Part(number, self.open, stop, entry, source_start))
        self.open = stop
