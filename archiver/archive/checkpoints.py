"""When checkpoints of deflating are written, and what becomes of them: one object an archive, beside the upload.

It saves work and nothing hangs on it: where it can't be written or read, a later attempt deflates all again. A whole
part is what it is worth: the first parts have one each, later ones are written as the upload grows by a twentieth,
and never before the parts have grown by many times the checkpoint's own size. The worker deletes none, as it deletes
no object: each is written over the one before, and the last one falls to the bucket's lifecycle rule or to
``archiver sweep``.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from typing import Protocol

from archiver.archive.checkpoint import MOST_BYTES, BadCheckpoint, Checkpoint, decode
from archiver.archive.storage import ArchiveObject, UploadedPart
from archiver.errors import ArchiverError
from archiver.logs import get_logger

#: The next one is due when the parts have grown by this share, ...
GROWTH = 1 / 20
#: ... or by so many bytes, whichever is less, ...
MOST_GROWTH = 512 * 1024 * 1024
#: ... but by no less than so many times the last one's size.
LEAST_GROWTH = 16
#: Checkpoints that can't be written, after which none is tried any more.
FAILURES = 3

#: What is said where one can't be written.
NOT_WRITTEN = "checkpoint not written: a later attempt would deflate again"

#: Makes a checkpoint of what there is, for the plan of a digest; None where there is nothing yet.
MakeCheckpoint = Callable[[str], Checkpoint | None]

log = get_logger(__name__)


class CheckpointStore(Protocol):
    """Where checkpoints are kept, by name. ``archiver.aws.checkpoints`` has the real one. Raise ``ArchiverError``."""

    def load(self, name: str) -> bytes | None: ...
    def save(self, name: str, body: bytes) -> None: ...


def checkpoint_name(bucket: str, archive: ArchiveObject) -> str:
    """The name of an archive's checkpoint, which tells nothing of the archive's key."""
    return hashlib.sha256("\n".join([bucket, archive.key, archive.owner or ""]).encode()).hexdigest()


class Checkpoints:
    """Those of one build. ``digest`` is that of its plan: another plan's are of no use."""

    def __init__(self, store: CheckpointStore, name: str, *, digest: Callable[[], str]) -> None:
        self._store = store
        self._name = name
        self._digest = digest
        self._lock = threading.Lock()
        self._uploaded = self._due = self._parts = 0
        self._saving: Future[None] | None = None
        self._busy = False
        self._failures = 0

    def load(self) -> Checkpoint | None:
        """The one that an earlier attempt at the same plan left."""
        try:
            body = self._store.load(self._name)
            if body is None:
                return None
            found = decode(body)
        except (ArchiverError, BadCheckpoint) as error:
            log.warning("deflating from the start: the checkpoint can't be used", reason=str(error))
            return None
        if found.digest != self._digest():
            log.info("deflating from the start: the checkpoint is of another plan")
            return None
        return found

    def grown(self, uploaded: int, make: MakeCheckpoint, executor: Executor) -> None:
        """The deflated parts in S3 have come to so many bytes: ``make`` one by the digest where one is due."""
        with self._lock:
            # Whoever is late knows of fewer.
            self._uploaded = max(self._uploaded, uploaded)
            if self._busy or not self._is_due():
                return
            self._busy = True
            self._saving = executor.submit(self._save_as_long_as_due, make)

    def close(self, make: MakeCheckpoint, parts: Sequence[UploadedPart]) -> None:
        """Write the last one, where parts are there that the one before knows nothing of."""
        wait(self.under_way)
        if len(parts) > self._parts and self._failures < FAILURES:
            self._save(make)

    @property
    def under_way(self) -> list[Future[None]]:
        """What is being written."""
        return [] if self._saving is None else [self._saving]

    def forget(self) -> None:
        """What was written is of no use: deflating has begun anew, and the next one is written over it.

        Nothing may be under way.
        """
        self._uploaded = self._due = self._parts = 0

    def _is_due(self) -> bool:
        return self._failures < FAILURES and self._uploaded >= self._due

    def _save_as_long_as_due(self, make: MakeCheckpoint) -> None:
        """Whatever came while one was being written may be the last that comes before this process dies."""
        knows = -1
        try:
            while True:
                with self._lock:
                    if self._uploaded == knows or not self._is_due():
                        self._busy = False
                        return
                    knows = self._uploaded
                self._save(make)
        except Exception:
            log.exception(NOT_WRITTEN)
            self._busy = False

    def _save(self, make: MakeCheckpoint) -> None:
        checkpoint = make(self._digest())
        if checkpoint is None:
            return
        body = checkpoint.encode()
        uploaded = sum(cut.size for cut in checkpoint.cuts)
        self._due = uploaded + max(int(min(uploaded * GROWTH, MOST_GROWTH)), LEAST_GROWTH * len(body))
        if len(body) > MOST_BYTES:
            self._failures = FAILURES
            return
        try:
            self._store.save(self._name, body)
            self._parts = len(checkpoint.cuts)
        except ArchiverError as error:
            self._failures += 1
            log.warning(NOT_WRITTEN, reason=str(error))
