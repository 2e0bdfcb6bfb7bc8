"""The container engine of this machine: docker with a daemon that answers, else podman.

podman gets a store of its own below the user's cache folder (``$ARCHIVER_CONTAINERS`` moves it): stand-ins bear the
names of real images and must not take their place, and what was built once is there for the next run. Where no
systemd runs it also gets settings that need none.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devtools.localstack import CHECKOUT
from devtools.processes import wait_until

SECONDS = 120
#: The base's Debian, the requirements of LocalStack and of the images: two minutes on two idle cores.
MAKE_SECONDS = 1200
PULL_SECONDS = 300

_CONTAINERS_CONF = """
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"

[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
"""
_NETWORK_CONF = """
[network]
network_config_dir = "{folder}/networks"
"""
_STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "{folder}/images"
runroot = "/tmp/archiver-containers-{tag}"
"""


class EngineError(Exception):
    """A command of the engine failed; the message has what it said."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that can build and run."""

    program: str  # docker or podman
    folder: Path
    environment: Mapping[str, str] = field(repr=False)

    def call(self, *arguments: str | Path, seconds: float = SECONDS, **environment: str) -> str:
        """Any program with the engine's environment; its output. Raises ``EngineError``."""
        try:
            answer = subprocess.run(
                arguments,
                cwd=CHECKOUT,
                env={**self.environment, **environment},
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"{' '.join(map(str, arguments))}: not done after {seconds:.0f} s") from None
        if answer.returncode:
            said = f"{answer.stdout[-4000:]}\n{answer.stderr[-4000:]}"
            raise EngineError(f"{' '.join(map(str, arguments))}: exit code {answer.returncode}\n{said}")
        return answer.stdout

    def __call__(self, *arguments: str, seconds: float = SECONDS) -> str:
        """A command of the engine; its output. Raises ``EngineError``."""
        return self.call(self.program, *arguments, seconds=seconds)

    def succeeds(self, *arguments: str, seconds: float = SECONDS) -> bool:
        """Does the engine's command end with 0?"""
        with contextlib.suppress(EngineError):
            self(*arguments, seconds=seconds)
            return True
        return False

    def inspect(self, kind: str, name: str) -> Any:
        """What the engine knows of a container or an image."""
        return json.loads(self(kind, "inspect", name))[0]

    def compose(self) -> list[str] | None:
        """The program that reads docker-compose.yml; None where there is none."""
        if self.program == "docker":
            return ["docker", "compose"] if self.succeeds("compose", "version") else None
        return ["podman-compose"] if shutil.which("podman-compose") else None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One maker of images at a time, on this machine."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def run(self, image: str, *options: str) -> Iterator["Container"]:
        """A container in the background for the length of the block; then it is gone, and its volumes with it."""
        container = Container(self, self("run", "--detach", *options, image).strip().splitlines()[-1])
        try:
            yield container
        finally:
            self("rm", "--force", "--volumes", container.id)


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was started."""

    engine: Engine
    id: str

    def log(self) -> str:
        """All that it wrote, to both streams."""
        answer = subprocess.run(
            [self.engine.program, "logs", self.id],
            env=dict(self.engine.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return answer.stdout

    def state(self) -> Any:
        """Running, ExitCode, Health and so on, as the engine has them."""
        return self.engine.inspect("container", self.id)["State"]

    def inside(self, *command: str) -> str:
        """The output of a command in the container. Raises ``EngineError``."""
        return self.engine("exec", self.id, *command)

    def health(self) -> str:
        """``starting``, ``healthy`` or ``unhealthy``.

        docker's daemon runs the check in its interval. podman leaves that to systemd's timers, so each call of this
        is one run of it.
        """
        if self.engine.program == "podman":
            self.engine.succeeds("healthcheck", "run", self.id)
        state = self.state()
        return str((state.get("Health") or state.get("Healthcheck") or {}).get("Status"))

    def becomes(self, health: str, *, seconds: float) -> bool:
        """Is the health check's verdict this, within ``seconds``?"""
        return wait_until(lambda: self.health() == health, seconds=seconds, interval=0.5)

    def says(self, text: str, *, seconds: float) -> bool:
        """Does the text appear in the log within ``seconds``? Gives up when the container ends."""
        wait_until(lambda: text in self.log() or not self.state()["Running"], seconds=seconds, interval=0.2)
        return text in self.log()


def find_engine() -> Engine | None:
    """docker where its daemon answers, else podman, else None."""
    folder = Path(os.environ.get("ARCHIVER_CONTAINERS") or _cache() / "archiver-containers").absolute()
    docker = Engine("docker", folder, dict(os.environ))
    if shutil.which("docker") and docker.succeeds("info", seconds=20):
        return docker
    if not shutil.which("podman"):
        return None
    settings = _NETWORK_CONF.format(folder=folder)
    if not Path("/run/systemd/system").exists():
        settings += _CONTAINERS_CONF
    for name in ("images", "networks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    written = {
        "CONTAINERS_CONF": folder / "containers.conf",
        "CONTAINERS_STORAGE_CONF": folder / "storage.conf",
    }
    # What runs is kept apart from what is stored, at a short path: sockets' names are limited.
    tag = hashlib.sha256(f"{os.getuid()} {folder}".encode()).hexdigest()[:12]
    written["CONTAINERS_CONF"].write_text(settings)
    written["CONTAINERS_STORAGE_CONF"].write_text(_STORAGE_CONF.format(folder=folder, tag=tag))
    return Engine("podman", folder, {**os.environ, **{name: str(path) for name, path in written.items()}})


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
