"""The content of an answer while it comes in: it waits here, a little of it, until it is taken."""

from collections import deque
from collections.abc import Callable, Mapping

from archiver.archive.streamed_body import WINDOW
from archiver.aws.transfer import Transfer

#: Bytes that are worth to be sent on; fewer wait for more, but at the end.
ENOUGH = 128 * 1024


class Inlet:
    """What one transfer brings by a ``lane``. All but ``close`` and the properties is for that lane's thread.

    ``opened`` is called once: as soon as the answer's headers are there, or it is certain that none will be.
    """

    def __init__(self, opened: Callable[[Transfer], None], drop: Callable[[Transfer], None], *, lane: int = 0) -> None:
        self.lane = lane
        self._opened: Callable[[Transfer], None] | None = opened
        self._drop = drop
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._over = self._left = False
        self._error: str | None = None
        self._go_on: Callable[[], None] | None = None
        self._wake: Callable[[], None] | None = None
        self.transfer: Transfer | None = None
        self.headers: Mapping[str, str] = {}
        #: Bytes that were taken so far.
        self.taken = 0

    # For the transfer.

    def begins(self, transfer: Transfer) -> None:
        """The headers of an answer that is a success are there."""
        self.headers = transfer.answered_headers()
        self._tell(transfer)

    def offer(self, chunk: bytes, go_on: Callable[[], None]) -> bool:
        """Take bytes in. False where there is no room: then ``go_on`` is called once there is."""
        if self._waiting >= WINDOW:
            self._go_on = go_on
            return False
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        if self._wake is not None and self._waiting >= ENOUGH:
            self._rouse()
        return True

    def ended(self, transfer: Transfer) -> None:
        """The transfer has ended, well or not."""
        self._over = True
        self._error = transfer.error
        if transfer.error is None and 200 <= transfer.status < 300 and not self.headers:
            self.headers = transfer.answered_headers()  # of nothing
        if self._left:
            self._chunks.clear()
        self._rouse()
        self._tell(transfer)

    # For whom the bytes are for.

    def take(self, most: int, wake: Callable[[], None]) -> bytes | None:
        """Bytes that have come, ``most`` of them at most. None where there are none yet: ``wake`` tells of more.

        Nothing is left once all that was announced has been taken. Raises ``ConnectionError`` where it broke off.
        """
        if self._waiting < ENOUGH and not self._over:
            self._wake = wake
            return None
        if not self._chunks:
            raise ConnectionError(self._error or "the answer is shorter than it said")
        chunk = self._joined(most)
        self._waiting -= len(chunk)
        self.taken += len(chunk)
        if self._go_on is not None and self._waiting <= WINDOW // 2:
            go_on, self._go_on = self._go_on, None
            go_on()
        return chunk

    def close(self) -> None:
        """Nobody takes any more; what is still under way is hung up on. From any thread."""
        self._left = True
        # They refer to each other, and the collector may find them as late as at the end of the job.
        transfer, self.transfer = self.transfer, None
        if self._over:
            self._chunks.clear()
        elif transfer is not None:
            self._drop(transfer)

    def _joined(self, most: int) -> bytes:
        """What waits, or ``most`` of it: libcurl brings 16 KiB at a time, which alone cost twice as much."""
        if self._waiting <= most:
            chunk = b"".join(self._chunks)
            self._chunks.clear()
            return chunk
        gathered = []
        room = most
        while room:
            chunk = self._chunks.popleft()
            if len(chunk) > room:
                self._chunks.appendleft(chunk[room:])
                chunk = chunk[:room]
            gathered.append(chunk)
            room -= len(chunk)
        return b"".join(gathered)

    def _rouse(self) -> None:
        if self._wake is not None:
            wake, self._wake = self._wake, None
            wake()

    def _tell(self, transfer: Transfer) -> None:
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened(transfer)
