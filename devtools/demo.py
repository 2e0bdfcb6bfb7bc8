"""``make demo``: the service end to end on this machine, with neither Docker nor an AWS account.

LocalStack on a free port, the resources of the compose file, real files, a real ``celery -A archiver worker``; then
one payload as raw JSON and one as a call from another Celery program. The archives stay in ``.demo/`` to be opened.
"""

import contextlib
import hashlib
import json
import shutil
import signal
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery
from rich.console import Console
from rich.filesize import decimal
from rich.json import JSON
from rich.markup import escape
from rich.table import Table

from devtools.localstack import CHECKOUT, REGION, LocalStack, LocalStackError, running_localstack
from devtools.messages import NoMessage, send, wait_for
from devtools.processes import tail
from devtools.samples import samples
from devtools.stack import Stack, create_stack
from devtools.worker import Worker, WorkerError, running_worker

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PAYLOAD = CHECKOUT / "docs" / "examples" / "payload.json"
#: The bucket that the payload names beside the default one.
OTHER_BUCKET = "foobar"
FOLDER = CHECKOUT / ".demo"
JOB_SECONDS = 60

CELERY_PAYLOAD: Mapping[str, Any] = {
    "files": [
        {"source": "documents/"},
        {"source": "source.jpg", "destination": "pictures"},
        {"source": "recordings/session.bin", "destination": "recordings/2026/session.bin"},
        {"source": "not/there.txt"},
    ],
    "on_missing": "skip",
    "filename": "delivery.zip",
    "metadata": {"order": 117},
}

console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())


class DemoError(Exception):
    """The demo did not go as it should; the message says where."""


@dataclass(frozen=True, slots=True)
class Demo:
    """All that runs, and what was uploaded."""

    localstack: LocalStack
    stack: Stack
    worker: Worker
    digests: frozenset[str]  # SHA-256 of every uploaded file

    def as_raw_json(self) -> str:
        """Any program that can send to SQS."""
        return send(
            self.localstack.client("sqs"),
            self.stack.input_url,
            PAYLOAD.read_text(encoding="utf-8"),
            attributes={"Correlation-Id": "demo-1"},
        )

    def as_celery_call(self) -> str:
        """A Celery program that knows the task's name and the queue's, and nothing else of the archiver."""
        host = self.localstack.url.removeprefix("http://")
        app = Celery("elsewhere", broker=f"sqs://test:test@{host}//", set_as_current=False)
        app.conf.broker_transport_options = {"is_secure": False, "region": REGION}
        with app.connection_for_write() as connection:
            call = app.send_task(
                "archiver.build_archive",
                args=[CELERY_PAYLOAD],
                queue=self.stack.names.input_queue,
                connection=connection,
                ignore_result=True,
            )
        return str(call.id)


