"""Workers with a scripted pipeline, and the journal of what it did; a site for a job that many workers build."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devtools.faults import Rule
from devtools.localstack import LocalStack
from devtools.proxy import running_proxy
from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient, StartWorker
from tests.integration.crew_site import FILES, Site
from tests.support.waiting import eventually

SCRIPTED = ("--include", "tests.integration.scripted_pipeline")


@dataclass(frozen=True, slots=True)
class Journal:
    """What the scripted pipeline did, in every worker of the test."""

    path: Path

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        text = self.path.read_text() if self.path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if event in (None, line["event"])]

    def wait(self, event: str, *, count: int = 1) -> list[dict[str, Any]]:
        """The lines of ``event``, once there are ``count`` of them; fewer where that never happens."""
        eventually(lambda: len(self.lines(event)) >= count)
        return self.lines(event)

    def release(self) -> None:
        """Let the jobs go on that hold, now and from now on."""
        self.path.with_name(f"{self.path.name}.released").touch()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def scripted_worker(start_worker: StartWorker, journal: Journal) -> Callable[..., Worker]:
    """``scripted_worker(WORKER_CONCURRENCY="2")``: a worker whose pipeline does as its payload says."""

    def start(**options: Any) -> Worker:
        return start_worker(
            **{"arguments": SCRIPTED, "QUEUE_TEST_JOURNAL": str(journal.path), "POLL_SECONDS": "1"} | options
        )

    return start


def command(do: str, **more: Any) -> dict[str, Any]:
    """A payload that tells the scripted pipeline what to do."""
    return {"files": [{"source": "a.txt"}], "metadata": {"do": do, **more}}


@pytest.fixture
def site(
    client: StackClient, stack: Stack, localstack: LocalStack, start_worker: StartWorker, tmp_path: Path
) -> Iterator[Site]:
    """Sources for one large job, and workers that share it."""
    for name, body in FILES.items():
        client.put(f"photos/{name}", body)
    with ExitStack() as proxies:

        def start(faults: Rule | None, **settings: Any) -> Worker:
            if faults is None:
                return start_worker(**settings)
            proxy = proxies.enter_context(running_proxy(localstack.url, faults=faults))
            return start_worker(endpoint=proxy.url, **settings)

        yield Site(client, stack.crew_url, start, tmp_path)
