"""`make stack`, and the README's walkthrough typed into it word for word, twice."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devtools.localstack import CHECKOUT
from devtools.playground import FOLDER
from devtools.processes import Program, spawn, tail, wait_until
from tests.support.waiting import LONG_ENOUGH

pytestmark = [pytest.mark.localstack, pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(900)]

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
#: What a step of the walkthrough may take, however busy the machine is, in seconds.
STEP_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Playground:
    """A running `make stack`, and the folder in which its reader types: it has what a checkout has."""

    program: Program
    checkout: Path

    @property
    def flower(self) -> str:
        found = re.search(r"^Flower +(\S+)$", self.program.output(), flags=re.MULTILINE)
        assert found
        return found[1]

    def typed(self, script: str) -> str:
        """What a shell prints of a script in the folder; its last command's failure is one."""
        ran = subprocess.run(
            ["sh", "-c", script],
            cwd=self.checkout,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.checkout), "LANG": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS,
        )
        return ran.stdout


@contextlib.contextmanager
def running(checkout: Path) -> Iterator[Playground]:
    """`make stack` without make, in a folder of its own."""
    checkout.mkdir(exist_ok=True)
    for name in ("README.md", "celeryconfig.py", "flowerconfig.py", "tasks"):
        with contextlib.suppress(FileExistsError):
            (checkout / name).symlink_to(CHECKOUT / name)
    log = checkout / "terminal"
    program = Program(start(checkout, log), log)
    try:
        assert wait_until(lambda: (checkout / ".stack" / "env").exists() or not program.alive(), seconds=LONG_ENOUGH), (
            program.output()
        )
        assert program.alive(), program.output()
        yield Playground(program, checkout)
    finally:
        program.stop(patience=LONG_ENOUGH)


def start(checkout: Path, log: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "devtools.playground", "--folder", str(checkout / ".stack")]
    return spawn(command, environment=dict(os.environ), directory=CHECKOUT, log=log)


def left(checkout: Path) -> list[str]:
    """Processes that know of the folder, by their environment or their command line."""
    mark = str(checkout / ".stack").encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes() or mark in (process / "cmdline").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def steps() -> list[str]:
    """The walkthrough's blocks of commands, in their order, without the one that starts the stack."""
    chapter = README.partition("\n## Walkthrough\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^    .*\n)+", chapter, flags=re.MULTILINE)
    first, *rest = ["".join(line[4:] for line in block.splitlines(keepends=True)) for block in blocks]
    assert first == "make stack\n"
    assert rest[0].startswith(f". {FOLDER.name}/env")
    return rest


def walk(playground: Playground) -> list[str]:
    """Type all of it into one shell; what each block printed."""
    mark = "=== the next block"
    script = f"\necho '{mark}'\n".join(steps())
    return playground.typed(script).split(f"{mark}\n")


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    with running(tmp_path_factory.mktemp("playground")) as playground:
        yield playground


@pytest.mark.parametrize("time", ["the first time", pytest.param("the second time", marks=pytest.mark.chaos)])
def test_the_walkthrough_works_word_for_word(playground: Playground, time: str) -> None:
    said = walk(playground)
    assert len(said) == 5, said
    print(*said, sep="\n---\n")  # noqa: T201 - what a failed test shows
    _, sent, answered, failed, cancelled = said

    # this run's answer, and an archive with both files
    request_id = json.loads(sent[sent.index("{") :])["MessageId"]
    answer = json.loads((playground.checkout / "answer.json").read_text(encoding="utf-8"))
    assert answer["request_id"] == request_id
    assert answer["metadata"] == {"order": 7}
    assert "album_1/source.jpg" in answered
    assert "README.md" in answered

    # a failure that is understood, mended and given back
    assert "1 missing source(s): late.jpg (missing_sources)" in failed
    assert "missing_sources" in failed.partition("copy: ")[0].partition("Reason")[2]
    redriven = json.loads(next(line for line in failed.splitlines() if line.startswith("{")))
    assert (redriven["status"], redriven["archive"]["files"]) == ("succeeded", 1)

    # a job that was cancelled
    said_first, said_then = cancelled.splitlines()[-2:]
    assert said_first == "cancelled"
    assert "The job was cancelled while it ran" in said_then

    # and Flower has seen all of it
    assert wait_until(lambda: states(playground).get(request_id) == "SUCCESS", seconds=LONG_ENOUGH)
    assert sorted(states(playground).values()).count("FAILURE") >= 2


