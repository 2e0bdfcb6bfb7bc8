"""A real ``celery -A archiver flower`` as a child process, on a free port of the loopback interface."""

import contextlib
import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devtools.localstack import CHECKOUT
from devtools.processes import Program, spawn, tail, wait_until

#: Seconds from start to an answer.
START_SECONDS = 120.0


class FlowerError(Exception):
    """Flower did not come up; the message shows its log's end."""


@dataclass(frozen=True, slots=True)
class Flower:
    """A running Flower."""

    program: Program
    url: str  # no trailing slash

    def get(self, path: str) -> Any:
        """A JSON answer of its API."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:  # noqa: S310 - our own http URL
            return json.load(answer)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """What it knows of the tasks, by id."""
        found: dict[str, dict[str, Any]] = self.get("/api/tasks")
        return found


@contextlib.contextmanager
def running_flower(environment: Mapping[str, str], *, log: Path) -> Iterator[Flower]:
    """Flower for the length of the block; its API is open to everybody on this machine.

    ``environment`` is a worker's. Raises ``FlowerError`` where it does not answer in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "celery", "-A", "archiver", "flower", "--address=127.0.0.1", f"--port={port}"]
    environment = {**environment, "FLOWER_UNAUTHENTICATED_API": "true"}
    program = Program(spawn(command, environment=environment, directory=CHECKOUT, log=log), log)

    def settled() -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"{url}/healthcheck", timeout=5).close()  # noqa: S310 - our own http URL
            return True
        return not program.alive()

    try:
        if not wait_until(settled, seconds=START_SECONDS, interval=0.2) or not program.alive():
            raise FlowerError(f"Flower did not come up; the end of its log:\n{tail(log)}")
        yield Flower(program, url)
    finally:
        program.kill()
