"""The images that the tests run: built by the project's script, on real bases where they can be had."""

import os
import re
import shutil
import time
from dataclasses import dataclass, field

from devtools.localstack import CHECKOUT
from tests.container.engine import MAKE_SECONDS, PULL_SECONDS, Engine, EngineError

BUILD = CHECKOUT / "deploy" / "container" / "build"
STAND_IN_BASE = CHECKOUT / "deploy" / "container" / "stand-in-base"

WORKER = "archiver:local"
FLOWER = "archiver-flower:local"


class NoImage(Exception):
    """An image can neither be pulled nor stood in for on this machine; the message says why."""


@dataclass(slots=True)
class Images:
    """Makes what is missing, once a session, and keeps account of it for the summary."""

    engine: Engine
    account: list[str] = field(default_factory=list)
    _base: str | None = None
    _worker: str | None = None

    def base(self) -> str:
        """The Dockerfile's base image: there already, pulled, or stood in for under its tag. Raises ``NoImage``."""
        if self._base is None:
            name = _named("Dockerfile", r"^FROM (\S+) AS base$")
            tag = name.partition("@")[0]
            # A stand-in has no digest; where one was made before, no registry was there.
            if self.engine.succeeds("image", "inspect", tag) and self._is_stand_in(tag):
                name = tag
            if not self._got(name):
                obstacle = self._no_stand_in()
                if obstacle:
                    raise NoImage(f"no registry has {name}, and {obstacle}, so there is no stand-in for it either")
                self._make(tag, str(STAND_IN_BASE))
                name = tag
            self._base = name
        return self._base

    def worker(self) -> str:
        """The worker's image: its id, so that nobody's later build takes its place. Raises ``NoImage``."""
        if self._worker is None:
            with self.engine.lock():
                base = self.base()
                self._make(f"{WORKER} and {FLOWER}", str(BUILD), "worker", "flower")
                self._worker = self.engine.inspect("image", WORKER)["Id"]
                if self.engine.program == "podman":
                    # Layers of versions that are long gone; the younger ones are the next build's cache.
                    self.engine("image", "prune", "--force", "--filter", "until=168h")
                own = self.size(self._worker) - self.size(base)
                self.account.append(f"{WORKER}: {own / 1e6:.0f} MB on a base of {self.size(base) / 1e6:.0f} MB")
        return self._worker

    def localstack(self) -> str:
        """LocalStack's image as docker-compose.yml names it. Raises ``NoImage``."""
        name = _named("docker-compose.yml", r"^ *image: *(localstack/\S+)$")
        with self.engine.lock():
            if not self._got(name):
                self.base()
                self._make(name, str(BUILD), "localstack")
        return name

    def size(self, name: str) -> int:
        """Bytes, uncompressed."""
        return int(self.engine.inspect("image", name)["Size"])

    def _got(self, name: str) -> bool:
        if self.engine.succeeds("image", "inspect", name):
            kind = "a stand-in" if self._is_stand_in(name) else "the real image"
            self.account.append(f"{name}: {kind}, made or pulled before")
            return True
        if self.engine.succeeds("pull", "--quiet", name, seconds=PULL_SECONDS):
            self.account.append(f"{name}: the real image, pulled")
            return True
        return False

    def _is_stand_in(self, name: str) -> bool:
        return "archiver.stand-in" in (self.engine.inspect("image", name)["Config"].get("Labels") or {})

    def _no_stand_in(self) -> str | None:
        if self.engine.program == "docker":
            return "the daemon's images are not ours to put stand-ins among (podman has a store of our own)"
        if os.getuid() != 0:
            return "debootstrap needs root"
        return None if shutil.which("debootstrap") else "debootstrap is not installed"

    def _make(self, what: str, *command: str) -> None:
        started = time.monotonic()
        # One label for all commits: a layer is built anew when what is in it changes, not with each commit.
        variables = {"ENGINE": self.engine.program, "REVISION": "tests"} | (
            {"BASE_IMAGE": self._base} if self._base else {}
        )
        try:
            self.engine.call("nice", *command, seconds=MAKE_SECONDS, **variables)
        except EngineError as error:
            raise AssertionError(f"{what} could not be made: {error}") from None
        self.account.append(f"{what}: made in {time.monotonic() - started:.0f} s by {os.path.basename(command[0])}")  # noqa: PTH119


def _named(file: str, pattern: str) -> str:
    found = re.search(pattern, (CHECKOUT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert found, f"{file} names no image by {pattern}"
    return found[1]
