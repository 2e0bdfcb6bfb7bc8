"""``make docs``: builds the site of docs/ and checks it. Any warning, and any link that leads nowhere, is a failure.

Nothing is fetched: neither by the build nor by who looks at what it made.
"""

import argparse
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

from devtools.localstack import CHECKOUT
from devtools.site.chapters import DOCS
from devtools.site.links import complaints

SITE = CHECKOUT / "build" / "docs"


def build(docs: Path, site: Path) -> list[str]:
    """Build the site of a folder and return what is wrong with it, a line each; Sphinx has told its part by then."""
    options = ["--builder", "html", "--fresh-env", "--fail-on-warning", "--nitpicky", "--quiet", "--jobs", "auto"]
    # What a page was made of stays out of the site.
    options += ["--doctree-dir", str(site.with_name(f"{site.name}.doctrees"))]
    if build_main([*options, str(docs), str(site)]):
        return ["Sphinx has warned or failed, see above"]
    return list(complaints(site))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m devtools.site", description=__doc__)
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder of the pages and of conf.py")
    parser.add_argument("--site", type=Path, default=SITE, help="the folder of what is built")
    asked = parser.parse_args()
    if wrong := build(asked.docs.resolve(), asked.site.resolve()):
        sys.exit("\n".join(wrong))
    print(f"{asked.site.resolve().as_uri()}/index.html")
