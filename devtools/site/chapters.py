"""Chapters of the project's other documents, as parts of the site's pages.

The README, CONTRIBUTING and the changelog stay where everybody looks for them; a page takes over what it needs, so
that nothing is written twice. Links lead on: to a page where the site has one, to the file as a download where it has
none; where a link would leave the site for a folder or another chapter, its text alone stays.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from devtools.localstack import CHECKOUT

DOCS = CHECKOUT / "docs"
#: Documents outside docs/ that are pages of the site.
PAGES: Mapping[str, str] = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}

_FENCE = re.compile(r" {0,3}(```|~~~)")
_HEADING = re.compile(r"(#{1,6}) +(.+?) *#*$")
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")


class ChapterError(Exception):
    """A page asks for a chapter that is not there."""


def chapter(document: Path, heading: str, *, page: Path) -> str:
    """The chapter of ``document`` whose heading begins with ``heading``, without that heading, for ``page``.

    An empty heading is the whole document without its title. Raises ``ChapterError`` where there is no such chapter.
    """
    lines = document.read_text(encoding="utf-8").splitlines()
    start, level = _find(lines, heading, document)
    end = next((at for at, depth, _ in _headings(lines) if at > start and depth <= level), len(lines))
    part = lines[start + 1 : end]
    anchors = {anchor(title) for _, _, title in _headings(part)}
    return _outside_code("\n".join(part), lambda text: _relinked(text, document.parent, page.parent, anchors))


def anchor(title: str) -> str:
    """The fragment by which GitHub, and so the site, knows a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _find(lines: list[str], heading: str, document: Path) -> tuple[int, int]:
    for at, depth, title in _headings(lines):
        if title.startswith(heading) and (depth == 1) == (heading == ""):
            return at, depth
    raise ChapterError(f"{document.name} has no chapter that begins with {heading!r}")


def _headings(lines: list[str]) -> list[tuple[int, int, str]]:
    """Line, level and title of each heading; a number sign in code is none."""
    found, fenced = [], False
    for at, line in enumerate(lines):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced and (match := _HEADING.match(line)):
            found.append((at, len(match[1]), match[2]))
    return found


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    lines, fenced = [], False
    for line in text.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
        lines.append(line if fenced or line.startswith("    ") else change(line))
    return "\n".join(lines)


def _relinked(text: str, source: Path, target: Path, anchors: set[str]) -> str:
    def link(match: re.Match[str]) -> str:
        title, (path, _, fragment) = match[1], match[2].partition("#")
        if _SCHEME.match(path):
            return match[0]
        if not path:
            return match[0] if fragment in anchors else title
        file = (source / path).resolve()
        file = DOCS / PAGES.get(os.path.relpath(file, CHECKOUT), os.path.relpath(file, DOCS))
        if file.is_dir() or not file.resolve().is_relative_to(CHECKOUT):
            return title
        return f"[{title}]({os.path.relpath(file, target)}{'#' + fragment if fragment else ''})"

    return _LINK.sub(link, text)
