"""Lays deflated entries one behind the other, cuts parts off as they fill, and goes on where a checkpoint ends."""

import threading
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import tzinfo

from archiver.archive.cancellation import Cancellation
from archiver.archive.checkpoint import Checkpoint, Cut, EndedEntries, Point
from archiver.archive.checkpoints import Checkpoints
from archiver.archive.parallel import Threads
from archiver.archive.plan import MIN_PART
from archiver.archive.reading import BytesDiffer, mismatch
from archiver.archive.storage import SourceObject, UploadedPart
from archiver.archive.upload import Upload
from archiver.zipformat.crc import crc32_combine
from archiver.zipformat.entry import DEFLATED, Entry
from archiver.zipformat.layout import Layout

#: Parts that wait for S3 while the next is being filled.
UPLOADS_UNDER_WAY = 2


class DeflateWriter:
    """The parts of deflated entries, from the first on. ``names`` and ``sources`` are those of all entries.

    A part has ``part_size`` bytes or a little more; one that has to wait for the end of its entry has ``least`` or a
    little more, since it is what a later attempt has to make again. ``on_entries`` is told how many entries S3 has.
    """

    def __init__(
        self,
        names: Sequence[str],
        sources: Sequence[SourceObject],
        *,
        upload: Upload,
        threads: Threads,
        part_size: int,
        least: int = MIN_PART,
        zone: tzinfo,
        checkpoints: Checkpoints | None,
        on_entries: Callable[[int], None],
        cancellation: Cancellation,
    ) -> None:
        self._names = names
        self._sources = sources
        self._upload = upload
        self._threads = threads
        self._part_size = part_size
        self._least = min(least, part_size)
        self._zone = zone
        self._checkpoints = checkpoints
        self._on_entries = on_entries
        self._cancellation = cancellation
        self.entries: list[Entry] = []
        self.indexes: list[int] = []
        self.start = 0
        self.buffer = bytearray()
        self._number = 1
        self._cuts: list[Cut] = []
        self._ended = EndedEntries()
        self._known = EndedEntries()
        self._uploads: dict[int, Future[UploadedPart]] = {}
        self._under_way: deque[Future[UploadedPart]] = deque()
        self._entry: Entry | None = None
        self._crc32 = 0
        self._compressed = 0
        self._header_at = 0
        self._header_number = 0
        self._held: tuple[int, bytearray] | None = None
        self._lock = threading.Lock()
        self._there: dict[int, UploadedPart] = {}

    def begin(self, index: int) -> None:
        """Leave room for the local header of the next entry, that of source ``index``."""
        self._open(index)
        self._header_at = len(self.buffer)
        self._header_number = self._number
        self.buffer += bytes(Layout([self._predicted]).data_offset(0))

    def add(self, data: bytes, *, crc32: int, raw_size: int, stop: int, last: bool) -> None:
        """Append a block of the entry, which is ``crc32`` and ``raw_size`` bytes before it was deflated.

        It ends at byte ``stop`` of the source.
        """
        index = self.indexes[-1]
        self._crc32 = crc32_combine(self._crc32, crc32, raw_size)
        self._compressed += len(data)
        self.buffer += data
        if last:
            self._end(index)
        # The header that is still to come may lie in this part.
        waits = not last and self._header_number == self._number
        if len(self.buffer) < (self._least if waits else self._part_size):
            return
        open_at = (index, stop, self._crc32, self._compressed, self._header_number) if not last else (index + 1, 0)
        self._cuts.append(Cut(len(self.buffer), len(self.entries), *open_at))
        if waits:
            self._held = (self._number, self.buffer)
        else:
            self._submit(self._number, self.buffer)
        self._number += 1
        self.start += len(self.buffer)
        self.buffer = bytearray()

    def restore(self, checkpoint: Checkpoint, parts: int) -> None:
        """Go on behind so many parts of a checkpoint, all of which S3 has but for one that is held here."""
        cut = checkpoint.cut(parts)
        self._known = checkpoint.entries
        self._ended = checkpoint.entries.first(cut.entries)
        self.indexes = list(self._ended.indexes)
        self.entries = [
            self._new(index, crc32, size)
            for index, size, crc32 in zip(self.indexes, self._ended.sizes, self._ended.crc32s, strict=True)
        ]
        self._cuts = list(checkpoint.cuts[:parts])
        self._there = {
            number: part
            for number, one in enumerate(self._cuts, 1)
            if (part := self._upload.uploaded(number, one.size)) is not None
            and part.crc32 == checkpoint.crc32s[number - 1]
        }
        self._number = parts + 1
        self.start = sum(one.size for one in self._cuts)
        self.buffer = bytearray()
        self._entry = None
        if cut.header:
            self._open(cut.index)
            self._crc32, self._compressed, self._header_number = cut.crc32, cut.compressed, cut.header
        self._on_entries(cut.entries)

    def rejoin(self, checkpoint: Checkpoint, point: Point) -> None:
        """Having made the missing part again, go on at the point. Raises ``BytesDiffer`` where it is another now."""
        if self._held is None or self._held[0] != point.missing or self._cuts[-1] != checkpoint.cut(point.missing):
            raise BytesDiffer(f"part {point.missing} has not come out again as it was")
        self.restore(checkpoint, point.parts)

    def parts(self) -> list[UploadedPart]:
        """The parts cut off so far, in order, once S3 has them."""
        made = {number: self._cancellation.result(future) for number, future in self._uploads.items()}
        return [part for _, part in sorted((self._there | made).items())]

    def settle(self) -> None:
        """Wait for what is under way, so that none of it outlives the build; a job that is cancelled leaves it."""
        settled = self._cancellation.settled(self._under_way)
        # Only now: the last part may have begun to save.
        saving = [] if self._checkpoints is None else self._checkpoints.under_way
        if not settled or not self._cancellation.settled(saving):
            self._threads.leave()

    def checkpoint(self, digest: str) -> Checkpoint | None:
        """How far S3 has come; None where that is nowhere yet. From any thread."""
        with self._lock:
            there = dict(self._there)
        # In this order: whatever a cut or an uploaded header knows of is among the entries.
        cuts = self._cuts[:]
        entries = self._ended.first(len(self._ended))
        crc32s = [part.crc32 if (part := there.get(number)) else None for number in range(1, len(cuts) + 1)]
        farthest = Checkpoint(digest, entries, cuts, crc32s).point(lambda *_: True).parts
        return Checkpoint(digest, entries, cuts[:farthest], crc32s[:farthest]) if farthest else None

    @property
    def _predicted(self) -> Entry:
        if self._entry is None:
            raise AssertionError("no entry has begun")
        return self._entry

    def _new(self, index: int, crc32: int | None = None, compressed_size: int | None = None) -> Entry:
        """The entry, as long as its source as long as nobody knows better."""
        source = self._sources[index]
        return Entry(
            name=self._names[index],
            size=source.size,
            modified=source.modified,
            crc32=crc32,
            method=DEFLATED,
            compressed_size=source.size if compressed_size is None else compressed_size,
        )

    def _open(self, index: int) -> None:
        self._entry = self._new(index)
        self.indexes.append(index)
        self._crc32 = self._compressed = 0

    def _end(self, index: int) -> None:
        predicted, stored = self._predicted, self._sources[index].crc32
        if stored not in (None, self._crc32):
            raise BytesDiffer(mismatch(predicted.name, read=self._crc32, stored=stored))
        entry = self._new(index, self._crc32, self._compressed)
        header = Layout([entry], zone=self._zone).local_header(0, crc32=self._crc32)
        if len(header) != Layout([predicted]).data_offset(0):
            raise AssertionError(f"{entry.name}: the deflated entry outgrew its local header")
        known = self._is_known(index)
        if self._header_number == self._number:
            self._fill(self.buffer, header)
        elif self._held is not None:
            self._fill(self._held[1], header)
        elif not known:
            raise BytesDiffer(f"{entry.name}: its local header was written before it ended")
        self._ended.append(index, compressed_size=self._compressed, crc32=self._crc32)
        self.entries.append(entry)
        self._entry = None
        if self._held is not None:
            self._submit(*self._held)
            self._held = None

    def _fill(self, holder: bytearray, header: bytes) -> None:
        holder[self._header_at : self._header_at + len(header)] = header

    def _is_known(self, index: int) -> bool:
        """Whether an earlier attempt has ended the entry. Raises ``BytesDiffer`` where that was another."""
        at = self._known.find(index)
        if at is None:
            return False
        known = self._known.sizes[at], self._known.crc32s[at]
        if known != (self._compressed, self._crc32):
            raise BytesDiffer(f"{self._names[index]}: the bytes were others when they were read before")
        return True

    def _submit(self, number: int, body: bytearray) -> None:
        while len(self._under_way) >= UPLOADS_UNDER_WAY:
            self._cancellation.result(self._under_way.popleft())
        future = self._threads.parts.submit(self._put, number, body)
        self._uploads[number] = future
        self._under_way.append(future)

    def _put(self, number: int, body: bytearray) -> UploadedPart:
        part = self._upload.put(number, body, crc32=zlib.crc32(body))
        with self._lock:
            self._there[number] = part
            uploaded = sum(one.size for one in self._there.values())
            whole = next((n for n in range(1, len(self._cuts) + 1) if n not in self._there), len(self._cuts) + 1) - 1
        if whole:
            self._on_entries(self._cuts[whole - 1].entries)
        if self._checkpoints is not None:
            self._checkpoints.grown(uploaded, self.checkpoint, self._threads.parts)
        return part
