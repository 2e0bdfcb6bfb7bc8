"""``archiver build``: one archive, here and now."""

import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from archiver.archive.pipeline import ArchiveResult, Delivery, Services, build_archive
from archiver.archive.progress import OnProgress, Progress, ignore
from archiver.archive.request import ArchiveRequest, parse_request
from archiver.cli.disk import FileArchive
from archiver.cli.failures import INTERRUPTED, BadInput
from archiver.cli.output import duration, files, json_option, missing_lines, print_json, size
from archiver.cli.payloads import payload_options, read_payload
from archiver.cli.session import open_local_services, open_services, quiet_logs
from archiver.settings import BucketSettings, Settings, SourceSettings, load
from archiver.text import redacted

#: What a result says of the object in S3.
_OF_S3 = frozenset(
    {"bucket", "key", "version_id", "etag", "url", "archives", "reused", "bytes_copied", "bytes_uploaded", "parts"}
)


@click.command()
@payload_options
@click.option(
    "--request-id", help="Names the build. Given again on the same day (UTC), it goes on where an earlier one ended."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the archive to this file, and nothing to S3. It has the name once it is complete.",
)
@json_option
@click.pass_context
def build(ctx: click.Context, /, as_json: bool, request_id: str | None, output: Path | None, **given: Any) -> None:
    """Build the archive of a payload here and now, without any queue; nobody is notified.

    FILE is the payload's JSON; --source and --prefix make one without a file.
    """
    debug = ctx.find_root().params["debug"]
    quiet_logs(debug=debug)
    payload = read_payload(**given)
    settings = load(BucketSettings if output is None else SourceSettings)
    # Before anything is connected to.
    request = parse_request(payload, max_files=settings.max_files, default_bucket=settings.s3_source_bucket)
    if output is not None:
        output = _usable(output, request, request_id)
        payload.pop("archive", None)  # where it would go in S3
    # Under a given id there may be an archive, or parts of one: an attempt after the first one looks for them.
    delivery = Delivery(request_id or str(uuid.uuid4()), sent_at=time.time(), attempt=2 if request_id else 1)
    try:
        with (
            _services(settings, output) as services,
            progress_bar(shown=sys.stderr.isatty() and not debug) as on_progress,
        ):
            result = build_archive(payload, delivery=delivery, services=services, on_progress=on_progress)
    except KeyboardInterrupt:
        left = f"; --request-id {delivery.request_id} goes on with the parts that are there" if output is None else ""
        click.echo(f"\ninterrupted{left}", err=True)
        ctx.exit(INTERRUPTED)
    if as_json:
        missing = [redacted(source) for source in result.missing]
        described = {"request_id": delivery.request_id} | asdict(result) | {"missing": missing}
        if output is not None:
            described = {"file": str(output)} | {name: value for name, value in described.items() if name not in _OF_S3}
        print_json(described)
    else:
        _print(result, output)


def _usable(output: Path, request: ArchiveRequest, request_id: str | None) -> Path:
    """The file that is to be written, wherever links lead. Raises ``BadInput`` before anything is read."""
    path = output.resolve()
    if str(output) == "-":
        raise BadInput("--output='-': a file is needed, since parts of an archive come out of their order")
    if path.exists() and not path.is_file():
        raise BadInput(f"--output={str(output)!r}: not a file that could be replaced")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise BadInput(f"--output={str(output)!r}: its folder is not there, or not to be written to")
    if request.split is not None:
        raise BadInput("--output: one archive, and the payload asks for several (split)")
    if request_id is not None:
        raise BadInput("--output and --request-id: a file is written anew each time")
    return path


@contextmanager
def _services(settings: Settings, output: Path | None) -> Iterator[Services]:
    if output is None:
        yield open_services(settings)
        return
    with closing(FileArchive(output)) as archive:
        yield open_local_services(settings, archive, output)


def _print(result: ArchiveResult, output: Path | None) -> None:
    if output is not None:
        click.echo(str(output))
        click.echo(
            f"{files(result.files)}, {size(result.size)} in {duration(result.seconds)}: {size(result.bytes_read)} read"
        )
    else:
        _print_places(result)
    for line in missing_lines(result.missing):
        click.echo(line, err=True)


def _print_places(result: ArchiveResult) -> None:
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
