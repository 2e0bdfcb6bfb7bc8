"""``archiver health``: the container's health check."""

import click

from archiver.cli.failures import FAILED
from archiver.cli.output import json_option, print_json
from archiver.settings import LivenessSettings, load
from archiver.worker import liveness


@click.command()
@json_option
@click.pass_context
def health(ctx: click.Context, as_json: bool) -> None:
    """Exit with 0 where the worker beside this command has polled or acked lately, else with 1.

    It reads LIVENESS_FILE and LIVENESS_SECONDS, and no other setting needs to be valid.
    """
    settings = load(LivenessSettings)
    age = liveness.age(settings.liveness_file)
    healthy = age is not None and age <= settings.liveness_seconds
    if as_json:
        shown = None if age is None else round(age, 1)
        print_json({"healthy": healthy, "age_seconds": shown, "limit_seconds": settings.liveness_seconds})
    elif age is None:
        click.echo(f"unhealthy: there is no {settings.liveness_file}: the worker has not polled yet", err=True)
    else:
        verdict = "healthy" if healthy else "unhealthy"
        click.echo(f"{verdict}: last poll {age:.0f} s ago, limit {settings.liveness_seconds} s", err=not healthy)
    if not healthy:
        ctx.exit(FAILED)
