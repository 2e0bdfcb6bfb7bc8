"""Celery's commands and a browser, as processes of their own."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from devtools.localstack import CHECKOUT
from devtools.processes import Program, kill_group, spawn

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
