"""Where a built site's links lead: to pages and anchors that are there; and nothing is loaded from elsewhere."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: What a browser fetches by itself while it shows a page, by element and attribute; a link's ``rel`` decides.
_LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "image": "href"}
_LOADED_LINKS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload", "manifest"}


@dataclass
class Page(HTMLParser):
    """Anchors and links of a page."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and _LOADED_LINKS & set(values.get("rel", "").split()):
            self.loaded.append(values.get("href", ""))
        if (url := values.get(_LOADED.get(tag, ""))) is not None:
            self.loaded.append(url)


def complaints(site: Path) -> Iterator[str]:
    """A line for each link that leads nowhere, and for each thing that is loaded from another host."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        for url in page.loaded:
            if urlsplit(url).netloc or url.startswith("//"):
                yield f"{name}: loads {url} from elsewhere"
        for url in (*page.links, *page.loaded):
            if not _there(url, path, pages):
                yield f"{name}: {url} leads nowhere"


def _read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _there(url: str, path: Path, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return True
    target = path if not parts.path else Path(os.path.normpath(path.parent / unquote(parts.path)))
    if target not in pages:
        return target.is_file()
    return not parts.fragment or unquote(parts.fragment) in pages[target].anchors
