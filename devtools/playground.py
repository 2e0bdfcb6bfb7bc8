"""``make stack``: the service on this machine until Ctrl-C, with neither Docker nor an AWS account.

LocalStack with the resources and the picture of the compose file, a worker and Flower, each on a free port. Another
terminal has it all with ``. .stack/env``: the settings, and ``archiver``, ``celery`` and ``aws`` on its PATH.
"""

import argparse
import contextlib
import fcntl
import os
import select
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.markup import escape

from devtools.flower import Flower, FlowerError, running_flower
from devtools.localstack import CHECKOUT, LocalStack, LocalStackError, installed_python, running_localstack
from devtools.processes import tail
from devtools.samples import SOURCE_JPG
from devtools.stack import Stack, create_stack
from devtools.worker import Worker, WorkerError, running_worker

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FOLDER = CHECKOUT / ".stack"
#: What ``archiver doctor`` looks at as well, beside what the service uses.
SERVICES = ("s3", "sqs", "sns", "sts")
#: As in the compose file: hand-backs count as receives, and many stops of a worker are to cost no job.
MAX_RECEIVE_COUNT = 50
#: What the worker has beside the settings of the other terminal.
WORKERS_OWN = {
    # LocalStack moves a dead letter with its receives, of which each look is one: with the default five a job that was
    # looked at and redriven would have no attempt left.
    "MAX_ATTEMPTS": "20",
    # Celery's warning, the log's longest line, is no news where root plays.
    "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
    "WORKER_CONCURRENCY": "2",
}
#: Of the caller's shell, and at odds with an emulator's credentials.
UNSET = ("AWS_PROFILE", "AWS_SESSION_TOKEN")
#: Between two looks at the log and at what runs, in seconds.
LOOK_SECONDS = 0.2

console = Console(highlight=False, soft_wrap=True)


class PlaygroundError(Exception):
    """The stack can't be there, or is no more; the message says why."""


@dataclass(frozen=True, slots=True)
class Playground:
    """All that runs."""

    localstack: LocalStack
    stack: Stack
    worker: Worker
    flower: Flower

    def check(self) -> None:
        """Raises ``PlaygroundError`` where a part of it has ended."""
        if not self.worker.alive():
            raise PlaygroundError(f"the worker ended:\n{tail(self.worker.log)}")
        if not self.flower.program.alive():
            raise PlaygroundError(f"Flower ended:\n{tail(self.flower.program.log)}")


def main() -> int:
    """Run it until a signal; the exit code."""
    parser = argparse.ArgumentParser(description="LocalStack, a worker and Flower, until Ctrl-C.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where its files are while it runs")
    folder = parser.parse_args().folder.absolute()
    # The terminal's Ctrl-C, whoever stops it from outside, and a terminal that is closed.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with _claimed(folder), _running(folder) as playground:
            _tell(playground, folder)
            _follow(playground)
    except (KeyboardInterrupt, OSError) as end:
        if isinstance(end, OSError) and not _nobody_reads():
            raise
        _say("\nStopped: nothing is left running, and nothing is kept.")
        return 0
    except (FlowerError, LocalStackError, PlaygroundError, WorkerError) as error:
        _say(f"[red]{escape(str(error))}[/]")
        return 1


def _interrupt(number: int, _: object) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal is gone
        console.print(text)


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """The folder for this stack alone, empty at first, gone at the end. Raises ``PlaygroundError``."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlaygroundError(
                f"a stack is running here already: use it with `. {_shown(folder)}/env`, or end it with Ctrl-C in its "
                "terminal; another checkout has another one"
            ) from None
        try:
            _empty(folder)  # of what one that was killed has left
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[Playground]:
    with contextlib.ExitStack() as running:
        _say("LocalStack starts …")
        localstack = running.enter_context(running_localstack(services=SERVICES, directory=folder))
        stack = create_stack(localstack, max_receive_count=MAX_RECEIVE_COUNT)
        s3: S3Client = localstack.client("s3")
        s3.put_object(
            Bucket=stack.source_bucket, Key=SOURCE_JPG.name, Body=SOURCE_JPG.read_bytes(), ContentType="image/jpeg"
        )
        _say("worker and Flower start …")
        settings = {
            "ARCHIVE_BASE_URL": f"{localstack.url}/{stack.archive_bucket}",
            "DEV_MODE": "1",
            "LIVENESS_FILE": str(folder / "alive"),
            "MONITORING": "1",
            "STATUS_PREFIX": "status/",
        }
        worker = running.enter_context(running_worker(localstack, stack, settings=settings | WORKERS_OWN))
        flower = running.enter_context(running_flower(worker.environment, log=folder / "flower.log"))
        _write_environment(folder, {**localstack.environment, **stack.environment, **settings})
        yield Playground(localstack, stack, worker, flower)


def _write_environment(folder: Path, exports: Mapping[str, str]) -> None:
    """The commands, and last of all the file to source, which is there once it is true."""
    programs = folder / "bin"
    programs.mkdir()
    aws = installed_python()
    commands = {
        "archiver": [sys.executable, "-m", "archiver"],
        "celery": [sys.executable, "-m", "celery"],
        "aws": [str(aws), str(aws.with_name("aws"))],
    }
    for name, command in commands.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    lines = [
        f"unset {' '.join(UNSET)}",
        *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
        f'export PATH={shlex.quote(str(programs))}:"$PATH"',
    ]
    unfinished = folder / "env.unfinished"
    unfinished.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    unfinished.rename(folder / "env")


def _tell(playground: Playground, folder: Path) -> None:
    names = playground.stack.names
    _say(
        f"\nLocalStack  {playground.localstack.url}\n"
        f"Flower      {playground.flower.url}\n"
        f"buckets     {names.source_bucket} (with {SOURCE_JPG.name}), {names.archive_bucket}\n"
        f"queues      {names.input_queue}, {names.output_queue}, each with its -dlq\n"
        f"\nIn another terminal, in {CHECKOUT}:\n"
    )
    _say(f"    [bold]. {_shown(folder)}/env[/]\n\nor, which is the same:\n")
    for line in (folder / "env").read_text(encoding="utf-8").splitlines():
        _say(f"    {escape(line)}")
    _say("\nCtrl-C ends it. What the worker logs:\n")


def _shown(folder: Path) -> Path:
    return folder.relative_to(CHECKOUT) if folder.is_relative_to(CHECKOUT) else folder


def _follow(playground: Playground) -> NoReturn:
    """Copy the worker's log to standard output. Raises ``PlaygroundError``, an ``OSError``, or what a signal raises."""
    with playground.worker.log.open(encoding="utf-8", errors="replace") as log:
        while True:
            if text := log.read():
                sys.stdout.write(text)
                sys.stdout.flush()
            playground.check()
            if _nobody_reads():
                raise BrokenPipeError
            time.sleep(LOOK_SECONDS)


def _nobody_reads() -> bool:
    """Whether the terminal, or the pipe's reader, is gone: not every shell tells it by a signal."""
    look = select.poll()
    look.register(sys.stdout.fileno(), 0)
    return bool(look.poll(0))  # without being asked it reports errors and hang-ups alone


if __name__ == "__main__":
    sys.exit(main())
