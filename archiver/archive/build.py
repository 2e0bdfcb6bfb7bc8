"""Builds one archive of one resolution, and starts over where S3 won't copy what the plan counted on."""

import hashlib
import itertools
import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import structlog
from zlib_ng import zlib_ng

from archiver.archive.blueprint import draw
from archiver.archive.checksums import Checksums
from archiver.archive.deflate import Deflated, deflate, may_shrink
from archiver.archive.parallel import JobThreads
from archiver.archive.parts import CopiesRefused, Objects, PartsBuild, Threads
from archiver.archive.plan import MAX_PARTS, Part, PlanError
from archiver.archive.upload import Upload, Uploads, abort_uploads
from archiver.aws.multipart import ArchiveExists, ArchiveObject, StoredArchive
from archiver.aws.objects import SourceObject
from archiver.errors import LimitExceeded, PermanentError, SourceChanged
from archiver.zipformat.crc import crc32_of_parts

#: Changes whenever the same request would give other parts: parts of another engine are never resumed.
ENGINE = 1
#: Plans that S3 refused a copy of, after which no object of a refusing bucket is copied any more.
PATIENCE = 3
#: Room for records beside the sources' bytes when the part size is chosen before the layout: a local header and a
#: central record, each with name and extras, in bytes.
_RECORDS = 400

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How a job works. Sizes in bytes."""

    part_size: int
    parts_in_flight: int
    read_concurrency: int
    copy_concurrency: int
    compression: Literal["stored", "auto"] = "stored"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is: ``step`` is resolved, deflating, uploading or completed; bytes are the archive's."""

    step: str
    entries: int
    bytes_total: int
    bytes_done: int = 0
    parts_total: int = 0
    parts_done: int = 0


@contextmanager
def open_threads(options: Options) -> Iterator[Threads]:
    """The threads of one job; on the way out all of them have ended."""
    with (
        JobThreads(options.parts_in_flight, "part") as parts,
        JobThreads(options.read_concurrency, "read") as reads,
        JobThreads(options.copy_concurrency, "copy") as copies,
    ):
        yield Threads(parts, reads, copies)


@dataclass(frozen=True, slots=True)
class Build:
    """The build of one archive of ``sources`` under ``names``.

    With ``resume``, an upload that an earlier attempt left is gone on with.
    """

    names: Sequence[str]
    sources: Sequence[SourceObject]
    archive: ArchiveObject
    objects: Objects
    uploads: Uploads
    threads: Threads
    options: Options
    resume: bool
    on_progress: Callable[[Progress], None]

    def run(self) -> StoredArchive:
        """Build it and return what S3 has then.

        A permanent error, a source that has changed and an archive that another attempt has completed abort the
        upload; any other failure leaves it to the next attempt. Raises what reading, copying and uploading raise,
        and ``LimitExceeded`` where no plan keeps S3's limits.
        """
        uncopyable: set[int] = set()
        for refusals in itertools.count(1):
            attempt = _Attempt(self, frozenset(uncopyable))
            try:
                archive = attempt.run()
                if self.resume:
                    # Those of other plans: earlier attempts may have seen other sources.
                    abort_uploads(self.uploads, self.archive.key)
                return archive
            except CopiesRefused as refusal:
                attempt.upload.abort()
                uncopyable |= self._refused(refusal, attempt.order, whole_buckets=refusals >= PATIENCE)
            except PlanError as error:
                attempt.upload.abort()
                raise LimitExceeded(str(error)) from error
            except (PermanentError, SourceChanged, ArchiveExists):
                attempt.upload.abort()
                raise
        raise AssertionError("unreachable")

    def _refused(self, refusal: CopiesRefused, order: Sequence[int], *, whole_buckets: bool) -> set[int]:
        """Which sources are to be read from now on: one refusal speaks for a bucket that nothing was copied from."""
        refused = {order[entry]: reason for entry, reason in refusal.refused.items()}
        for index, reason in sorted(refused.items()):
            log.warning("copy refused: the object is read instead", source=str(self.sources[index]), reason=reason)
        buckets = {self.sources[index].bucket for index in refused}
        if not whole_buckets:
            buckets -= {self.sources[order[entry]].bucket for entry in refusal.copied}
        return set(refused) | {index for index, source in enumerate(self.sources) if source.bucket in buckets}


