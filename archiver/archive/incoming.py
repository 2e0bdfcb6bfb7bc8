"""What others leave of a shared plan: looked for and read aside, so that who builds meanwhile need not wait for it.

What fails here has only not been seen: the builder looks again, or builds itself.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future

from archiver.archive.crew import CrewObjects, chunk_name, is_record
from archiver.archive.parallel import JobThreads
from archiver.errors import ArchiverError
from archiver.logs import get_logger

#: Records that are read at once.
READERS = 8

log = get_logger(__name__)


class Incoming:
    """The claims and records in a shared upload's folder. Used by one thread, which asks for them in ``threads``."""

    def __init__(self, objects: CrewObjects, folder: Callable[[], str], threads: JobThreads) -> None:
        self._objects = objects
        self._folder = folder
        self._threads = threads
        self._looking: Future[dict[str, int] | None] | None = None
        self._reading: dict[int, Future[bytes | None]] = {}
        #: Whether the last look has shown something.
        self.sees = True

    def look(self) -> None:
        """Begin to see what is there, if that is not under way."""
        self._looking = self._looking or self._threads.submit(self._sizes)

    def seen(self, *, wait: bool = False) -> dict[str, int] | None:
        """What a look has shown, once, with sizes in bytes; None where none has ended, or it could not see."""
        if self._looking is None or not (wait or self._looking.done()):
            return None
        sizes, self._looking = self._looking.result(), None
        self.sees = sizes is not None
        return sizes

    def read(self, number: int) -> None:
        """Begin to read a chunk's record, if that is not under way."""
        if number not in self._reading:
            self._reading[number] = self._threads.submit(self._record, number)

    def records(self, *, wait: bool = False) -> Iterator[tuple[int, bytes]]:
        """The records that have come, each once, by their chunks' numbers."""
        for number in [number for number, reading in self._reading.items() if wait or reading.done()]:
            if (body := self._reading.pop(number).result()) is not None:
                yield number, body

    def _sizes(self) -> dict[str, int] | None:
        try:
            return self._objects.sizes(self._folder())
        except ArchiverError as error:
            log.debug("what others have brought can't be seen", reason=str(error))
            return None

    def _record(self, number: int) -> bytes | None:
        """The chunk's record; None where there is none, as far as we know."""
        try:
            body = self._objects.get(self._folder(), chunk_name(number))
        except ArchiverError as error:
            # That says nothing of the record, nor whether there is one.
            log.debug("what others have brought can't be seen", reason=str(error))
            return None
        return body if body is not None and is_record(len(body)) else None
