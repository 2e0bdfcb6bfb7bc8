"""``archiver plan``: a dry run."""

import time
from typing import Any

import click

from archiver.archive.key import canonical_json
from archiver.archive.pipeline import Delivery, destination_of
from archiver.cli.output import console, files, json_option, missing_lines, print_json, size
from archiver.cli.payloads import checked, payload_options, read_payload
from archiver.cli.preview import ORIGINS, Preview, described, preview
from archiver.cli.prices import US_EAST_1, Prices
from archiver.cli.session import open_services, quiet_logs
from archiver.settings import BucketSettings, load

#: Entries that are shown where not all are asked for.
SHOWN = 40


@click.command()
@payload_options
@click.option("--all", "every", is_flag=True, help=f"List every entry, not only the first {SHOWN}.")
@json_option
@click.pass_context
def plan(ctx: click.Context, /, as_json: bool, every: bool, **given: Any) -> None:
    """Show what building the archive of a payload would take: entries, parts, bytes, requests, US dollars.

    It looks at the sources as a build does and writes nothing. FILE is the payload's JSON; --source and --prefix
    make one without a file.
    """
    quiet_logs(debug=ctx.find_root().params["debug"])
    payload = read_payload(**given)
    settings = load(BucketSettings)
    # Before anything is connected to.
    request = checked(payload, max_files=settings.max_files, default_bucket=settings.s3_source_bucket)
    services = open_services(settings)
    # Where a build's archive could not go, there is nothing to plan.
    destination_of(request, canonical_json(payload), delivery=Delivery("plan", time.time()), services=services)
    shown = preview(request, services=services)
    if as_json:
        cost = {"usd": round(US_EAST_1.cost(shown.requests), 8), "prices": str(US_EAST_1)}
        others = [
            {
                "copies": other.copies,
                "usd": round(US_EAST_1.cost(other.requests), 8),
                "bytes": {"read": other.bytes_read, "copied": other.bytes_copied},
            }
            for other in shown.alternatives
        ]
        print_json(described(shown) | {"cost": cost | {"alternatives": others}})
    else:
        _print(shown, US_EAST_1, limit=len(shown.entries) if every else SHOWN)


def _print(shown: Preview, prices: Prices, *, limit: int) -> None:
    from rich import box
    from rich.table import Table

    out = console()
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("Name in the archive", overflow="fold")
    for column in ("Size", "Read", "Copied"):
        table.add_column(column, justify="right")
    table.add_column("CRC32")
    for entry in shown.entries[:limit]:
        table.add_row(
            entry.name, size(entry.size), size(entry.bytes_read), size(entry.bytes_copied), ORIGINS[entry.crc32_from]
        )
    out.print(table)
    if len(shown.entries) > limit:
        out.print(f"… and {len(shown.entries) - limit:,} more; --all shows them\n")
    for line in missing_lines(shown.missing):
        out.print(line)
    requests = ", ".join(f"{count:,} {kind}" for kind, count in shown.requests.items())
    if len(shown.archives) > 1:
        for number, (bytes_, entries) in enumerate(shown.archives, 1):
            out.print(f"archive {number} {size(bytes_)}, {files(entries)}")
    out.print(f"archive   {size(shown.size)}, {files(len(shown.entries))}")
    out.print(f"parts     {shown.parts_literal:,} literal, {shown.parts_copied:,} copied")
    out.print(f"bytes     {size(shown.bytes_read)} read, {size(shown.bytes_copied)} copied inside S3")
    out.print(f"requests  {requests}")
    out.print(f"cost      ${prices.cost(shown.requests):.6f} for the requests")
    for other in shown.alternatives:
        way = "all that can be copied" if other.copies else "nothing copied"
        out.print(f"          ${prices.cost(other.requests):.6f} with {way}: {size(other.bytes_read)} read")
    out.print(f"          ({prices})")
    if shown.chunks is not None:
        invited = f"invited to {shown.chunks:,} chunks" if shown.chunks else "not invited"
        out.print(f"crew      other workers are {invited}")
    if shown.deflatable_files:
        out.print(
            f"auto      {files(shown.deflatable_files)}, {size(shown.deflatable_bytes)}, would be tried: what shrinks "
            "is read and deflated; the plan is that of an archive in which nothing does"
        )
