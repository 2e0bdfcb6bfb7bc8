"""``archiver watch``: follows a request's progress through the workers' events."""

import ast
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

import click

from archiver.aws.status import StatusObjects
from archiver.cli import ending
from archiver.cli.ending import Ending
from archiver.cli.failures import FAILED, BadInput
from archiver.cli.output import duration, json_option, size
from archiver.cli.session import quiet_logs
from archiver.cli.status import followed
from archiver.errors import StorageUnavailable
from archiver.settings import QueueSettings, Settings, load
from archiver.worker.envelope import CHUNK_TASK

#: The failure that Celery alone tells of: the job's process had no chance to. What Celery ends is refused, and told.
_CELERYS_OWN = "WorkerLostError"
#: Seconds without an event after which the request's status is looked at: an event may have got lost.
SILENCE_SECONDS = 10.0


class Screen(Protocol):
    """Where the news goes: a terminal, plain lines, or JSON lines."""

    def say(self, event: dict[str, Any], line: str) -> None: ...


@click.command()
@click.argument("request_id")
@click.option(
    "--timeout", type=click.IntRange(min=1), default=300, show_default=True, help="Seconds without any news to wait."
)
@json_option
@click.pass_context
def watch(ctx: click.Context, /, request_id: str, timeout: int, as_json: bool) -> None:
    """Follow the progress of a request until its archive is ready or it has failed for good.

    One that has ended already is told from its status object (STATUS_PREFIX) or the dead-letter queue. Progress comes
    by the workers' events (MONITORING=1), or else by the status object. With --json each event is a line.
    """
    quiet_logs(debug=ctx.find_root().params["debug"])
    with watching(load(QueueSettings), as_json=as_json) as follow:
        # On standard error, so that the output is the job's news alone.
        if not as_json:
            click.echo(f"watching for {request_id}", err=True)
        if not follow(request_id, timeout, False):
            ctx.exit(FAILED)


#: Follows the request of an id to its end, for so many seconds without any news; whether it is ``new``, so that nobody
#: can have ended it yet. Returns whether there is an archive.
Follow = Callable[[str, float, bool], bool]


@contextmanager
def watching(settings: Settings, *, as_json: bool) -> Iterator[Follow]:
    """What follows requests, of which nothing is missed from now on. Raises ``BadInput`` where there is no way to."""
    objects = ending.status_objects(settings)
    if not settings.monitoring:
        if objects is None:
            raise BadInput("neither MONITORING=1 nor STATUS_PREFIX is set: set one of them here and for the workers")
        yield partial(_follow_status, settings, objects, as_json)
        return
    from archiver.monitoring.events import listening

    screens: AbstractContextManager[Screen]
    screens = nullcontext(JsonLines()) if as_json else _terminal() if sys.stdout.isatty() else nullcontext(Lines())
    with listening(settings) as events, screens as screen:

        def follow(request_id: str, timeout: float, new: bool) -> bool:
            def over(thoroughly: bool) -> Ending | None:
                return _over(settings, objects, request_id, thoroughly=thoroughly)

            return _follow(events, request_id, screen, timeout=timeout, over=over, new=new)

        yield follow


def _over(settings: Settings, objects: StatusObjects | None, request_id: str, *, thoroughly: bool) -> Ending | None:
    """How the request has ended, where that can be found out: ``thoroughly`` looks at dead letters as well."""
    try:
        found = None if objects is None else ending.of_status(objects.read(request_id))
    except StorageUnavailable:  # the events are still heard
        found = None
    return ending.dead_letter(settings, request_id) if found is None and thoroughly else found


def _follow_status(
    settings: Settings, objects: StatusObjects, as_json: bool, request_id: str, timeout: float, new: bool
) -> bool:
    found = objects.read(request_id)
    if found is None and not new and (dead := ending.dead_letter(settings, request_id)):
        screen: Screen = JsonLines() if as_json else Lines()
        screen.say(*_told(request_id, dead))
        return False
    last = followed(objects, request_id, found, as_json=as_json, seconds=timeout)
    return last is not None and last.state == "succeeded"


def _nobody_knows(thoroughly: bool) -> Ending | None:  # noqa: ARG001 the signature of what does
    return None


