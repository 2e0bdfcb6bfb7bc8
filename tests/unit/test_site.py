"""The site is built strictly: what would mislead a reader fails, and nothing of it comes from elsewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archiver.cli import COMMANDS
from archiver.client import ArchiverClient
from devtools.localstack import CHECKOUT
from devtools.site.chapters import DOCS, ChapterError, anchor, chapter
from devtools.site.extension import filled
from devtools.site.links import complaints

BUILD_SECONDS = 120
DOCUMENT = """# Title

Words, and [the first](#first-chapter) chapter.

## First chapter

See [payloads](docs/payload.md#several-archives), [this](#below), [that](#second-chapter), [the rules](CONTRIBUTING.md),
[a template](deploy/service.yaml), [a folder](deploy), [a host](https://example.com/a.md).

    # indented, [no](docs/payload.md) link

```sh
# a comment, [no](docs/payload.md) link
```

### Below

Deeper.

## Second chapter

More.
"""


def build(docs: Path, **pages: str) -> subprocess.CompletedProcess[str]:
    """A site of these pages, with the project's own configuration and a picture; it goes to the folder's ``site``."""
    docs.mkdir()
    shutil.copy(DOCS / "conf.py", docs)
    shutil.copytree(DOCS / "site", docs / "site")
    shutil.copy(DOCS / "images" / "layout.svg", docs)
    for name, text in pages.items():
        (docs / f"{name}.md").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "devtools.site", "--docs", str(docs), "--site", str(docs.parent / "site")]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=BUILD_SECONDS)


def test_a_site_has_every_command_the_client_and_pictures_that_take_its_colours(tmp_path: Path) -> None:
    pages = [(DOCS / "reference" / name).read_text(encoding="utf-8") for name in ("command.md", "client.md")]
    text = re.sub(r"\]\([a-z./]+\.md\)", "](index.md)", "\n#".join(pages))

    done = build(tmp_path / "docs", index=f'{text}\n![the "layout"](layout.svg)\n')

    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f'id="archiver-{name}"' not in page] == []
    public = [name for name, member in vars(ArchiverClient).items() if callable(member) and not name.startswith("_")]
    assert [name for name in public if f'id="archiver.client.ArchiverClient.{name}"' not in page] == []
    assert [
        name for name in ("Notifications.run", "StatusObjects.read") if f'id="archiver.client.{name}"' not in page
    ] == []
    assert "<blockquote>" not in page  # but code
    (picture,) = re.findall(r'<svg class="picture"[^>]+>', page)
    assert 'aria-label="the &quot;layout&quot;"' in picture


def test_what_would_mislead_a_reader_is_no_site(tmp_path: Path) -> None:
    index = "# Site\n\n[a](nowhere.md) [b](#no-anchor) [c](other.md#no-anchor) [d](no-file.json) ![e](no-picture.svg)\n"

    done = build(tmp_path / "docs", index=index, other="# In no table of contents\n")

    assert done.returncode == 1
    assert done.stderr.endswith("Sphinx has warned or failed, see above\n")
    for wrong in ("nowhere.md", "'no-anchor'", "no-file.json", "no-picture.svg", "other.md: WARNING: document isn't"):
        assert wrong in done.stderr, wrong


def test_links_of_a_built_site_are_followed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "style.css").touch()
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="style.css?v=1"><p id="here">'
        '<a href="#here"></a><a href="sub/page.html#there"></a><a href="https://example.com/x"></a>'
        '<a href="#gone"></a><a href="sub/page.html#gone"></a><a href="gone.html"></a><img src="gone.png">'
    )
    (tmp_path / "sub" / "page.html").write_text(
        '<h1 id="there"><a href="../index.html"></a><script src="https://cdn.example.com/x.js"></script>'
        '<link rel="preconnect" href="//fonts.example.com"><link rel="canonical" href="https://example.com/page.html">'
    )

    assert list(complaints(tmp_path)) == [
        "index.html: #gone leads nowhere",
        "index.html: sub/page.html#gone leads nowhere",
        "index.html: gone.html leads nowhere",
        "index.html: gone.png leads nowhere",
        "sub/page.html: loads https://cdn.example.com/x.js from elsewhere",
        "sub/page.html: loads //fonts.example.com from elsewhere",
    ]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of a README, a page, rules and a folder with a template."""
    for name in ("docs/payload.md", "CONTRIBUTING.md", "deploy/service.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "README.md").write_text(DOCUMENT, encoding="utf-8")
    monkeypatch.setattr("devtools.site.chapters.CHECKOUT", tmp_path)
    monkeypatch.setattr("devtools.site.chapters.DOCS", tmp_path / "docs")
    return tmp_path


def test_a_chapter_leads_on_from_its_page_and_its_code_stays(checkout: Path) -> None:
    text = chapter(checkout / "README.md", "First", page=checkout / "docs" / "howto" / "page.md")

    assert text.strip().splitlines() == [
        "See [payloads](../payload.md#several-archives), [this](#below), that, [the rules](../contributing.md),",
        "[a template](../../deploy/service.yaml), a folder, [a host](https://example.com/a.md).",
        "",
        "    # indented, [no](docs/payload.md) link",
        "",
        "```sh",
        "# a comment, [no](docs/payload.md) link",
        "```",
        "",
        "### Below",
        "",
        "Deeper.",
    ]


def test_a_whole_document_is_a_chapter_without_its_title(checkout: Path) -> None:
    text = chapter(checkout / "README.md", "", page=checkout / "docs" / "page.md")

    assert "# Title" not in text
    assert "## First chapter" in text.splitlines()
    assert "### Below" in text.splitlines()
    assert "Words, and [the first](#first-chapter) chapter." in text.splitlines()


def test_a_chapter_that_is_not_there_is_an_error_that_names_it(checkout: Path) -> None:
    with pytest.raises(ChapterError, match=r"README\.md has no chapter that begins with 'Third'"):
        chapter(checkout / "README.md", "Third", page=checkout / "docs" / "page.md")


def test_a_piece_that_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(ChapterError, match="'weather'; there are settings, "):
        filled("# Page\n\n<!-- generated: weather -->\n", DOCS / "page.md")


def test_anchors_are_github_s() -> None:
    assert anchor("What is checked, `now`?") == "what-is-checked-now"
    assert anchor("1. One file – or two") == "1-one-file--or-two"


def test_the_tutorial_types_what_the_readme_types() -> None:
    page = filled((DOCS / "tutorial.md").read_text(encoding="utf-8"), DOCS / "tutorial.md")
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    walkthrough = readme.partition("\n## Walkthrough")[2].partition("\n## ")[0]

    commands = [line for line in walkthrough.splitlines() if line.startswith("    ")]

    assert len(commands) > 5
    assert [line for line in commands if line not in page.splitlines()] == []
