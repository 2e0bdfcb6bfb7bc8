"""Whole processes, measured."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import Server
from devtools.localstack import CHECKOUT

MEASURE = Path(__file__).with_name("measure.py")


class ProgramError(Exception):
    """A measured program ended with an error or did not end in time."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process cost: seconds, seconds of user and system time of all its threads, bytes of resident memory."""

    wall: float
    cpu: float
    peak: int


def aws_environment(server: Server, endpoint: str, config: Path) -> dict[str, str]:
    """The SDK's environment, the same for every program; ``config`` is a file to write.

    Over plain http boto3 hashes each body for its signature, over https it does not. The file turns that off, for
    all alike, so that the figures are those of https.
    """
    config.write_text("[default]\ns3 =\n    payload_signing_enabled = false\n")
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def run(python: Path, arguments: Sequence[str], *, env: Mapping[str, str], timeout: int = 1800) -> tuple[Usage, str]:
    """Run ``python ARGUMENTS`` from the repository's root; returns its usage and the last line that it printed.

    Raises ``ProgramError`` with the end of its output.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        measured = subprocess.run(
            [sys.executable, "-I", "-S", str(MEASURE), str(timeout), str(python), *arguments],
            cwd=CHECKOUT,
            env={"PATH": os.defpath, "HOME": tempfile.gettempdir(), "TMPDIR": tempfile.gettempdir(), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            check=True,
        )
        output.seek(0)
        lines = output.read().strip().splitlines()
    figures = json.loads(measured.stdout)
    if (code := figures.pop("exit")) != 0:
        raise ProgramError(f"{' '.join(arguments)} ended with {code}:\n" + "\n".join(lines[-15:]))
    return Usage(**figures), lines[-1] if lines else ""
