"""``archiver status``: how far a request is."""

import json
import time

import click

from archiver.archive.status import JobStatus
from archiver.aws.status import StatusObjects
from archiver.cli.failures import FAILED, BadInput
from archiver.cli.output import json_option, size
from archiver.cli.session import brief_client, quiet_logs
from archiver.settings import BucketSettings, load

#: Between two looks at a status, in seconds.
LOOK_SECONDS = 1.0


@click.command()
@click.argument("request_id")
@click.option("--follow", is_flag=True, help="Stay until the job has ended.")
@json_option
@click.pass_context
def status(ctx: click.Context, /, request_id: str, follow: bool, as_json: bool) -> None:
    """Show how far a request is; STATUS_PREFIX is set here as for the workers.

    Exits with 1 where the job failed, was cancelled, or is not known. With --json each status is a line.
    """
    quiet_logs(debug=ctx.find_root().params["debug"])
    objects = status_objects()
    shown = None
    while True:
        found = objects.read(request_id)
        if found != shown or shown is None:
            show(request_id, found, as_json=as_json)
            shown = found
        if not follow or (found is not None and found.ended):
            break
        time.sleep(LOOK_SECONDS)
    if found is None or found.state in ("failed", "cancelled"):
        ctx.exit(FAILED)


def status_objects() -> StatusObjects:
    """The status objects of the settings."""
    settings = load(BucketSettings)
    if settings.status_prefix is None:
        raise BadInput("STATUS_PREFIX is not set: set it here as for the workers")
    return StatusObjects(brief_client("s3", settings), settings.s3_destination_bucket, settings.status_prefix)


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
        line += f", {found.progress.step}: {size(done)} of {size(total)}, {entries.done} of {entries.total} file(s)"
    told = found.notification or {}
    if "archive" in told:
        line += f": {told['archive']['url']}"
    elif "error" in told:
        line += f": {told['error']['code']}: {told['error']['message']}"
    return line
