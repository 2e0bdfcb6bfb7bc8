"""How others are invited to a shared plan: it is written down, and a message sent for each turn.

What of this fails, the builder does without.
"""

import threading
from collections.abc import Callable
from itertools import accumulate

from archiver.archive.blueprint import Blueprint
from archiver.archive.chunks import Chunk, Cut, Turn, turns
from archiver.archive.crew import BATCH, PLAN, Host, SharedUpload
from archiver.archive.crew_plan import Invitation, digest_of, write_block
from archiver.archive.parallel import batched
from archiver.errors import ArchiverError
from archiver.logs import get_logger

log = get_logger(__name__)


def tell_alone(error: Exception) -> None:
    """Log why nobody is invited; an unforeseen error with its place."""
    unforeseen = None if isinstance(error, ArchiverError) else error
    log.warning("others can't be invited: the job goes on alone", reason=str(error), exc_info=unforeseen)


class Inviting:
    """The invitations of one plan. ``stopped`` ends them; ``is_free`` says whether nobody has begun a chunk so far."""

    def __init__(
        self,
        host: Host,
        shared: Cut,
        blueprint: Blueprint,
        *,
        is_free: Callable[[Chunk], bool],
        stopped: threading.Event,
    ) -> None:
        self._host = host
        self._cut = shared
        self._blueprint = blueprint
        self._is_free = is_free
        self._stopped = stopped
        self._turns = turns(shared.stretches)
        self._blocks: list[bytes | None] = []
        #: Of each chunk the digest of its stretch's block; None where that can't be shared.
        self.digests: dict[int, str | None] = {}

    def write(self) -> None:
        """Make the plan's blocks."""
        log.info("others are invited", chunks=len(self._cut.chunks), turns=len(self._turns))
        for stretch in self._cut.stretches:
            block = write_block(self._blueprint.layout, self._blueprint.sources, stretch)
            self._blocks.append(block)
            digest = None if block is None else digest_of(block)
            self.digests.update((chunk.number, digest) for chunk in stretch)

    def invite(self, upload: SharedUpload) -> None:
        """Put the plan where others find it, and invite to all stretches of which something is left."""
        try:
            plan = b"".join(block for block in self._blocks if block is not None)
            self._host.crew.objects.put(upload.folder, PLAN, plan)
            self._send(upload)
        except Exception as error:
            tell_alone(error)

    def _send(self, upload: SharedUpload) -> None:
        starts = [0, *accumulate(0 if block is None else len(block) for block in self._blocks)]
        due = [turn for turn in self._turns if self._blocks[turn.stretch] is not None and self._is_left(turn.stretch)]
        for batch in batched(enumerate(due), BATCH):
            if self._stopped.is_set():
                return
            self._host.crew.queue.send(
                [
                    self._invitation(upload, turn, number, len(due), starts[turn.stretch : turn.stretch + 2])
                    for number, turn in batch
                ],
                correlation_id=self._host.correlation_id,
            )

    def _is_left(self, stretch: int) -> bool:
        """Whether there is a chunk of the stretch that nobody has begun."""
        return any(map(self._is_free, self._cut.stretches[stretch]))

    def _invitation(self, upload: SharedUpload, turn: Turn, number: int, count: int, block: list[int]) -> Invitation:
        stretch = self._cut.stretches[turn.stretch]
        digest = self.digests[turn.begin]
        assert digest is not None
        start, stop = block
        return Invitation(
            request_id=self._host.request_id,
            bucket=upload.bucket,
            key=upload.key,
            upload_id=upload.upload_id,
            folder=upload.folder,
            number=number,
            turns=count,
            first=stretch[0].number,
            last=stretch[-1].number,
            begin=turn.begin,
            start=start,
            stop=stop,
            digest=digest,
        )