def _follow(
    events: Iterator[dict[str, Any] | None],
    request_id: str,
    screen: Screen,
    *,
    timeout: float,
    over: Callable[[bool], Ending | None] = _nobody_knows,
    new: bool = False,
) -> bool:
    """Show the request's events until the last one; whether there is an archive.

    ``over`` finds out how the request has ended, be it before or unheard.
    """
    heard = looked = time.monotonic()
    crew = Crew(request_id)
    if not new and (ended := over(True)):
        screen.say(*_told(request_id, ended))
        return ended.state == "succeeded"
    for event in events:
        if event is not None and (line := crew.line(event)) is not None:
            heard = time.monotonic()
            screen.say(event, line)
            continue
        if event is None or event.get("uuid") != request_id:
            now = time.monotonic()
            if now - max(heard, looked) > min(SILENCE_SECONDS, timeout):
                looked = now
                if ended := over(now - heard > timeout):
                    screen.say(*_told(request_id, ended))
                    return ended.state == "succeeded"
            if now - heard > timeout:
                screen.say(
                    {"type": "timeout", "uuid": request_id, "seconds": timeout},
                    f"no news for {duration(timeout)}: not begun, done before, or no worker is monitored",
                )
                return False
            continue
        heard = time.monotonic()
        screen.say(event, _line(event))
        if event["type"] == "task-succeeded":
            return True
        if event["type"] == "archive-failed" and event["permanent"]:
            return False
    return False


def _told(request_id: str, ended: Ending) -> tuple[dict[str, Any], str]:
    """An ending that was looked up, as an event and as a line."""
    event = {"type": "ended", "uuid": request_id, "state": ended.state, "notification": ended.notification}
    return event, ended.described()


class Crew:
    """Who else works on a request, by the events of its chunks."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._chunks: set[str] = set()
        self._working: dict[str, str] = {}
        self._told = 1

    def line(self, event: dict[str, Any]) -> str | None:
        """The line of a chunk's event, empty where it says nothing new; None for any other event."""
        kind, task = event["type"], event.get("uuid", "")
        if kind == "task-received" and event.get("name") == CHUNK_TASK and event.get("root_id") == self._request_id:
            self._chunks.add(task)
        if task not in self._chunks:
            return None
        if kind != "task-started":
            if kind != "task-received":
                self._working.pop(task, None)
            return ""
        self._working[task] = str(event.get("hostname"))
        count = 1 + len(set(self._working.values()))
        if count == self._told:
            return ""
        self._told = count
        return f"{count} workers are at work on it"


def _line(event: dict[str, Any]) -> str:
    """An event as a line; empty where it says nothing new to a person."""
    match event["type"]:
        case "task-started":
            return "started"
        case "archive-progress":
            return progress_line(event)
        case "archive-failed" if event["permanent"]:
            return f"failed: {event['reason']} ({event['code']})"
        case "archive-failed":
            return f"attempt {event['attempt']} failed, another one follows: {event['reason']} ({event['code']})"
        case "task-succeeded":
            return _done(event)
        case "task-retried" if event["exception"].startswith(_CELERYS_OWN):
            return f"an attempt ended, another one follows: {event['exception']}"
        case _:
            return ""


def progress_line(event: dict[str, Any]) -> str:
    """How far a running job is, of an event ``archive-progress``."""
    if event["step"] == "resolved":
        return f"{event['entries']:,} entries, {size(event['bytes_total'])}"
    share = event["bytes_done"] / event["bytes_total"] if event["bytes_total"] else 1.0
    parts = f", part {event['parts_done']:,} of {event['parts_total']:,}" if event["parts_total"] else ""
    return (
        f"{event['step']}: {share:.0%}, {size(event['bytes_done'])} of {size(event['bytes_total'])}{parts}, "
        f"{size(event['rate'])}/s"
    )


def _done(event: dict[str, Any]) -> str:
    found = result_of(event)
    archive = f"{found['archive']}: {found['files']:,} files, {size(found['size'])}" if found else str(event["result"])
    return f"done in {duration(event['runtime'])}: {archive}"


def result_of(event: dict[str, Any]) -> dict[str, Any] | None:
    """The summary of the archive in an event ``task-succeeded``; None where Celery cut it, as it does what is long."""
    try:
        result = ast.literal_eval(event["result"])
        return {"archive": str(result["archive"]), "files": int(result["files"]), "size": int(result["size"])}
    except (ValueError, SyntaxError, TypeError, KeyError):
        return None


class JsonLines:
    """Every event as it came, one a line."""

    def say(self, event: dict[str, Any], line: str) -> None:  # noqa: ARG002 the other screens' argument
        click.echo(json.dumps(event, ensure_ascii=False))


class Lines:
    """One line for what a person wants to know."""

    def say(self, event: dict[str, Any], line: str) -> None:  # noqa: ARG002 the other screens' argument
        if line:
            click.echo(line)


@contextmanager
def _terminal() -> Iterator[Screen]:
    """A bar, and lines above it for what is no progress."""
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task("waiting", total=None)

        class Bar:
            def say(self, event: dict[str, Any], line: str) -> None:
                if event["type"] == "archive-progress":
                    progress.update(
                        bar, description=event["step"], total=event["bytes_total"], completed=event["bytes_done"]
                    )
                elif line:
                    progress.console.print(escape(line), soft_wrap=True)

        yield Bar()