def main() -> int:
    """Run the demo; the exit code."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _running() as demo:
            _show("A payload as raw JSON", demo, demo.as_raw_json)
            _show("Another as a Celery call", demo, demo.as_celery_call)
    except KeyboardInterrupt:
        console.print("\n[yellow]interrupted: everything is stopped[/]")
        return 130
    except (DemoError, LocalStackError, NoMessage, WorkerError) as error:
        console.print(f"[red]{escape(str(error))}[/]")
        return 1
    console.print(
        f"\n[green]Done in {time.monotonic() - started:.0f} s.[/] Everything is stopped; the archives are in "
        f"{FOLDER.relative_to(CHECKOUT)}/."
    )
    return 0


@contextlib.contextmanager
def _running() -> Iterator[Demo]:
    with contextlib.ExitStack() as running:
        with _step("LocalStack starts") as step:
            localstack = running.enter_context(running_localstack(services=("s3", "sqs")))
            step.done(localstack.url)
        with _step("buckets and queues") as step:
            stack = create_stack(localstack)
            s3: S3Client = localstack.client("s3")
            s3.create_bucket(Bucket=OTHER_BUCKET)
            names = stack.names
            buckets = (names.source_bucket, names.archive_bucket, OTHER_BUCKET)
            step.done(f"{', '.join(buckets)}; {names.input_queue}, {names.output_queue}, {names.crew_queue}")
        with _step("files are uploaded") as step:
            digests, total = set(), 0
            for sample in samples():
                for bucket in (stack.source_bucket, OTHER_BUCKET):
                    if bucket == stack.source_bucket or sample.content_type == "image/png":
                        s3.put_object(Bucket=bucket, Key=sample.key, Body=sample.body, ContentType=sample.content_type)
                digests.add(hashlib.sha256(sample.body).hexdigest())
                total += len(sample.body)
            step.done(f"{len(digests)} files, {decimal(total)}")
        with _step("celery -A archiver worker starts") as step:
            worker = running.enter_context(running_worker(localstack, stack, settings=stack.crew_environment))
            step.done(f"process {worker.pid}")
        yield Demo(localstack, stack, worker, frozenset(digests))


def _show(title: str, demo: Demo, submit: Callable[[], str]) -> None:
    console.rule(f"[bold]{title}")
    with _step("sent") as step:
        request_id = submit()
        step.done(f"request {request_id}")
    with _step("archived") as step:

        def watch() -> None:
            if not demo.worker.alive():
                raise DemoError(f"the worker ended:\n{tail(demo.worker.log)}")

        notification = wait_for(
            demo.localstack.client("sqs"),
            demo.stack.output_url,
            seconds=JOB_SECONDS,
            matching=lambda message: message.json["request_id"] == request_id,
            tick=watch,
        )
        step.done(_account(demo.worker, request_id))
    console.print("\n[bold]The notification[/]")
    console.print(JSON(notification.body, ensure_ascii=False), soft_wrap=True)
    console.print()
    with _step("downloaded by its link") as step:
        path = _download(notification.json, FOLDER)
        step.done(str(path.relative_to(CHECKOUT)))
    _list(path, demo.digests)


def _download(notification: Mapping[str, Any], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / Path(notification["archive"]["key"]).with_stem(notification["request_id"]).name
    link = notification["substitutions"]["archiver_URL"]
    with urllib.request.urlopen(link, timeout=60) as answer, path.open("wb") as file:  # noqa: S310 - our own http URL
        shutil.copyfileobj(answer, file)
    return path


def _list(path: Path, digests: frozenset[str]) -> None:
    """What the archive holds; raises ``DemoError`` where a file is not what was uploaded."""
    table = Table("name", "size", "", title_justify="left")
    table.columns[1].justify = "right"
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as body:
                if hashlib.file_digest(body, "sha256").hexdigest() not in digests:  # type: ignore[arg-type]  # typeshed wants readinto, which ZipExtFile inherits
                    raise DemoError(f"{entry.filename} in {path} is not what was uploaded")
            table.add_row(entry.filename, decimal(entry.file_size), "[green]as uploaded")
    console.print(table)


def _account(worker: Worker, request_id: str) -> str:
    """What the worker logged of the finished archive."""
    for text in reversed(worker.output().splitlines()):
        if "archive ready" in text and request_id in text:
            line = json.loads(text)
            return (
                f"in {line['seconds']:.1f} s: {decimal(line['size'])}, of which {decimal(line['bytes_copied'])} copied "
                f"inside S3 and {decimal(line['bytes_read'])} read by the worker"
            )
    return ""


@dataclass(slots=True)
class _Step:
    """What came of a step."""

    result: str = ""

    def done(self, result: str) -> None:
        self.result = escape(result)


@contextlib.contextmanager
def _step(title: str) -> Iterator[_Step]:
    """One line of progress: what is going on, then what came of it and what it took."""
    started = time.monotonic()
    step = _Step()
    with console.status(f"{title} …"):
        yield step
    seconds = time.monotonic() - started
    console.print(f"[green]✓[/] {title:<33} [dim]{seconds:5.1f} s[/]  {step.result}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
