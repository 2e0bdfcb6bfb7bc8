"""``archiver schema``: the contract in JSON Schema."""

from typing import Any

import click

from archiver.cli.output import json_option, print_json


@click.command()
@click.argument("name", required=False, type=click.Choice(["payload", "notification", "status"]))
@json_option
def schema(name: str | None, as_json: bool) -> None:
    """Print the JSON Schemas of payload, notification and status, or the one that is named; with or without --json."""
    del as_json
    known = schemas()
    print_json(known if name is None else known[name])


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schemas by name."""
    from archiver.archive import notification, request, status

    return {"payload": request.schema(), "notification": notification.schema(), "status": status.schema()}
