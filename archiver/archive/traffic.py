"""What a job moved: the bytes that passed through the worker, those that stayed inside S3, and what was asked of it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Traffic:
    """Counters of one job, fed by many threads. Bytes, parts that were uploaded or copied, and requests to S3.

    Of requests each attempt counts, those of botocore's and our own retries, too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes_read = 0
        self.bytes_uploaded = 0
        self.bytes_copied = 0
        self.uploads = 0
        self.copies = 0
        self.requests = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Have the requests that are made in the block counted here, with those of the job's threads."""
        token = _counting.set(self)
        try:
            yield
        finally:
            _counting.reset(token)

    def asked(self, requests: int) -> None:
        with self._lock:
            self.requests += requests

    def read(self, size: int) -> None:
        with self._lock:
            self.bytes_read += size

    def uploaded(self, size: int) -> None:
        with self._lock:
            self.bytes_uploaded += size
            self.uploads += 1

    def copied(self, size: int) -> None:
        with self._lock:
            self.bytes_copied += size
            self.copies += 1


_counting: ContextVar[Traffic | None] = ContextVar("counting", default=None)


def count_request(requests: int = 1) -> None:
    """A request to S3 is made, or so many: whoever counts in this thread's context counts them."""
    traffic = _counting.get()
    if traffic is not None:
        traffic.asked(requests)
