"""``archiver doctor``: is this deployment right?"""

from dataclasses import asdict

import click

from archiver.cli.check import Check
from archiver.cli.checks import check_everything
from archiver.cli.failures import FAILED, MISUSED
from archiver.cli.output import json_option, print_json
from archiver.cli.session import quiet_logs
from archiver.errors import SettingsError
from archiver.settings import Settings, load

_COLOURS = {"ok": "green", "warning": "yellow", "wrong": "red"}


@click.command()
@click.option("--strict", is_flag=True, help="Take warnings for faults.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, /, strict: bool, as_json: bool) -> None:
    """Check settings, credentials, queues, buckets and permissions: one line each, with how to mend it.

    Nothing is written but one multipart upload, which is aborted at once. Exits with 1 where
    something is wrong, with 2 where it is the settings.
    """
    quiet_logs(debug=ctx.find_root().params["debug"])
    checks: list[Check] = []
    code = FAILED
    try:
        settings = load(Settings)
    except SettingsError as error:
        for complaint in str(error).split("; "):
            checks.append(_tell(Check("settings", "wrong", complaint, "set it in the environment"), as_json))
        code = MISUSED
    else:
        checks = [_tell(check, as_json) for check in check_everything(settings)]
    faults = sum(check.state == "wrong" or (strict and check.state == "warning") for check in checks)
    if as_json:
        print_json({"ok": not faults, "checks": [asdict(check) for check in checks]})
    elif faults:
        click.echo(f"{faults} of {len(checks)} checks failed", err=True)
    if faults:
        ctx.exit(code)


def _tell(check: Check, as_json: bool) -> Check:
    if not as_json:
        mend = f" → {check.mend}" if check.mend else ""
        click.echo(f"{click.style(f'{check.state:8}', fg=_COLOURS[check.state])} {check.name}: {check.detail}{mend}")
    return check
