"""Pieces of Markdown: tables and code that hold whatever text they are given."""

from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """Text as a code span, whatever backticks it has."""
    value = str(text)
    fence = "`" * (1 + max((len(run) for run in _runs(value)), default=0))
    # A span that begins or ends with a backtick wants spaces, which the reader takes away again.
    pad = " " if value.startswith("`") or value.endswith("`") else ""
    return f"{fence}{pad}{value}{pad}{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar or a line break within a cell stays in its cell."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


def _runs(text: str) -> list[str]:
    return "".join(character if character == "`" else " " for character in text).split()
