"""Loading many modules at once, as a program does when it starts."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Keep Python's collector from what is loaded in the block, now and later: it stays.

    It would look at all of it a few dozen times, and once more at the end: a fifth of the CPU of a short command.
    """
    worked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if worked:
            gc.enable()
