"""The command ``archiver``, run in this process or as one of its own."""

import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import structlog
from click.testing import CliRunner

from archiver.aws.clients import DescriptionFiles
from archiver.cli import root
from archiver.settings import Settings
from devtools.localstack import CHECKOUT

#: Nothing listens there: connections are refused at once.
NOWHERE = "http://127.0.0.1:1"
CREDENTIALS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}
QUEUES = {"SQS_SOURCE_QUEUE": "input-queue", "SQS_DESTINATION_QUEUE": "output-queue"}
_LOAD_FILE = DescriptionFiles.load_file
BUCKETS = {"S3_SOURCE_BUCKET": "source-images", "S3_DESTINATION_BUCKET": "zip-storage"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended and what it printed."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def complaint(self) -> str:
        """The one line of a failure."""
        lines = self.stderr.splitlines()
        assert len(lines) == 1, self.stderr
        assert "Traceback" not in self.stdout
        return lines[0]

    @property
    def error(self) -> dict[str, str]:
        """The error of a failure with --json."""
        assert self.stderr == ""
        error: dict[str, str] = self.json["error"]
        return error


def run(*arguments: str, environment: Mapping[str, str], stdin: str | bytes | None = None) -> Outcome:
    """Run the command in this process, with nothing of ours in its environment but ``environment``."""
    hidden = {name: None for name in os.environ if name.startswith("AWS_") or name.lower() in Settings.model_fields}
    with _as_before():
        result = CliRunner().invoke(root, arguments, input=stdin, env=hidden | dict(environment))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def run_process(*arguments: str, environment: Mapping[str, str], stdin: str = "") -> Outcome:
    """Run the command as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "archiver", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=CHECKOUT,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environment},
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@cache
def _parsed(path: str) -> Any:
    return _LOAD_FILE(DescriptionFiles(), path)


def _load_file(_: DescriptionFiles, path: str) -> Any:
    """botocore reads its models anew for each session, which is half of what a command takes; here once for all."""
    return _parsed(path)


@contextmanager
def _as_before() -> Iterator[None]:
    """Give the process's logging and warnings back as they were: the command sets them up for itself."""
    logger = logging.getLogger()
    handlers, level, structure = list(logger.handlers), logger.level, structlog.get_config()
    try:
        with warnings.catch_warnings(), mock.patch.object(DescriptionFiles, "load_file", _load_file):
            yield
    finally:
        logging.captureWarnings(False)
        logger.handlers[:] = handlers
        logger.setLevel(level)
        structlog.configure(**structure)
