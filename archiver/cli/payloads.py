"""The payload of a command: a file, standard input, or put together from options."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from archiver.archive.document import DocumentError, read
from archiver.cli.failures import BadInput

F = TypeVar("F", bound=Callable[..., Any])


def payload_options(command: F) -> F:
    """FILE and the options in its place; the command hands them on to ``read_payload``."""
    options: list[Callable[[F], F]] = [
        click.argument("file", required=False, metavar="FILE|-"),
        click.option("--source", "sources", multiple=True, help="A key or s3://bucket/key, in place of FILE."),
        click.option("--prefix", "prefixes", multiple=True, help="A prefix, taken with all that lies below it."),
        click.option("--compression", type=click.Choice(["stored", "auto"]), help="Overrides the payload's."),
        click.option("--on-missing", type=click.Choice(["fail", "skip", "list"]), help="Overrides the payload's."),
        click.option("--filename", help="Overrides the payload's."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_payload(
    file: str | None, *, sources: tuple[str, ...], prefixes: tuple[str, ...], **overrides: str | None
) -> dict[str, Any]:
    """The payload's object, not validated yet. Raises ``BadInput`` where there is none, or more than one."""
    given = bool(sources or prefixes)
    if (file is None) != given:
        raise BadInput("give either FILE (- for standard input) or --source and --prefix")
    if file is None:
        wanted = [*sources, *(prefix.rstrip("/") + "/" for prefix in prefixes)]
        payload: dict[str, Any] = {"files": [{"source": source} for source in wanted]}
    else:
        payload = _parsed(file, _text(file))
    return payload | {name: value for name, value in overrides.items() if value is not None}


def _text(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"FILE={file!r}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"FILE={file!r}: not UTF-8 at byte {error.start}") from None


def _parsed(file: str, text: str) -> dict[str, Any]:
    try:
        return read(text).value
    except DocumentError as error:
        raise BadInput(f"FILE={file!r}: {error}") from None
