"""When checkpoints are written: none is skipped because the one before it was still on its way."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC
from typing import Any

import pytest

from archiver.archive.cancellation import Cancellation
from archiver.archive.checkpoint import Checkpoint, Cut, EndedEntries, decode
from archiver.archive.checkpoints import Checkpoints
from archiver.archive.deflate_writer import DeflateWriter
from archiver.archive.parallel import open_threads
from archiver.archive.storage import SourceObject, UploadedPart
from tests.support.jobs import logged, noise
from tests.support.waiting import LONG_ENOUGH

MIB = 1024 * 1024


class SlowStore:
    """Keeps what it is given, each once it is let go; ``error`` is raised for the first in its place."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.error = error
        self.parts: list[int] = []

    def load(self, name: str) -> bytes | None:
        raise NotImplementedError

    def save(self, name: str, body: bytes) -> None:
        self.begun.set()
        assert self.go_on.wait(LONG_ENOUGH)
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.parts.append(len(decode(body).cuts))


def of_parts(count: int) -> Checkpoint:
    """Parts of 5 MiB each, all of one entry that has not ended."""
    cuts = [Cut(5 * MIB, 0, 0, 5 * MIB * n, header=1) for n in range(1, count + 1)]
    return Checkpoint("digest", EndedEntries(), cuts, [1] * count)


@pytest.mark.parametrize(
    ("grown", "written"),
    [
        pytest.param([(1, 1), (2, 2), (3, 3)], [1, 3], id="in order"),
        # Each tells how many were there when it ended, the second one last.
        pytest.param([(1, 2), (3, 3), (2, 3)], [2, 3], id="one is overtaken"),
    ],
)
def test_what_came_while_one_was_written_is_written_next(grown: list[tuple[int, int]], written: list[int]) -> None:
    store = SlowStore()
    checkpoints = Checkpoints(store, "name", digest=lambda: "digest")
    there: list[int] = []

    with ThreadPoolExecutor(2) as pool:
        for uploaded, count in grown:
            there.append(count)
            checkpoints.grown(uploaded * 5 * MIB, lambda _: of_parts(there[-1]), pool)
            assert store.begun.wait(LONG_ENOUGH)
        store.go_on.set()

    assert store.parts == written


def test_one_that_fails_in_a_way_that_nobody_foresaw_is_told_and_the_next_one_written() -> None:
    store = SlowStore(RuntimeError("once"))
    store.go_on.set()
    checkpoints = Checkpoints(store, "name", digest=lambda: "digest")

    with ThreadPoolExecutor(2) as pool, logged() as lines:
        for count in (1, 2):
            checkpoints.grown(count * 5 * MIB, lambda _, count=count: of_parts(count), pool)  # type: ignore[misc]
            wait(checkpoints.under_way)

    assert store.parts == [2]
    assert [line["log_level"] for line in lines if "checkpoint not written" in line["event"]] == ["error"]


def test_after_a_new_beginning_small_ones_are_due_again() -> None:
    store = SlowStore()
    store.go_on.set()
    checkpoints = Checkpoints(store, "name", digest=lambda: "digest")

    with ThreadPoolExecutor(2) as pool:
        checkpoints.grown(50 * MIB, lambda _: of_parts(10), pool)
        wait(checkpoints.under_way)
        checkpoints.forget()
        checkpoints.grown(5 * MIB, lambda _: of_parts(1), pool)
        wait(checkpoints.under_way)

    assert store.parts == [10, 1]


class HeldBack:
    """An upload whose parts are there once they are let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def put(self, number: int, body: Any, *, crc32: int) -> UploadedPart:
        assert self.go_on.wait(LONG_ENOUGH)
        return UploadedPart(number, "e", len(body), crc32)


def test_no_checkpoint_is_under_way_once_deflating_has_settled() -> None:
    upload: Any = HeldBack()
    store = SlowStore()
    content = noise(6 * MIB)
    source = SourceObject(bucket="b", key="a", size=len(content), etag="e", modified=0)
    checkpoints = Checkpoints(store, "name", digest=lambda: "digest")

    with open_threads(parts=4, reads=2, copies=1) as threads:
        writer = DeflateWriter(
            ["a"],
            [source],
            upload=upload,
            threads=threads,
            part_size=5 * MIB,
            zone=UTC,
            checkpoints=checkpoints,
            on_entries=lambda _: None,
            cancellation=Cancellation(),
        )
        writer.begin(0)
        writer.add(content, crc32=1, raw_size=len(content), stop=len(content), last=True)
        # when it settles while the part, and then its checkpoint, are on their way
        settled = threads.reads.submit(writer.settle)
        upload.go_on.set()
        assert store.begun.wait(LONG_ENOUGH)
        with pytest.raises(TimeoutError):
            settled.result(0.5)
        store.go_on.set()
        settled.result(LONG_ENOUGH)

    assert all(future.done() for future in checkpoints.under_way)
    assert store.parts == [1]
