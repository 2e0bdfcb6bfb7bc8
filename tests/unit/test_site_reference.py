"""The site's reference has what the code has: every setting, code, member, command and file of tests."""

import json
from typing import Any

import pytest
from pydantic import Field

from archiver import errors
from archiver.cli.schema import schemas
from archiver.settings import Settings
from devtools.localstack import CHECKOUT
from devtools.site.chapters import DOCS
from devtools.site.markdown import code, table
from devtools.site.reference import (
    EXAMPLES,
    PIECES,
    errors_page,
    examples_page,
    log_schema,
    map_of_tests,
    settings_page,
)
from devtools.site.schemas import kind, schema_page

ERRORS = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.ArchiverError) and error is not errors.ArchiverError
]


def test_a_new_setting_is_in_the_reference_with_its_bounds_and_its_default() -> None:
    class Newer(Settings):
        tape_drives: int = Field(4, ge=1, le=64, description="drives that are written at once")

    page = settings_page(Newer)

    assert page.split("\n\n")[:3] == [
        "## `TAPE_DRIVES`",
        "drives that are written at once",
        "*default `4`* · integer, 1 to 64",
    ]


def test_every_setting_has_its_chapter_once() -> None:
    chapters = [line for line in settings_page().splitlines() if line.startswith("## ")]
    assert sorted(chapters) == sorted(f"## `{name.upper()}`" for name in Settings.model_fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SQS_SOURCE_QUEUE", "*required* · text"),
        ("ARCHIVE_BASE_URL", "*unset by default* · text, pattern `^https?://`"),
        ("NOTIFY_FAILURES", "*default `0`* · `0` or `1`"),
        ("METRICS", "*default `off`* · `off` or `emf`"),
        ("PAYLOAD_BUCKETS", "*unset by default* · text, separated by commas"),
    ],
)
def test_a_setting_says_what_it_may_be(name: str, value: str) -> None:
    paragraphs = settings_page().split("\n\n")
    assert paragraphs[paragraphs.index(f"## `{name}`") + 2] == value


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_code_is_in_the_reference_with_what_becomes_of_the_message(error: type[errors.ArchiverError]) -> None:
    permanent, _, transient = errors_page().partition("## Transient errors")
    part = permanent if issubclass(error, errors.PermanentError) else transient
    assert f"| `{error.code}` | {(error.__doc__ or '').splitlines()[0]} | `{error.__name__}` |" in part


@pytest.mark.parametrize("name", [*sorted(schemas()), "log"])
def test_every_member_of_a_document_is_in_the_reference(name: str) -> None:
    schema = log_schema() if name == "log" else schemas()[name]
    objects = [schema, *schema.get("$defs", {}).values()]

    rows = PIECES[name]().splitlines()

    for member, part in [item for known in objects for item in known.get("properties", {}).items()]:
        cells = (f"| `{member}` | {kind(part)} |", f"| `{member}` | *required* · {kind(part)} |")
        assert any(row.startswith(cells) for row in rows), member


def test_every_page_of_the_reference_asks_for_what_is_generated() -> None:
    asked = "".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    assert [name for name in PIECES if f"<!-- generated: {name} -->" not in asked] == []


def document(**properties: Any) -> dict[str, Any]:
    return {"title": "Receipt", "description": "What was paid.", "properties": properties, "required": ["sum"]}


def test_a_schema_is_a_table_of_its_members() -> None:
    schema = document(sum={"type": "integer", "minimum": 1, "description": "in cents"}, note={"type": "string"})

    assert schema_page(schema).splitlines() == [
        "## Receipt",
        "",
        "What was paid.",
        "",
        "| member | value | meaning |",
        "| --- | --- | --- |",
        "| `sum` | *required* · integer, at least 1 | in cents |",
        "| `note` | string |  |",
    ]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]}, "string, not empty"),
        ({"anyOf": [{"$ref": "#/$defs/Archive"}, {"type": "null"}]}, "[Archive](#archive)"),
        (
            {"type": "array", "items": {"$ref": "#/$defs/Archive"}, "minItems": 1},
            "array of [Archive](#archive), not empty",
        ),
        ({"enum": ["a", "b"]}, "`a` or `b`"),
        ({"const": "succeeded", "type": "string"}, "`succeeded`"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "object of string members"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1000}, "number, at most 1,000, more than 0"),
        ({"type": "integer", "multipleOf": 8}, "integer, multipleOf `8`"),
        ({}, "any JSON value"),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value)[:40],
)
def test_a_value_is_told_in_words_and_what_has_none_as_it_stands(schema: dict[str, Any], words: str) -> None:
    assert kind(schema) == words


def test_a_rule_between_members_is_told() -> None:
    rule = {"if": {"properties": {"kind": {"const": "cash"}}}, "then": {"required": ["sum", "till"]}}

    page = schema_page({**document(sum={"type": "integer"}), "allOf": [rule, {"minProperties": 2}]})

    assert "Where `kind` is `cash`, these are there: `sum`, `till`." in page
    assert '`{"minProperties": 2}`' in page


def test_a_cell_holds_bars_line_breaks_and_backticks() -> None:
    assert table(["pattern"], [[code("a|b")], ["two\nlines"], [code("`")]]).splitlines()[2:] == [
        r"| `a\|b` |",
        "| two lines |",
        "| `` ` `` |",
    ]


def test_every_example_is_on_the_page_of_its_side() -> None:
    pages = {consumers: examples_page(consumers=consumers) for consumers in (False, True)}
    for path in EXAMPLES.iterdir():
        if path.is_file():
            page = pages[path.name.startswith("consume")]
            assert f"### {path.name}\n" in page
            assert path.read_text(encoding="utf-8") in page


def test_every_folder_of_tests_has_its_chapter() -> None:
    page = (DOCS / "tests.md").read_text(encoding="utf-8")
    folders = [path for path in (CHECKOUT / "tests").iterdir() if any(path.glob("**/test_*.py"))]
    assert len(folders) >= 8
    for folder in folders:
        assert f"\n## tests/{folder.name}\n" in page
        assert f"\n<!-- generated: tests/{folder.name} -->\n" in page
        assert f"| `{next(folder.glob('**/test_*.py')).relative_to(folder)}` | " in map_of_tests(folder)
