"""Memory for the bytes of parts."""

import mmap
from contextlib import suppress


def allocate(size: int) -> mmap.mmap:
    """So many bytes of zeros, which go back to the system with the object: the heaps of many threads would keep them.

    In huge pages where the system has them, since each page of 4 KiB costs a fault.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
