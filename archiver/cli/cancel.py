"""``archiver cancel``: end a request."""

import time

import click

from archiver.archive.status import JobStatus
from archiver.aws.status import StatusObjects
from archiver.cli.failures import FAILED
from archiver.cli.output import json_option, print_json
from archiver.cli.session import quiet_logs
from archiver.cli.status import LOOK_SECONDS, status_objects


@click.command()
@click.argument("request_id")
@click.option(
    "--wait", type=click.IntRange(min=0), default=30, show_default=True, help="Seconds for a running job to end."
)
@json_option
@click.pass_context
def cancel(ctx: click.Context, /, request_id: str, wait: int, as_json: bool) -> None:
    """Cancel a request: its upload is aborted, its message deleted; with NOTIFY_FAILURES the consumer is told.

    Exits with 1 where it came too late. A request that no worker has begun ends when one does.
    """
    quiet_logs(debug=ctx.find_root().params["debug"])
    objects = status_objects()
    before = objects.cancel(request_id)
    after = before if before is None or before.ended else _outcome(objects, request_id, wait)
    too_late = after is not None and after.state in ("succeeded", "failed")
    if as_json:
        print_json(
            {"request_id": request_id, "state": "unknown" if after is None else after.state, "too_late": too_late}
        )
    else:
        click.echo(_line(before, after))
    if too_late:
        ctx.exit(FAILED)


def _outcome(objects: StatusObjects, request_id: str, wait: int) -> JobStatus | None:
    end = time.monotonic() + wait
    while True:
        found = objects.read(request_id)
        if found is None or found.ended or time.monotonic() > end:
            return found
        time.sleep(LOOK_SECONDS)


def _line(before: JobStatus | None, after: JobStatus | None) -> str:
    if before is None:
        return "unknown: no worker has begun it; it ends when one does"
    if before.ended:
        return f"too late: it has {before.state} already" if before.state != "cancelled" else "it was cancelled already"
    if after is None or not after.ended:
        return "asked for; the job still runs"
    return "cancelled" if after.state == "cancelled" else f"too late: it {after.state} meanwhile"
