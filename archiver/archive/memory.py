"""Memory for the bytes of parts."""

import ctypes
import gc
import mmap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache

KIB = 1024
#: Buffers are so many bytes long, or a multiple of it.
_GRAIN = 256 * KIB
#: Bytes that a buffer may be longer than what it is used for.
_SPARE = 512 * KIB
#: Objects between two looks of the collector at the youngest, and such looks between those at older ones. Python's own
#: are for programs that make garbage in cycles; a job makes objects by the ten thousand that stay until its end.
_COLLECTOR = (50_000, 20, 20)
#: Blocks that the C library takes from the system one by one, in bytes, and gives back at once. Left to itself it soon
#: keeps those of up to 32 MiB, and columns that grow side by side leave holes of half their size behind.
_LONG_BLOCK = 1024 * KIB
# https://sourceware.org/git/?p=glibc.git;a=blob;f=malloc/malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def allocate(size: int) -> mmap.mmap:
    """So many bytes of zeros, which go back to the system with the object: the heaps of many threads would keep them.

    In huge pages where the system has them, since each page of 4 KiB costs a fault.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


class Lent:
    """Bytes of a job's memory that others than its parts hold for a while; for all its threads."""

    def __init__(self) -> None:
        self.size = 0
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    def take(self, size: int) -> None:
        """So many more are held."""
        with self._lock:
            self.size += size

    def give(self, size: int) -> None:
        """So many fewer are. Who listens is called, from this thread."""
        with self._lock:
            self.size -= size
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    @contextmanager
    def heard_by(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener`` whenever bytes are given back, until the block ends."""
        with self._lock:
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)


class Buffers:
    """Memory that is used for one part after the other: the system clears and maps each page once.

    As long as those in use have no more than ``size`` bytes together, less what is lent, all of them take little more
    than that.
    """

    def __init__(self, size: int, lent: Lent | None = None) -> None:
        self._size = size
        self._lent = lent or Lent()
        self._held = 0
        self._free: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def take(self, size: int) -> mmap.mmap:
        """A buffer of ``size`` bytes or a little more, with anything in it."""
        length = -(-size // _GRAIN) * _GRAIN
        with self._lock:
            for index in reversed(range(len(self._free))):
                if size <= len(self._free[index]) <= length + _SPARE:
                    return self._free.pop(index)
            while self._free and self._held + length > self._size - self._lent.size:
                self._held -= len(self._free.pop(0))
            self._held += length
        return allocate(length)

    def trim(self) -> None:
        """Let go of what nobody uses: the memory is wanted elsewhere."""
        with self._lock:
            self._held -= sum(map(len, self._free))
            self._free.clear()

    def give(self, buffer: mmap.mmap) -> None:
        """Give a buffer back that nobody looks at any more."""
        with self._lock:
            if self._held <= self._size - self._lent.size:
                self._free.append(buffer)
            else:
                self._held -= len(buffer)


@cache
def settle() -> None:
    """Set up the memory of this process for jobs, once.

    Python's collector is told that what is there now stays, and that jobs need it seldom; the C library that long
    blocks are the system's, where it is glibc.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECTOR)
    if (mallopt := _c_function("mallopt")) is not None:
        mallopt(_M_MMAP_THRESHOLD, _LONG_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, 2 * _LONG_BLOCK)


def trim() -> None:
    """Give back to the system what the heaps of all threads have free, where the C library is glibc."""
    if (malloc_trim := _c_function("malloc_trim")) is not None:
        malloc_trim(0)


def _c_function(name: str) -> Callable[..., int] | None:
    """A function of the C library, None where it has none of this name."""
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function