@pytest.mark.chaos
def test_a_dead_letter_that_was_looked_at_often_can_be_redriven(playground: Playground) -> None:
    said = playground.typed("""
        . .stack/env
        archiver submit --source often.jpg --wait
        for look in 1 2 3 4 5; do archiver dlq list; done
        aws s3 cp s3://source-images/source.jpg s3://source-images/often.jpg
        archiver dlq redrive --all
        aws sqs receive-message --endpoint-url $AWS_ENDPOINT_URL --wait-time-seconds 20 \
            --queue-url $AWS_ENDPOINT_URL/000000000000/output-queue --query 'Messages[0].Body' --output text
        """)

    assert json.loads(said.splitlines()[-1])["status"] == "succeeded", said


def states(playground: Playground) -> dict[str, str]:
    """Flower's, of each job."""
    with urllib.request.urlopen(f"{playground.flower}/api/tasks", timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return {job: str(task["state"]) for job, task in found.items()}


@pytest.mark.parametrize(
    "command",
    ["celery -A archiver inspect ping", "archiver health", "archiver doctor", "archiver plan --source source.jpg"],
)
def test_other_commands_of_the_readme_work_there(playground: Playground, command: str) -> None:
    said = playground.typed(f". .stack/env; {command} && echo all right")

    assert said.endswith("all right\n"), said


def test_a_second_one_says_that_there_is_one(playground: Playground, tmp_path: Path) -> None:
    log = tmp_path / "second"
    second = Program(start(playground.checkout, log), log)

    try:
        assert second.wait(LONG_ENOUGH) == 1
    finally:
        second.kill()
    assert "a stack is running here already" in second.output()
    assert "Traceback" not in second.output()
    assert playground.program.alive()
    assert (playground.checkout / ".stack" / "env").exists()


def test_a_closed_terminal_ends_it(tmp_path: Path) -> None:
    # given one in a terminal whose shell tells it nothing
    terminal, ours = pty.openpty()
    command = [sys.executable, "-m", "devtools.playground", "--folder", str(tmp_path / ".stack")]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdin=ours, stdout=ours, stderr=ours, start_new_session=True
    ) as process:
        os.close(ours)
        try:
            assert wait_until((tmp_path / ".stack" / "env").exists, seconds=LONG_ENOUGH)
            # when its window is closed
            os.close(terminal)
            # then it is gone, with all that it had started
            process.wait(LONG_ENOUGH)
            assert not left(tmp_path)
            assert not (tmp_path / ".stack").exists()
        finally:
            process.kill()


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="SIGINT"),
        pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.chaos),
        pytest.param(signal.SIGHUP, id="SIGHUP", marks=pytest.mark.chaos),
    ],
)
def test_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    # given one that runs, in a folder where a killed one has left something
    (tmp_path / ".stack" / "bin").mkdir(parents=True)
    with running(tmp_path) as playground:
        assert len(left(tmp_path)) >= 3
        # when it is told to end
        playground.program.send_signal(number)
        # then it does
        assert playground.program.wait(LONG_ENOUGH) == 0
        assert not left(tmp_path)
        assert not (tmp_path / ".stack").exists()
        assert "nothing is left running" in tail(playground.program.log)


@pytest.mark.chaos
def test_a_part_that_ends_is_told_of(tmp_path: Path) -> None:
    with running(tmp_path) as playground:
        pid = playground.program.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        (worker,) = [pid for pid in children if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(worker), signal.SIGKILL)

        assert playground.program.wait(LONG_ENOUGH) == 1
        assert "the worker ended" in playground.program.output()
        assert not left(tmp_path)
