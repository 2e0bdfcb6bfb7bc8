"""Builds one archive of one resolution, and plans anew where S3 won't copy what the plan counted on."""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import cache, partial
from threading import Semaphore
from typing import TYPE_CHECKING, Literal

from zlib_ng import zlib_ng

from archiver.archive.arrivals import Arrivals
from archiver.archive.blueprint import Blueprint, make_blueprint
from archiver.archive.cancellation import Cancellation
from archiver.archive.checksums import Checksums
from archiver.archive.columns import framed
from archiver.archive.deflated import Deflated, may_shrink
from archiver.archive.parallel import Threads, batched
from archiver.archive.parts import READING, CopiesRefused, PartBuilder
from archiver.archive.plan import MAX_PARTS, MIN_PART, Part, PlanError
from archiver.archive.progress import OnProgress, ProgressCounter
from archiver.archive.read_ahead import ReadAhead
from archiver.archive.reading import READS, BytesDiffer
from archiver.archive.source_table import as_picked
from archiver.archive.spans import UNTRACED, Tracer
from archiver.archive.storage import (
    ArchiveExists,
    ArchiveObject,
    ArchiveStore,
    SourceObject,
    StoredArchive,
    UploadGone,
)
from archiver.archive.upload import Upload, abort_uploads
from archiver.archive.width import SHARED_PARTS, LastWidth, Width
from archiver.errors import LimitExceeded, PermanentError, SourceChanged
from archiver.logs import get_logger
from archiver.zipformat.crc import crc32_of_parts

if TYPE_CHECKING:
    from archiver.archive.checkpoint import Checkpoint
    from archiver.archive.checkpoints import Checkpoints, CheckpointStore
    from archiver.archive.chunks import Cut
    from archiver.archive.crew import Host
    from archiver.archive.sharing import Sharing

#: Changes whenever the same request would give other parts: parts of another engine are never resumed.
ENGINE = 5
#: Names that are put together at once for a digest.
NAMES_AT_ONCE = 1_000
#: Plans that S3 refused a copy of, after which no object of a refusing bucket is copied any more.
REFUSED_PLANS = 3
#: Room for records beside the sources' bytes when the part size is chosen before the layout: a local header and a
#: central record, each with name and extras, in bytes.
_RECORDS = 400

