"""``archiver build``: one archive, here and now."""

import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from archiver.archive.pipeline import ArchiveResult, Delivery, build_archive
from archiver.archive.progress import OnProgress, Progress, ignore
from archiver.archive.request import parse_request
from archiver.cli.failures import INTERRUPTED
from archiver.cli.output import duration, files, json_option, print_json, size
from archiver.cli.payloads import payload_options, read_payload
from archiver.cli.session import open_services, quiet_logs
from archiver.settings import BucketSettings, load
from archiver.text import presentable, redacted


@click.command()
@payload_options
@click.option(
    "--request-id", help="Names the build. Given again on the same day (UTC), it goes on where an earlier one ended."
)
@json_option
@click.pass_context
def build(ctx: click.Context, /, as_json: bool, request_id: str | None, **given: Any) -> None:
    """Build the archive of a payload here and now, without any queue; nobody is notified.

    FILE is the payload's JSON; --source and --prefix make one without a file.
    """
    debug = ctx.find_root().params["debug"]
    quiet_logs(debug=debug)
    payload = read_payload(**given)
    settings = load(BucketSettings)
    parse_request(
        payload, max_files=settings.max_files, default_bucket=settings.s3_source_bucket
    )  # before anything is connected to
    services = open_services(settings)
    # Under a given id there may be an archive, or parts of one: an attempt after the first one looks for them.
    delivery = Delivery(request_id or str(uuid.uuid4()), sent_at=time.time(), attempt=2 if request_id else 1)
    try:
        with progress_bar(shown=sys.stderr.isatty() and not debug) as on_progress:
            result = build_archive(payload, delivery=delivery, services=services, on_progress=on_progress)
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted; --request-id {delivery.request_id} goes on with the parts that are there", err=True)
        ctx.exit(INTERRUPTED)
    if as_json:
        missing = [redacted(source) for source in result.missing]
        print_json({"request_id": delivery.request_id} | asdict(result) | {"missing": missing})
    else:
        _print(result)


def _print(result: ArchiveResult) -> None:
    for one in result.archives or (result,):
        click.echo(f"s3://{one.bucket}/{one.key}")
        click.echo(one.url)
    all_files = sum(one.files for one in result.archives or (result,))
    archive = f"{files(all_files)}, {size(sum(one.size for one in result.archives or (result,)))}"
    if result.reused:
        click.echo(f"{archive}: an earlier build had it finished")
    else:
        click.echo(
            f"{archive} in {duration(result.seconds)}: {size(result.bytes_read)} read, "
            f"{size(result.bytes_copied)} copied inside S3, {size(result.bytes_uploaded)} uploaded"
        )
    for source in result.missing:
        click.echo(f"missing: {presentable(source)}", err=True)


@contextmanager
def progress_bar(*, shown: bool) -> Iterator[OnProgress]:
    """A bar on standard error that follows a build; nothing where it is not ``shown``."""
    if not shown:
        yield ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("looking at the sources", total=None)

        def follow(progress: Progress) -> None:
            bar.update(task, description=progress.step, total=progress.bytes_total, completed=progress.bytes_done)

        yield follow
