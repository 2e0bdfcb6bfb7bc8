"""The S3 server under a benchmark: started for it, or one that runs already."""

import contextlib
import json
import os
import re
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devtools.localstack import running_localstack
from devtools.processes import kill_group, spawn, tail, wait_until

START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Server:
    """Where S3 answers, with whose credentials, and how the tables call it."""

    url: str
    title: str
    access_key: str = "test"
    secret_key: str = "test"


@contextlib.contextmanager
def running_server(name: str, *, tools: Path) -> Iterator[Server]:
    """Start ``localstack`` or ``seaweedfs``, or use the plain http URL that is given.

    A URL is talked to with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of this process. ``tools`` is the folder of
    the ``weed`` program. Raises ``RuntimeError`` if the server does not answer in time.
    """
    if name == "localstack":
        with running_localstack(services=["s3"]) as localstack:
            yield Server(url=localstack.url, title=_title(localstack.url))
    elif name == "seaweedfs":
        with _running_seaweedfs(tools / "weed") as server:
            yield server
    else:
        keys = (os.environ.get(f"AWS_{half}", "test") for half in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        yield Server(name, _title(name), *keys)


@contextlib.contextmanager
def _running_seaweedfs(weed: Path) -> Iterator[Server]:
    """SeaweedFS with one identity, so that it checks signatures, its data in a scratch folder."""
    identity = {
        "name": "benchmarks",
        "credentials": [{"accessKey": "benchmarks", "secretKey": "benchmarks-secret"}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    with tempfile.TemporaryDirectory(prefix="benchmark-seaweedfs-", ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        (scratch / "data").mkdir()
        (scratch / "s3.json").write_text(json.dumps({"identities": [identity]}))
        kinds = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
        options = dict(zip(kinds, _free_ports(len(kinds)), strict=True)) | {
            "dir": scratch / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 4096,
            "volume.max": 0,
            "filer.localSocket": scratch / "filer.sock",
            "s3": "true",
            "s3.config": scratch / "s3.json",
        }
        log = scratch / "log"
        process = spawn(
            [str(weed), "server", *(f"-{option}={value}" for option, value in options.items())],
            environment={"PATH": os.defpath, "HOME": name, "TMPDIR": name},
            directory=scratch,
            log=log,
        )
        try:
            url = f"http://127.0.0.1:{options['s3.port']}"
            settled = wait_until(lambda: process.poll() is not None or _answers(url), seconds=START_SECONDS)
            if not settled or process.poll() is not None:
                raise RuntimeError(f"SeaweedFS did not start; the end of its log:\n{tail(log)}")
            yield Server(url=url, title=_title(url), access_key="benchmarks", secret_key="benchmarks-secret")
        finally:
            kill_group(process)  # it takes its time over SIGTERM, and its data are thrown away


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _answers(url: str) -> bool:
    """Any answer to an unsigned request will do, but a 500 of the gateway: its filer is not there yet."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def _title(url: str) -> str:
    """What the server calls itself."""
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(f"{url}/_localstack/health") as answer:
        return f"LocalStack {json.load(answer)['version']}"
    try:
        headers = urllib.request.urlopen(url).headers
    except urllib.error.HTTPError as error:
        headers = error.headers
    # SeaweedFS puts its greatest volume between name and version.
    return re.sub(r" \d+GB ", " ", headers.get("Server") or "an unnamed server")
