"""What commands print: tables and lines for people, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from archiver.text import presentable

if TYPE_CHECKING:
    from rich.console import Console

#: Missing sources that are shown to a person.
SHOWN_MISSING = 20

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """The option --json of a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def console(*, stderr: bool = False) -> "Console":
    """Rich's console. Where it is no terminal, lines are as long as they need to be, without colours."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(
        stderr=stderr, highlight=False, markup=False, soft_wrap=not terminal, width=None if terminal else 200
    )


def missing_lines(sources: Sequence[str], total: int | None = None) -> Iterator[str]:
    """The first missing sources, and how many there are beyond; ``total`` where ``sources`` does not have all."""
    shown = sources[:SHOWN_MISSING]
    yield from (f"missing: {presentable(source)}" for source in shown)
    if more := (total or len(sources)) - len(shown):
        yield f"missing: … and {more:,} more; --json names them"


def size(count: float) -> str:
    """Bytes for people, in powers of 1,024."""
    if count < 1024:
        return f"{count:,.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        count /= 1024
        if count < 1024 or unit == "TiB":
            break
    return f"{count:,.1f} {unit}"


def files(count: int) -> str:
    """A number of files for people."""
    return "1 file" if count == 1 else f"{count:,} files"


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
