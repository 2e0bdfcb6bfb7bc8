"""Jobs first, with real workers: a job that waits goes before chunks that wait, and finds a slot free of them."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from devtools.faults import Fault, Hold, Request
from devtools.messages import depth
from devtools.worker import Worker
from tests.integration.crew_site import FILES, Site, go_on, lines
from tests.support.waiting import LONG_ENOUGH, eventually

pytestmark = [pytest.mark.localstack, pytest.mark.slow]


@dataclass
class HeldChunks:
    """Holds back what chunks read, until it is opened; the sources of other jobs are not held."""

    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, request: Request) -> Fault | None:
        held = request.operation == "GetObject" and "/photos/" in request.path
        return Hold(self.opened) if held else None


@pytest.fixture
def held() -> Iterator[HeldChunks]:
    held = HeldChunks()
    yield held
    held.opened.set()


def begun(worker: Worker) -> list[str]:
    """What the worker has begun, in its order: jobs and chunks."""
    names = {"job started": "job", "help started": "chunk"}
    found = [(line["timestamp"], name) for text, name in names.items() for line in lines(worker, text)]
    return [name for _, name in sorted(found)]


def test_a_worker_of_one_slot_begins_a_job_that_waits_before_the_next_chunk(site: Site, held: HeldChunks) -> None:
    # given a worker with a chunk in its only slot, and more that wait
    builder, large = site.builder()
    other = site.worker(faults=held)
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)
    site.client.put("note.txt", b"a small job")
    # when a job comes meanwhile
    small = site.client.send({"files": [{"source": "note.txt"}]})
    assert eventually(lambda: sum(depth(site.client.sqs, site.client.stack.input_url)) == 2)
    assert depth(site.client.sqs, site.crew_url)[0] > 0
    assert begun(other) == ["chunk"]
    held.opened.set()
    # then it is the next that begins, before the chunks that were there first
    site.client.notification(small)
    go_on(builder)
    site.check(large)
    assert begun(other)[:2] == ["chunk", "job"]
    assert begun(other).count("chunk") > 1


def test_chunks_leave_a_slot_to_the_jobs_that_come(site: Site, held: HeldChunks) -> None:
    # given a worker of two slots, and more chunks than it has
    builder, large = site.builder()
    other = site.worker(faults=held, WORKER_CONCURRENCY="2")
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)
    assert depth(site.client.sqs, site.crew_url)[0] > 0
    site.client.put("note.txt", b"a small job")
    # when jobs come while it is at a chunk, one after the other
    for number in range(2):
        small = site.client.send({"files": [{"source": "note.txt"}], "metadata": {"number": number}})
        # then each is done at once, and nothing but jobs takes that slot
        site.client.notification(small)
    assert begun(other) == ["chunk", "job", "job"]
    assert lines(other, "help done") == []
    held.opened.set()
    go_on(builder)
    site.check(large, FILES)
