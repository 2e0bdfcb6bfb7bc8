"""``archiver status``: how far a request is."""

import json
import math
import time

import click

from archiver.archive.status import JobStatus
from archiver.aws.status import StatusObjects
from archiver.cli import ending
from archiver.cli.failures import FAILED, BadInput
from archiver.cli.output import files, json_option, size
from archiver.cli.session import quiet_logs
from archiver.settings import BucketSettings, Settings, load

#: Between two looks at a status, in seconds.
LOOK_SECONDS = 1.0


@click.command()
@click.argument("request_id")
@click.option("--follow", is_flag=True, help="Stay until the job has ended.")
@json_option
@click.pass_context
def status(ctx: click.Context, /, request_id: str, follow: bool, as_json: bool) -> None:
    """Show how far a request is; STATUS_PREFIX is set here as for the workers.

    What has no status is sought on the dead-letter queue, where SQS_SOURCE_QUEUE is set. Exits with 1 where the job
    failed, was cancelled, or is not known. With --json each status is a line.
    """
    quiet_logs(debug=ctx.find_root().params["debug"])
    settings = load(BucketSettings)
    objects = status_objects(settings)
    found = objects.read(request_id)
    if found is None and settings.sqs_source_queue and (dead := ending.dead_letter(settings, request_id)):
        if as_json:
            click.echo(json.dumps({"request_id": request_id, "state": dead.state, "notification": dead.notification}))
        else:
            click.echo(dead.described())
        ctx.exit(FAILED)
    last = followed(objects, request_id, found, as_json=as_json) if follow else found
    if not follow:
        show(request_id, found, as_json=as_json)
    if last is None or last.state in ("failed", "cancelled"):
        ctx.exit(FAILED)


def status_objects(settings: Settings | None = None) -> StatusObjects:
    """The status objects of the settings."""
    objects = ending.status_objects(settings or load(BucketSettings))
    if objects is None:
        raise BadInput("STATUS_PREFIX is not set: set it here as for the workers")
    return objects


def followed(
    objects: StatusObjects, request_id: str, found: JobStatus | None = None, *, as_json: bool, seconds: float = math.inf
) -> JobStatus | None:
    """Show a status whenever it changes until the job has ended, or nothing was new for so many ``seconds``."""
    show(request_id, found, as_json=as_json)
    changed = time.monotonic()
    while not (found is not None and found.ended) and time.monotonic() - changed < seconds:
        time.sleep(LOOK_SECONDS)
        now = objects.read(request_id)
        if now != found:
            found, changed = now, time.monotonic()
            show(request_id, found, as_json=as_json)
    return found


def show(request_id: str, found: JobStatus | None, *, as_json: bool) -> None:
    """One line."""
    if as_json:
        unknown = {"request_id": request_id, "state": "unknown"}
        click.echo(json.dumps(unknown) if found is None else found.model_dump_json(exclude_none=True))
    else:
        click.echo(described(found))


def described(found: JobStatus | None) -> str:
    """A status for a person."""
    if found is None:
        return "unknown: no worker has begun it, or it ended long ago"
    line: str = found.state
    if found.progress is not None and not found.ended:
        done, total = found.progress.bytes.done, found.progress.bytes.total
        entries = found.progress.entries
        line += f", {found.progress.step}: {size(done)} of {size(total)}, {entries.done:,} of {files(entries.total)}"
    over = ending.of_status(found)
    return over.described() if over else line
