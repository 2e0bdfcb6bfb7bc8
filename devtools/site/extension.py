"""What the site needs of Sphinx beside its own: generated pieces, chapters of other documents, pictures in both modes.

A page asks by a comment, which other readers of Markdown don't show: ``<!-- generated: settings -->`` for a piece of
the reference, ``<!-- chapter: README.md # Walkthrough -->`` for a chapter of another document.
"""

import re
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform

from devtools.localstack import CHECKOUT
from devtools.site.chapters import ChapterError, chapter
from devtools.site.reference import PIECES

_MARKER = re.compile(r"^<!-- (generated|chapter): (.+?) -->$", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls it by this name."""
    app.connect("source-read", _fill)
    app.connect("autodoc-process-docstring", _indented_is_code)
    app.add_post_transform(InlinePictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def filled(text: str, page: Path) -> str:
    """A page's Markdown with what it asks for. Raises ``ChapterError`` where there is no such piece or chapter."""

    def wanted(match: re.Match[str]) -> str:
        sort, name = match[1], match[2]
        if sort == "chapter":
            document, _, heading = name.partition("#")
            return chapter(CHECKOUT / document.strip(), heading.strip(), page=page)
        if name not in PIECES:
            raise ChapterError(f"nothing that is generated is called {name!r}; there are {', '.join(PIECES)}")
        return PIECES[name]()

    return _MARKER.sub(wanted, text)


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:
    try:
        source[0] = filled(source[0], Path(app.env.doc2path(docname)))
    except ChapterError as error:
        raise ExtensionError(f"{docname}: {error}") from error


def _indented_is_code(_app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """In a docstring, as in Markdown, what is indented behind an empty line is code."""
    told: list[str] = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("    ") and not before and not _code(told):
            told += ["::", ""]
        told.append(line)
    lines[:] = told


def _code(lines: list[str]) -> bool:
    return next((line.startswith("    ") for line in reversed(lines) if line), False)


class InlinePictures(SphinxPostTransform):
    """SVG becomes part of the page and takes its colours: a reader may have chosen dark against the system."""

    default_priority = 200
    formats = ("html",)

    def run(self, **_: Any) -> None:
        for image in list(self.document.findall(nodes.image)):
            path = Path(self.app.srcdir) / image["uri"]
            if path.suffix == ".svg" and path.is_file():  # of one that is missing Sphinx has warned
                svg = labelled(path.read_text(encoding="utf-8"), image.get("alt", ""))
                image.replace_self(nodes.raw("", f'<div class="picture-frame">{svg}</div>', format="html"))


def labelled(svg: str, text: str) -> str:
    """A picture with the page's alternative text in the place of its own label."""
    return re.sub(r'aria-label="[^"]*"', lambda _: f'aria-label="{escape(text)}"', svg, count=1)
