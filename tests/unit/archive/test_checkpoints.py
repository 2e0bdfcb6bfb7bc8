"""When checkpoints are written: none is skipped because the one before it was still on its way."""

import threading
from concurrent.futures import ThreadPoolExecutor

from archiver.archive.checkpoint import Checkpoint, Cut, EndedEntries, decode
from archiver.archive.checkpoints import Checkpoints
from tests.support.waiting import LONG_ENOUGH

MIB = 1024 * 1024


class SlowStore:
    """Keeps what it is given, the first one only after it was let go."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.parts: list[int] = []

    def load(self, name: str) -> bytes | None:
        raise NotImplementedError

    def save(self, name: str, body: bytes) -> None:
        self.begun.set()
        assert self.go_on.wait(LONG_ENOUGH)
        self.parts.append(len(decode(body).cuts))


def of_parts(count: int) -> Checkpoint:
    """Parts of 5 MiB each, all of one entry that has not ended."""
    cuts = [Cut(5 * MIB, 0, 0, 5 * MIB * n, header=1) for n in range(1, count + 1)]
    return Checkpoint("digest", EndedEntries(), cuts, [1] * count)


def test_what_came_while_one_was_written_is_written_next() -> None:
    store = SlowStore()
    checkpoints = Checkpoints(store, "name", digest=lambda: "digest")
    there: list[Checkpoint] = []

    with ThreadPoolExecutor(2) as pool:
        for count in (1, 2, 3):
            there.append(of_parts(count))
            checkpoints.grown(count * 5 * MIB, lambda _: there[-1], pool)
            assert store.begun.wait(LONG_ENOUGH)
        store.go_on.set()

    assert store.parts == [1, 3]
