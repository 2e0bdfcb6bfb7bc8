"""docs/tutorial.md, word for word: a job that fails and is run again, and one that is cancelled, in a shell."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools.localstack import CHECKOUT, LocalStack, installed_python, running_localstack
from devtools.samples import SOURCE_JPG
from devtools.stack import Stack, create_stack
from devtools.worker import running_worker
from tests.support.waiting import LONG_ENOUGH

pytestmark = [pytest.mark.localstack, pytest.mark.acceptance]

TUTORIAL = (CHECKOUT / "docs" / "tutorial.md").read_text(encoding="utf-8")
#: What prepares a terminal, which a test's shell has already; and the compose file's service, which is a worker here.
SETTING_UP = ("make install", ". .venv/bin/activate", ". ./.envrc")
STOP, START = "docker compose stop archiver", "docker compose start archiver"
SETTINGS = {"STATUS_PREFIX": "status/"}

Type = Callable[..., str]


def commands(heading: str) -> list[str]:
    """The indented lines below a heading, up to the next one."""
    below = TUTORIAL.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = [line[4:] for line in below.splitlines() if line.startswith("    ")]
    assert found, heading
    return [line for line in found if line not in SETTING_UP]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalStack]:
    """A server of its own, since the tutorial names buckets and queues."""
    with running_localstack() as server:
        yield server


@pytest.fixture(scope="module")
def playground(server: LocalStack) -> Stack:
    stack = create_stack(server)
    server.client("s3").upload_file(str(SOURCE_JPG), stack.source_bucket, SOURCE_JPG.name)
    return stack


@pytest.fixture
def typed(server: LocalStack, playground: Stack, tmp_path: Path) -> Type:
    """``typed(lines)``: what a shell prints of them; its variables live on to the next call."""
    aws = tmp_path / "aws"
    aws.write_text(f'#!/bin/sh\nexec {installed_python()} {installed_python().with_name("aws")} "$@"\n')
    aws.chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**server.environment, **playground.environment, **SETTINGS, "PATH": path, "HOME": str(tmp_path)}

    def run(lines: list[str]) -> str:
        kept = tmp_path / "variables"
        script = [f"[ ! -e {kept} ] || . {kept}", *lines, f"set | grep -E '^(id|letter)=' >{kept}"]
        ran = subprocess.run(
            ["sh", "-c", "\n".join(script)],
            cwd=CHECKOUT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONG_ENOUGH,
        )
        assert ran.stderr == "", ran.stderr + ran.stdout
        return ran.stdout

    return run


def test_a_failed_job_is_understood_and_run_again(server: LocalStack, playground: Stack, typed: Type) -> None:
    lines = commands("A failed job")

    with running_worker(server, playground, settings=SETTINGS):
        said = typed(lines)

    before, _, after = said.partition("reason: 1 missing source(s): gone.jpg\n")
    assert "failed: missing_sources: 1 missing source(s): gone.jpg" in before
    assert '"source": "gone.jpg"' in after
    assert after.splitlines()[-1].startswith("succeeded: http")


def test_a_cancelled_job_leaves_nothing(server: LocalStack, playground: Stack, typed: Type) -> None:
    lines = commands("A cancelled job")
    assert lines[0] == STOP
    start = lines.index(START)

    said = typed(lines[1:start])
    with running_worker(server, playground, settings=SETTINGS):
        said_then = typed(lines[start + 1 :])

    assert said == "unknown: no worker has begun it; it ends when one does\n"
    state, dead_letters = said_then.splitlines()[-2:]
    assert state.startswith("cancelled")
    assert dead_letters == "no dead letters"
