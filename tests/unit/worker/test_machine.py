"""A machine, or an environment, in which no worker can run: it says what it lacks, in one line."""

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


USABLE = {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "HOME": "/nowhere",
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"AWS_DEFAULT_REGION": ""}, "AWS_DEFAULT_REGION is not set"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no AWS credentials"),
        ({"AWS_PROFILE": "gone"}, "AWS_PROFILE: "),
        ({"AWS_ENDPOINT_URL": "localhost:4566"}, "AWS_ENDPOINT_URL: "),
    ],
    ids=["region", "credentials", "profile", "endpoint"],
)
def test_a_worker_that_can_send_no_request_says_why_in_one_line(changed: dict[str, str], told: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "celery", "-A", "archiver", "worker"],
        cwd=CHECKOUT,
        env={name: value for name, value in (SETTINGS | USABLE | changed).items() if value},
        capture_output=True,
        text=True,
        timeout=60,
    )

    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"Error: {told}")
    assert ran.returncode == 2