class _Attempt:
    """One plan and its upload. ``order[entry]`` is the index of an entry's source."""

    def __init__(self, build: Build, uncopyable: frozenset[int]) -> None:
        self.names = build.names
        self.sources = build.sources
        self.objects = build.objects
        self.threads = build.threads
        self.options = build.options
        self.on_progress = build.on_progress
        self.uncopyable = uncopyable
        self.order: list[int] = []
        self.upload = Upload(build.uploads, build.archive, digest=self._digest, resume=build.resume)
        self._bytes_total = sum(source.size for source in build.sources)
        self._bytes_done = self._parts_done = self._parts_total = 0
        self._lock = threading.Lock()

    def run(self) -> StoredArchive:
        self._report("resolved")
        deflated = self._deflated() if self.options.compression == "auto" else Deflated()
        blueprint = draw(
            self.names,
            self.sources,
            part_size=self.options.part_size,
            deflated=deflated,
            uncopyable=self.uncopyable,
        )
        layout, plan = blueprint.layout, blueprint.parts
        self.order = blueprint.order
        self._parts_total = len(deflated.parts) + len(plan)
        parts_build = PartsBuild(
            layout=layout,
            sources=blueprint.sources,
            checksums=Checksums(layout.entries),
            objects=self.objects,
            upload=self.upload,
            threads=self.threads,
            carry=deflated.carry,
            parts_in_flight=self.options.parts_in_flight,
            memory=2 * self.options.parts_in_flight * self.options.part_size,
            on_part=self._part_done,
        )
        if len(plan) == 1 and plan[0].entry is None and not self.upload.begun:
            body, crc32 = parts_build.literal_body(plan[0])
            archive = self.upload.put_whole(body, crc32=crc32)
        else:
            parts = deflated.parts + parts_build.run(plan)
            crc32 = crc32_of_parts((part.crc32 or 0, part.size) for part in parts)
            archive = self.upload.complete(parts, crc32=crc32, size=layout.size)
        self._report("completed")
        return archive

    def _deflated(self) -> Deflated:
        most = sum(
            _RECORDS + 2 * len(name.encode()) + source.size
            for name, source in zip(self.names, self.sources, strict=True)
            if may_shrink(name, source.size)
        )
        return deflate(
            self.names,
            self.sources,
            objects=self.objects,
            upload=self.upload,
            threads=self.threads,
            # Half of the part numbers are enough for the deflated part of the archive, whatever it comes to.
            part_size=max(self.options.part_size, math.ceil(most / (MAX_PARTS // 2))),
            blocks_in_flight=self.options.parts_in_flight,
            on_bytes=self._deflated_bytes,
        )

    def _part_done(self, part: Part) -> None:
        with self._lock:
            self._parts_done += 1
            self._bytes_done += part.size
            self._report("uploading")

    def _deflated_bytes(self, size: int) -> None:
        with self._lock:
            self._bytes_done += size
            self._report("deflating")

    def _report(self, step: str) -> None:
        self.on_progress(
            Progress(
                step=step,
                entries=len(self.sources),
                bytes_total=self._bytes_total,
                bytes_done=min(self._bytes_done, self._bytes_total),
                parts_total=self._parts_total,
                parts_done=self._parts_done,
            )
        )

    def _digest(self) -> str:
        """SHA-256 over all that determines the archive's parts."""
        engine = [
            ENGINE,
            self.options.part_size,
            self.options.compression,
            zlib_ng.ZLIBNG_RUNTIME_VERSION,
            sorted(self.uncopyable),
        ]
        digest = hashlib.sha256(json.dumps(engine).encode())
        for name, source in zip(self.names, self.sources, strict=True):
            identity = [name, source.bucket, source.key, source.version_id, source.etag, source.size, source.modified]
            digest.update(json.dumps(identity).encode())
        return digest.hexdigest()
