"""A machine on which no worker can run: it says what it lacks, in one line."""

import resource
import subprocess
import sys

import pytest

from devtools.localstack import CHECKOUT

SETTINGS = {"SQS_SOURCE_QUEUE": "input-queue", "S3_DESTINATION_BUCKET": "zip-storage", "PYTHONDONTWRITEBYTECODE": "1"}
#: A stand-in for what Python knows of temporary files by then; else their folder is what it stumbles over.
TEMPORARY_FILES_ARE_KNOWN = "import tempfile; tempfile.tempdir = '/'; "


def no_byte_can_be_written() -> None:
    """A filesystem that is read-only everywhere, for root as well."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.parametrize(
    ("before", "needed"),
    [("", "mount one at /tmp"), (TEMPORARY_FILES_ARE_KNOWN, "/dev/shm must be a tmpfs")],
    ids=["temporary files", "semaphores"],
)
def test_a_worker_that_can_write_nowhere_says_what_it_needs_in_one_line(before: str, needed: str) -> None:
    run = f"{before}import sys; from celery.__main__ import main; sys.argv[1:] = ['-A', 'archiver', 'worker']; main()"

    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", run],
        cwd=CHECKOUT,
        env=SETTINGS,
        preexec_fn=no_byte_can_be_written,
        capture_output=True,
        text=True,
        timeout=60,
    )

    (line,) = ran.stderr.splitlines()
    assert line.startswith("Error: ")
    assert needed in line
    assert ran.returncode == 2
