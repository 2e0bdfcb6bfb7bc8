"""``python -m docs.simulation`` prints the tables, ``--write`` puts them into docs/scaling.md, ``--large`` prints the
day of a million jobs."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from docs.simulation.report import large_wave, tables

DOCUMENT = Path(__file__).resolve().parent.parent / "scaling.md"


def fill(document: str, made: dict[str, str]) -> str:
    """The document with each table between its marks replaced; ``KeyError`` for a mark without a table."""
    return re.sub(
        r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{made[match[2]]}\n{match[3]}",
        document,
        flags=re.DOTALL,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.simulation", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    parser.add_argument("--large", action="store_true", help="simulate a million jobs in a day instead (half a minute)")
    options = parser.parse_args()
    if options.large:
        sys.stdout.write(large_wave() + "\n")
        return
    made = tables()
    if options.write:
        DOCUMENT.write_text(fill(DOCUMENT.read_text(encoding="utf-8"), made), encoding="utf-8")
    else:
        sys.stdout.write("\n\n".join(f"{name}\n\n{table}" for name, table in made.items()) + "\n")


if __name__ == "__main__":
    main()
