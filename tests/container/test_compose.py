"""docker-compose.yml: by the schema, and run: a message in, an archive out."""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devtools.localstack import CHECKOUT, LocalStack
from devtools.messages import send, wait_for
from devtools.processes import wait_until
from devtools.samples import SOURCE_JPG
from devtools.stack import Names
from tests.container.engine import MAKE_SECONDS, Engine
from tests.container.images import Images

COMPOSE = CHECKOUT / "docker-compose.yml"
UP_SECONDS = 120


def test_the_compose_file_keeps_to_the_compose_specification() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


@dataclass(frozen=True, slots=True)
class Project:
    """The compose file, up."""

    localstack: str  # URL, as programs on this machine reach it
    flower: str
    logs: Callable[[], str]


@pytest.fixture
def project(engine: Engine, images: Images, compose: list[str]) -> Iterator[Project]:
    # Ports and a project's name of our own, so that this runs beside a developer's own `up`.
    name = f"archiver-{uuid.uuid4().hex[:8]}"
    localstack, flower = _free_ports(2)
    variables = {
        "LOCALSTACK_PORT": str(localstack),
        "FLOWER_PORT": str(flower),
        "ARCHIVE_BASE_URL": f"http://localhost:{localstack}/zip-storage",
    }

    def run(*arguments: str, seconds: float = UP_SECONDS) -> str:
        return engine.call(*compose, "-p", name, *arguments, seconds=seconds, **variables)

    def logs() -> str:
        return "\n".join(
            f"--- {container}\n{engine('logs', container)}"
            for container in engine("ps", "-a", "--format", "{{.Names}}").split()
            if container.startswith(name)
        )

    images.account.append(f"docker-compose.yml: run by {' '.join(compose)}")
    try:
        run("up", "-d", "--no-build")
        yield Project(f"http://localhost:{localstack}", f"http://localhost:{flower}", logs)
    finally:
        run("down", "-v")
        # podman-compose leaves its network.
        engine.succeeds("network", "rm", "-f", f"{name}_default")


@pytest.mark.container
@pytest.mark.timeout(2 * MAKE_SECONDS)
def test_a_message_in_an_archive_out(project: Project, tmp_path: Path) -> None:
    # given the file's containers, and its resources
    outside = LocalStack(project.localstack, 0, tmp_path, tmp_path)  # boto3 clients, as on a developer's machine
    assert wait_until(lambda: _ready(project.localstack), seconds=UP_SECONDS, interval=0.5), project.logs()
    sqs = outside.client("sqs")
    names = Names()
    # when a payload names the sample picture
    request_id = send(
        sqs,
        sqs.get_queue_url(QueueName=names.input_queue)["QueueUrl"],
        {"files": [{"source": "source.jpg", "destination": "pictures"}]},
    )
    # then a notification links to an archive that holds it, and the link can be opened on this machine
    notification = wait_for(
        sqs,
        sqs.get_queue_url(QueueName=names.output_queue)["QueueUrl"],
        seconds=UP_SECONDS,
        matching=lambda message: message.json["request_id"] == request_id,
    ).json
    path = tmp_path / "archive.zip"
    with urllib.request.urlopen(notification["substitutions"]["archiver_URL"], timeout=60) as answer:
        path.write_bytes(answer.read())
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["pictures/source.jpg"]
        assert archive.read("pictures/source.jpg") == SOURCE_JPG.read_bytes()
    # and Flower is there, with the columns of its configuration and not with its own
    assert wait_until(lambda: _get(f"{project.flower}/healthcheck") is not None, seconds=UP_SECONDS), project.logs()
    page = _get(f"{project.flower}/tasks") or b""
    assert all(f'data-column="{column}"'.encode() in page for column in ("received", "result", "exception")), page


def _ready(url: str) -> bool:
    answer = _get(f"{url}/_localstack/init/ready")
    return bool(answer and json.loads(answer)["completed"])


def _get(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            body: Any = answer.read()
            return bytes(body)
    except (OSError, urllib.error.URLError):
        return None


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
