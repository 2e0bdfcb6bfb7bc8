"""``archiver sweep``: cleans up behind jobs and monitors that never came back."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from archiver.aws import sweep as sweeping
from archiver.aws.checkpoints import PREFIX
from archiver.cli.output import duration, json_option, print_json
from archiver.cli.session import brief_client, quiet_logs
from archiver.settings import BucketSettings, Settings, load

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _age(_ctx: click.Context, _option: click.Parameter, value: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([smhd])", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no age such as 90s, 30m, 24h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


@click.command()
@click.option(
    "--older-than",
    callback=_age,
    metavar="AGE",
    default="24h",
    show_default=True,
    help="Uploads begun longer ago, and what was shared of them: 30m, 7d, …",
)
@click.option(
    "--unattended",
    callback=_age,
    metavar="AGE",
    default="15m",
    show_default=True,
    help="With MONITORING=1: queues whose owner gave no sign of life for so long; it gives one every four minutes.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@json_option
@click.pass_context
def sweep(ctx: click.Context, /, older_than: timedelta, unattended: timedelta, dry_run: bool, as_json: bool) -> None:
    """Abort unfinished uploads of archives in the destination buckets. Uploads that are not ours are left alone.

    Checkpoints of deflated archives, which workers leave behind, and what jobs have shared with other workers, below
    CREW_PREFIX, are deleted.

    Choose an age that no job reaches: one that runs longer would have to start over. With MONITORING=1 the queues
    and subscriptions that killed workers and monitors left are deleted, too.
    """
    quiet_logs(debug=ctx.find_root().params["debug"])
    settings = load(BucketSettings)
    now, client = datetime.now(UTC), brief_client("s3", settings)
    swept = {
        bucket: sweeping.sweep(
            client, bucket=bucket, prefix=settings.s3_file_prefix, older_than=older_than, now=now, dry_run=dry_run
        )
        for bucket in dict.fromkeys((settings.s3_destination_bucket, *settings.allowed_destination_buckets))
    }
    young, foreign = sum(one.young for one in swept.values()), sum(one.foreign for one in swept.values())
    aborted = [(bucket, item) for bucket, one in swept.items() for item in one.aborted]
    checkpoints, shared = (
        sweeping.clear(
            client,
            bucket=settings.s3_destination_bucket,
            prefix=prefix,
            older_than=older_than,
            now=now,
            dry_run=dry_run,
        )
        for prefix in (PREFIX, settings.crew_prefix)
    )
    inboxes = _sweep_inboxes(settings, unattended, dry_run=dry_run) if settings.monitoring else None
    if as_json:
        items = [
            {
                "bucket": bucket,
                "key": item.key,
                "upload_id": item.upload_id,
                "initiated": item.initiated.isoformat(),
            }
            for bucket, item in aborted
        ]
        report: dict[str, Any] = {
            "aborted": items,
            "dry_run": dry_run,
            "young": young,
            "foreign": foreign,
            "checkpoints": checkpoints,
            "shared": shared,
        }
        if inboxes is not None:
            report["monitoring"] = {
                "queues": inboxes.queues,
                "subscriptions": inboxes.subscriptions,
                "attended": inboxes.attended,
            }
        print_json(report)
        return
    for bucket, item in aborted:
        age = duration((now - item.initiated).total_seconds())
        click.echo(f"{'would abort' if dry_run else 'aborted'} s3://{bucket}/{item.key}, begun {age} ago")
    if checkpoints:
        click.echo(f"{checkpoints} checkpoint(s) {'to delete' if dry_run else 'deleted'}")
    if shared:
        click.echo(f"{shared} shared object(s) {'to delete' if dry_run else 'deleted'}")
    verb = "to abort" if dry_run else "aborted"
    click.echo(f"{len(aborted)} {verb}, {young} younger than that, {foreign} not ours")
    if inboxes is not None:
        for queue in inboxes.queues:
            click.echo(f"{'would delete' if dry_run else 'deleted'} queue {queue}")
        click.echo(
            f"monitoring: {len(inboxes.queues)} queues and {len(inboxes.subscriptions)} subscriptions "
            f"{'to delete' if dry_run else 'deleted'}, {inboxes.attended} queues in use"
        )


def _sweep_inboxes(settings: Settings, unattended: timedelta, *, dry_run: bool) -> Any:
    from archiver.monitoring.naming import Names
    from archiver.monitoring.sweep import sweep_inboxes

    return sweep_inboxes(
        brief_client("sns", settings),
        brief_client("sqs", settings),
        names=Names(settings.monitoring_prefix),
        unattended_seconds=unattended.total_seconds(),
        now=time.time(),
        dry_run=dry_run,
    )
