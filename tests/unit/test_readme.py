"""The README says what the code does."""

import json
import re
from typing import Any

import pytest

from archiver.archive.pointer import is_pointer
from archiver.archive.request import parse_request
from archiver.settings import Settings
from devtools.localstack import CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
EXAMPLES = CHECKOUT / "docs" / "examples"


def shown(default: Any) -> str:
    """A default as somebody would write it into the environment."""
    if default is None or default == ():
        return "none"
    return str(int(default)) if isinstance(default, bool) else str(default)


def row(name: str) -> str:
    """The table's row of a setting, generated from its definition."""
    field = Settings.model_fields[name]
    default = "required" if field.is_required() else shown(field.default)
    return f"| {name.upper()} | {field.description} | {default} |"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_table_with_its_default(name: str) -> None:
    assert row(name) in README.splitlines()


def test_the_table_names_no_other_setting() -> None:
    table = README.split("\n## Settings\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| ([A-Z][A-Z0-9_]+) \|", table, flags=re.MULTILINE)
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)


def test_the_payload_of_the_readme_is_the_example_and_is_valid() -> None:
    blocks = [json.loads(text) for text in re.findall(r"```json\n(.+?)```", README, flags=re.DOTALL)]
    payloads = [block for block in blocks if "files" in block]
    assert payloads == [json.loads((EXAMPLES / "payload.json").read_text(encoding="utf-8"))]

    request = parse_request(payloads[0], max_files=10, default_bucket="source-images")

    assert [file.destination for file in request.files] == ["album_1", "album_1", "album_2"]


def test_every_example_of_the_payloads_page_is_one() -> None:
    page = (CHECKOUT / "docs" / "payload.md").read_text(encoding="utf-8")
    examples = re.findall(r"```json\n(.+?)```", page, flags=re.DOTALL)
    pointers = [text for text in examples if is_pointer(text)]

    asked = [parse_request(text, max_files=10, default_bucket="source-images") for text in examples if text[0] == "{"]

    assert len(pointers) == 1
    assert len(asked) + len(pointers) == len(examples) >= 7
    assert [request.unknown_keys for request in asked] == [()] * len(asked)


def test_the_files_that_the_readme_points_at_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if "://" not in link and not (CHECKOUT / link).exists()] == []