#: What no later attempt can go on from.
_ENDS = (PermanentError, SourceChanged, ArchiveExists, CopiesRefused)

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How a job works. Sizes in bytes; ``zone`` is that of the times in the archive that know no zone.

    ``streams``: parts may go out while they come in. ``last_width`` is that of this process's shared plans.
    """

    part_size: int
    parts_in_flight: int
    memory: int
    read_concurrency: int
    copy_concurrency: int
    write_worth: int = 0
    compression: Literal["stored", "auto"] = "stored"
    zone: tzinfo = UTC
    streams: bool = True
    last_width: LastWidth = field(default_factory=LastWidth)

    def width(self, *, shared: bool) -> Width:
        """How many literal parts of a plan are under way at once."""
        most = self.parts_in_flight
        return Width(min(SHARED_PARTS, most), most, last=self.last_width) if shared else Width(most, most)


@dataclass(frozen=True, slots=True)
class Build:
    """The build of one archive of ``sources`` under ``names``, read from ``store`` and written to ``archives``.

    With ``resume``, an upload that an earlier attempt left is gone on with; with a ``host``, others are invited where
    there is enough to do.
    """

    names: Sequence[str]
    sources: Sequence[SourceObject]
    archive: ArchiveObject
    store: ReadAhead
    archives: ArchiveStore
    threads: Threads
    options: Options
    resume: bool
    on_progress: OnProgress
    cancellation: Cancellation = field(default_factory=Cancellation)
    checkpoints: "CheckpointStore | None" = None
    tracer: Tracer = UNTRACED
    host: "Host | None" = None

    def run(self) -> StoredArchive:
        """Build it and return what S3 has then.

        A permanent error, a source that has changed and an archive that another attempt has completed abort the
        upload; any other failure leaves it to the next attempt. Raises what reading, copying and uploading raise,
        and ``LimitExceeded`` where no plan keeps S3's limits.
        """
        uncopyable: frozenset[int] = frozenset()
        for plans in itertools.count(1):
            digest = cache(partial(self._digest, uncopyable))
            upload = Upload(self.archives, self.archive, digest=digest, resume=self.resume)
            checkpoints = self._checkpoints(digest)
            try:
                archive = self._carry_out(upload, uncopyable, checkpoints)
            except CopiesRefused as refusal:
                upload.abort()
                uncopyable |= self._refused(refusal, whole_buckets=plans >= REFUSED_PLANS)
            except PlanError as error:
                upload.abort()
                raise LimitExceeded(str(error)) from error
            except _ENDS:
                upload.abort()
                raise
            else:
                if self.resume:
                    # Those of other plans: earlier attempts may have seen other sources.
                    crew = None if self.host is None else self.host.crew
                    abort_uploads(self.archives, self.archive.key, owner=self.archive.owner, shared=crew)
                return archive
        raise AssertionError("unreachable")

    def _checkpoints(self, digest: Callable[[], str]) -> "Checkpoints | None":
        """Where the progress of deflating is kept, where anything is deflated."""
        if self.checkpoints is None or self.options.compression != "auto":
            return None
        # Few jobs deflate.
        from archiver.archive.checkpoints import Checkpoints, checkpoint_name

        return Checkpoints(self.checkpoints, checkpoint_name(self.archives.bucket, self.archive), digest=digest)

    def _carry_out(self, upload: Upload, uncopyable: Set[int], checkpoints: "Checkpoints | None") -> StoredArchive:
        """Plan, build every part, complete. Raises ``CopiesRefused`` with the indexes of the sources."""
        progress = ProgressCounter(
            self.on_progress, entries=len(self.sources), bytes_total=as_picked(self.sources).total()
        )
        progress.step("resolved")
        deflated = Deflated()
        if self.options.compression == "auto":
            deflated = self._deflated(upload, progress, checkpoints)
        with self.tracer.span("plan") as span:
            blueprint = make_blueprint(
                self.names,
                self.sources,
                part_size=self.options.part_size,
                write_worth=self.options.write_worth,
                deflated=deflated,
                uncopyable=uncopyable,
                zone=self.options.zone,
            )
            layout, plan = blueprint.layout, blueprint.parts
            copies = sum(part.entry is not None for part in plan)
            span.tell({"archiver.bytes": layout.size, "archiver.parts": len(plan), "archiver.copies": copies})
        progress.planned(len(deflated.parts) + len(plan))
        arrivals = Arrivals(layout, plan)
        shared = None if self.host is None else self.host.crew.cut(blueprint)
        builder = PartBuilder(
            layout=layout,
            sources=blueprint.sources,
            checksums=Checksums(layout.entries),
            store=self.store,
            upload=upload,
            threads=self.threads,
            carry=deflated.carry,
            width=self.options.width(shared=shared is not None),
            memory=self.options.memory,
            on_part=lambda part: progress.built(part.size, entries=arrivals.arrived(part)),
            cancellation=self.cancellation,
            reading=nullcontext() if shared is None else Semaphore(READING),
            lent=self.store.lent,
            streams=self.options.streams,
        )
        if len(plan) == 1 and plan[0].entry is None and not upload.begun:
            with self.tracer.span("parts", {"archiver.parts": 1, "archiver.copies": 0}):
                body, crc32 = builder.literal_body(plan[0])
                builder.confirm()
            with self.tracer.span("complete", {"archiver.bytes": layout.size, "archiver.parts": 0}):
                archive = upload.put_whole(body, crc32=crc32)
        else:
            with self._shared(shared, blueprint, upload, builder) as agenda:
                try:
                    told = {"archiver.parts": len(plan), "archiver.copies": copies}
                    with self.tracer.span("parts", told), self._opening(upload):
                        parts = deflated.parts + builder.run(plan, agenda)
                    crc32 = crc32_of_parts((part.crc32 or 0, part.size) for part in parts)
                    with self.tracer.span("complete", {"archiver.bytes": layout.size, "archiver.parts": len(parts)}):
                        archive = upload.complete(
                            parts,
                            crc32=crc32,
                            size=layout.size,
                            rebuild=None
                            if agenda is None
                            else lambda numbers: builder.build([part for part in plan if part.number in numbers]),
                        )
                except CopiesRefused as refusal:
                    # The completion may build parts, too.
                    raise refusal.of_sources(blueprint.order) from refusal
        progress.step("completed")
        return archive

    @contextmanager
    def _shared(
        self,
        shared: "Cut | None",
        blueprint: Blueprint,
        upload: Upload,
        builder: PartBuilder,
    ) -> "Iterator[Sharing | None]":
        """The plan as it is shared with others, where that is worth it; what was shared goes with the upload."""
        if self.host is None or shared is None:
            yield None
            return
        # Most jobs have no use for a crew, and its messages' models take a while to be built.
        from archiver.archive.crew import SharedUpload
        from archiver.archive.sharing import Sharing

        def brought(part: Part) -> None:
            self.store.forget(blueprint.sources_of(part))
            builder.on_part(part)

        sharing = Sharing(
            self.host,
            shared,
            blueprint,
            lambda: SharedUpload(self.archives.bucket, self.archive.key, upload.open()),
            checksums=builder.checksums,
            width=builder.width,
            on_part=brought,
        )
        over = False
        try:
            sharing.open(is_resumed=lambda: upload.resumed)
            yield sharing
            over = True
        except (*_ENDS, UploadGone):
            over = True
            raise
        finally:
            sharing.close(over=over)

    @contextmanager
    def _opening(self, upload: Upload) -> Iterator[None]:
        """Begin the upload while the first parts are read. Whoever needs it waits for it, and has its error."""
        opening = self.threads.parts.submit(upload.open)
        try:
            yield
        finally:
            # An upload that began behind our back would be aborted by nobody.
            if not opening.cancel():
                opening.exception()

    def _deflated(self, upload: Upload, progress: ProgressCounter, checkpoints: "Checkpoints | None") -> Deflated:
        most = sum(
            _RECORDS + 2 * len(name.encode()) + source.size
            for name, source in zip(self.names, self.sources, strict=True)
            if may_shrink(name, source.size)
        )
        # Half of the part numbers are enough for the deflated part of the archive, whatever it comes to.
        least_part = max(MIN_PART, math.ceil(most / (MAX_PARTS // 2)))
        checkpoint = checkpoints.load() if checkpoints is not None and self.resume else None
        if checkpoint is not None and not upload.find():
            checkpoint = None
        for again in range(READS):
            try:
                with self.tracer.span("deflate") as span:
                    deflated = self._deflate(
                        upload, progress, least_part=least_part, checkpoints=checkpoints, checkpoint=checkpoint
                    )
                    span.tell({"archiver.files": len(deflated.entries), "archiver.parts": len(deflated.parts)})
                return deflated
            except BytesDiffer as error:
                checkpoint = None
                if checkpoints is not None:
                    checkpoints.forget()
                if again + 1 == READS:
                    raise
                # How long an entry is hangs on its bytes, so what follows it is wrong as well.
                log.warning("deflated again: bytes are not what S3 says", reason=str(error))
        raise AssertionError("unreachable")

    def _deflate(
        self,
        upload: Upload,
        progress: ProgressCounter,
        *,
        least_part: int,
        checkpoints: "Checkpoints | None",
        checkpoint: "Checkpoint | None",
    ) -> Deflated:
        from archiver.archive.deflate import BLOCK, deflate  # as checkpoints

        return deflate(
            self.names,
            self.sources,
            store=self.store,
            upload=upload,
            threads=self.threads,
            part_size=max(self.options.part_size, least_part),
            least_part=least_part,
            # A block is there as it was read and as it is deflated, and its bytes wait in a part.
            blocks_in_flight=max(2, min(self.options.parts_in_flight, self.options.memory // (3 * BLOCK))),
            on_bytes=progress.deflated,
            on_entries=progress.entries_done,
            cancellation=self.cancellation,
            zone=self.options.zone,
            checkpoints=checkpoints,
            checkpoint=checkpoint,
        )

    def _refused(self, refusal: CopiesRefused, *, whole_buckets: bool) -> set[int]:
        """Which sources are to be read from now on: one refusal speaks for a bucket that nothing was copied from."""
        for index, reason in sorted(refusal.refused.items()):
            log.warning("copy refused: the object is read instead", source=str(self.sources[index]), reason=reason)
        buckets = {self.sources[index].bucket for index in refusal.refused}
        if not whole_buckets:
            buckets -= {self.sources[index].bucket for index in refusal.copied}
        return set(refusal.refused) | {index for index, source in enumerate(self.sources) if source.bucket in buckets}

    def _digest(self, uncopyable: Set[int]) -> str:
        """SHA-256 over all that determines the archive's parts."""
        engine = [
            ENGINE,
            len(self.names),
            self.options.part_size,
            self.options.write_worth,
            self.options.compression,
            str(self.options.zone),
            zlib_ng.ZLIBNG_RUNTIME_VERSION,
            sorted(uncopyable),
            # Another request's upload under the key is no part of this archive, be it of the same sources.
            *([] if self.archive.owner is None else [self.archive.owner]),
        ]
        digest = hashlib.sha256(framed([json.dumps(engine).encode()]))
        for names in batched(self.names, NAMES_AT_ONCE):
            digest.update(framed(name.encode() for name in names))
        for identities in as_picked(self.sources).identities():
            digest.update(identities)
        return digest.hexdigest()
