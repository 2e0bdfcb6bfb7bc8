"""What a job moved: the bytes that passed through the worker, and those that stayed inside S3."""

import threading


class Traffic:
    """Counters of one job, fed by many threads. Bytes, and requests that moved them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes_read = 0
        self.bytes_uploaded = 0
        self.bytes_copied = 0
        self.uploads = 0
        self.copies = 0

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
