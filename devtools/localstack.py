"""LocalStack without Docker: a server process of our own on a free port of the loopback interface.

    with running_localstack() as localstack:
        s3 = localstack.client("s3")
        subprocess.run([...], env={**environment, **localstack.environment})

It runs from a virtual environment of its own (``make .localstack``), since it pins the SDK's version, and leaves
nothing behind: its data lives in a scratch folder that goes with it.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from devtools.processes import kill_group, spawn, tail, wait_until

CHECKOUT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
ACCOUNT = "000000000000"
SERVICES = ("s3", "sqs", "sns", "cloudformation", "iam", "sts", "cloudwatch")

# Both halves of the credentials of LocalStack's only account.
_KEY = "test"

#: Seconds from start to an answer; three to five on an idle machine.
START_SECONDS = 90.0
#: Another process may take the free port between our look at it and the server's bind.
STARTS = 3


class LocalStackError(Exception):
    """LocalStack is not installed or did not come up; the message says what to do or shows the log's end."""


@dataclass(frozen=True, slots=True)
class LocalStack:
    """A running server."""

    url: str  # no trailing slash
    pid: int
    log: Path  # gone with the server
    scratch: Path  # ditto

    @property
    def environment(self) -> dict[str, str]:
        """The SDK's variables that lead a child process here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str, *, config: Config | None = None) -> Any:
        """A boto3 client of this server, whatever the environment and the profile of the caller say."""
        session = boto3.session.Session(region_name=REGION, aws_access_key_id=_KEY, aws_secret_access_key=_KEY)
        make: Callable[..., Any] = session.client  # its overloads want a literal name
        version = "s3v4" if service == "s3" else "v4"
        return make(service, endpoint_url=self.url, config=config or Config(signature_version=version))


@contextlib.contextmanager
def running_localstack(
    *, services: Sequence[str] = SERVICES, python: Path | None = None, start_seconds: float = START_SECONDS
) -> Iterator[LocalStack]:
    """A LocalStack server for the length of the block; stopped and wiped afterwards, also on Ctrl-C and errors.

    ``python`` is the interpreter that has LocalStack (default: that of ``make .localstack``). Raises
    ``LocalStackError`` where it is missing or does not answer within ``start_seconds``.
    """
    interpreter = python or installed_python()
    for attempt in range(1, STARTS + 1):
        scratch = Path(tempfile.mkdtemp(prefix="archiver-localstack-"))
        port = _free_port()
        process = None
        try:
            process = _start(interpreter, port=port, scratch=scratch, services=services)
            handle = LocalStack(f"http://127.0.0.1:{port}", process.pid, scratch / "log", scratch)
            if _answers(handle, process, start_seconds):
                yield handle
                return
            taken = process.poll() is not None and "in use" in tail(handle.log)
            if not taken or attempt == STARTS:
                raise LocalStackError(_failure(handle, process, start_seconds))
        finally:
            if process is not None:
                kill_group(process)  # it has nothing to save, and takes its time over SIGTERM
            shutil.rmtree(scratch, ignore_errors=True)


def installed_python() -> Path:
    """The interpreter of LocalStack's own environment: ``$LOCALSTACK_VENV``, else ``.localstack`` of the checkout.

    Raises ``LocalStackError`` where there is none.
    """
    venv = Path(os.environ.get("LOCALSTACK_VENV") or CHECKOUT / ".localstack")
    python = (venv if venv.is_absolute() else CHECKOUT / venv) / "bin" / "python"
    if not python.exists():
        raise LocalStackError(f"LocalStack is not installed: there is no {python}; run `make .localstack`")
    return python


def _start(python: Path, *, port: int, scratch: Path, services: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "FILESYSTEM_ROOT": str(scratch),
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_SERVER": "hypercorn",
        "SERVICES": ",".join(services),
        # URLs of queues lead back to where the request went, not to a name that only DNS knows.
        "SQS_ENDPOINT_STRATEGY": "dynamic",
        # No network: no certificate, no telemetry, no DNS server.
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
    }
    return spawn(
        [str(python), "-m", "localstack.runtime.main"],
        environment=environment,
        directory=scratch,
        log=scratch / "log",
    )


def _answers(handle: LocalStack, process: subprocess.Popen[bytes], seconds: float) -> bool:
    def settled() -> bool:
        return process.poll() is not None or _healthy(handle.url)

    return wait_until(settled, seconds=seconds, interval=0.1) and process.poll() is None


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_localstack/health", timeout=5) as answer:  # noqa: S310 - our own http URL
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _failure(handle: LocalStack, process: subprocess.Popen[bytes], seconds: float) -> str:
    code = process.poll()
    fate = f"did not answer within {seconds:.0f} s" if code is None else f"ended with exit code {code}"
    return f"LocalStack {fate}; the end of its log:\n{tail(handle.log)}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
