"""Flower, Celery's commands and a browser, as processes of their own."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devtools.localstack import CHECKOUT
from devtools.processes import kill_group, spawn, stop, tail, wait_until

#: What Chromium needs to run as root, without a screen, and without asking the network for anything of its own.
_CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=10000",
)


@dataclass(frozen=True, slots=True)
class Program:
    """A running program and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return stop(self.process, patience=60)

    def kill(self) -> None:
        kill_group(self.process)


@contextlib.contextmanager
def running(*arguments: str, environment: Mapping[str, str], log: Path) -> Iterator[Program]:
    """``python -m ...`` in the checkout for the length of the block."""
    process = spawn([sys.executable, "-m", *arguments], environment=environment, directory=CHECKOUT, log=log)
    try:
        yield Program(process, log)
    finally:
        kill_group(process)


def run(*arguments: str, environment: Mapping[str, str], seconds: float = 300) -> "subprocess.CompletedProcess[str]":
    """``python -m ...`` in the checkout, to its end."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env=dict(environment),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


@dataclass(frozen=True, slots=True)
class Flower:
    """A running Flower."""

    program: Program
    url: str

    def get(self, path: str) -> Any:
        """A JSON answer of its API."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """What it knows of the tasks, by id."""
        found: dict[str, dict[str, Any]] = self.get("/api/tasks")
        return found


@contextlib.contextmanager
def running_flower(environment: Mapping[str, str], *, log: Path) -> Iterator[Flower]:
    """``celery -A archiver flower`` on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = ("celery", "-A", "archiver", "flower", "--address=127.0.0.1", f"--port={port}", "--inspect_timeout=10000")
    columns = "--tasks_columns=name,uuid,state,args,retries,runtime,result,exception,worker"
    environment = {**environment, "FLOWER_UNAUTHENTICATED_API": "true"}
    with running(*command, columns, environment=environment, log=log) as program:

        def up() -> bool:
            with contextlib.suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(f"{url}/healthcheck", timeout=5).close()
                return True
            return program.process.poll() is not None

        assert wait_until(up, seconds=120, interval=0.2), tail(log)
        assert program.process.poll() is None, tail(log)
        yield Flower(program, url)


@dataclass(frozen=True, slots=True)
class Browser:
    """Chromium without a screen."""

    program: str
    folder: Path

    def text(self, url: str) -> str:
        """The page's HTML once its scripts have run."""
        return self._run("--dump-dom", url)

    def screenshot(self, url: str, name: str, *, size: tuple[int, int] = (1400, 620)) -> Path:
        path = self.folder / name
        self._run(f"--screenshot={path}", f"--window-size={size[0]},{size[1]}", url)
        return path

    def _run(self, *arguments: str) -> str:
        profile = self.folder / "profile"
        finished = subprocess.run(
            [self.program, *_CHROMIUM, f"--user-data-dir={profile}", *arguments],
            capture_output=True,
            text=True,
            timeout=180,
        )
        shutil.rmtree(profile, ignore_errors=True)
        assert finished.returncode == 0, finished.stderr[-2000:]
        return finished.stdout


def find_browser(folder: Path) -> Browser | None:
    """A browser; None without Chromium, but a failure where CI is set."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("there is no Chromium (Debian: apt install chromium)")
    return None if program is None else Browser(program, folder)
