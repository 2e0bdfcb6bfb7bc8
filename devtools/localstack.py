"""LocalStack without Docker: a server process of our own on a free port of the loopback interface.

    with running_localstack() as localstack:
        s3 = localstack.client("s3")
        subprocess.run([...], env={**environment, **localstack.environment})

It runs from a virtual environment of its own (``make .localstack``), since it pins the SDK's version, and leaves
nothing behind: its data lives in a scratch folder that goes with it.
"""

import contextlib
import os
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from devtools.processes import exit_code, kill_group, spawn, tail, wait_until

CHECKOUT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
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
def running_localstack(*, services: Sequence[str] = SERVICES, directory: Path | None = None) -> Iterator[LocalStack]:
    """A LocalStack server for the length of the block; stopped and wiped afterwards, also on Ctrl-C and errors.

    Its scratch folder is in ``directory``, else where temporary files are. Raises ``LocalStackError`` where it is not
    installed or does not answer in time.
    """
    interpreter = installed_python()
    for start in range(1, STARTS + 1):
        with tempfile.TemporaryDirectory(
            prefix="archiver-localstack-", dir=directory, ignore_cleanup_errors=True
        ) as folder:
            scratch = Path(folder)
            handle, process = _start(interpreter, scratch=scratch, services=services)
            try:
                if _answers(handle, process):
                    yield handle
                    return
                code = exit_code(process)
                if code is None or "in use" not in tail(handle.log) or start == STARTS:
                    fate = (
                        f"did not answer in {START_SECONDS:.0f} s" if code is None else f"ended with exit code {code}"
                    )
                    raise LocalStackError(f"LocalStack {fate}; the end of its log:\n{tail(handle.log)}")
            finally:
                kill_group(process)  # it has nothing to save, and takes its time over SIGTERM


def installed_python() -> Path:
    """The interpreter of LocalStack's own environment: ``$LOCALSTACK_VENV``, else ``.localstack`` of the checkout.

    Raises ``LocalStackError`` where there is none.
    """
    venv = Path(os.environ.get("LOCALSTACK_VENV") or CHECKOUT / ".localstack")
    python = (venv if venv.is_absolute() else CHECKOUT / venv) / "bin" / "python"
    if not python.exists():
        raise LocalStackError(f"LocalStack is not installed: there is no {python}; run `make .localstack`")
    return python


def _start(python: Path, *, scratch: Path, services: Sequence[str]) -> tuple[LocalStack, subprocess.Popen[bytes]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
    log = scratch / "log"
    command = [str(python), "-m", "localstack.runtime.main"]
    process = spawn(command, environment=environment, directory=scratch, log=log)
    return LocalStack(f"http://127.0.0.1:{port}", process.pid, log, scratch), process


def _answers(handle: LocalStack, process: subprocess.Popen[bytes]) -> bool:
    def settled() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{handle.url}/_localstack/health", timeout=5):  # noqa: S310  # our own http URL
            return True
        return exit_code(process) is not None

    return wait_until(settled, seconds=START_SECONDS, interval=0.1) and exit_code(process) is None
