"""A JSON Schema as Markdown: a table for each object, what a value may be in words.

Reads the schemas that pydantic writes and the hand-written ones in docs/schema alike. A keyword that it has no words
for is shown as it stands, so that nothing of a schema is left out.
"""

import json
from collections.abc import Mapping
from typing import Any

from devtools.site.markdown import code, table

Schema = Mapping[str, Any]

#: Said elsewhere on the page, or of no use to a reader.
_SILENT = {"$schema", "$defs", "title", "description", "default", "properties", "required", "additionalProperties"}
_NULL = {"type": "null"}


def schema_page(schema: Schema, *, level: int = 2) -> str:
    """The chapters of a schema, the document itself first, with headings of ``level``."""
    named = dict(schema.get("$defs", {}))
    chapters = []
    if "properties" in schema:
        chapters.append(_chapter(schema["title"], schema, level))
    else:
        choices = _choices(schema)
        chapters.append(f"It is one of these: {', '.join(_type(choice) for choice in choices)}.")
        for name in [_name(choice) for choice in choices]:
            chapters.append(_chapter(name, named.pop(name), level))
    chapters += [_chapter(name, part, level) for name, part in named.items() if "properties" in part]
    return "\n\n".join(chapters)


def kind(schema: Schema) -> str:
    """What a value may be: ``integer, at least 1``. ``null`` goes without saying where something else may stand."""
    choices = _choices(schema)
    if choices:
        shown = [_type(choice) for choice in choices if choice != _NULL] or ["null"]
        return " or ".join(dict.fromkeys(shown))
    return _type(schema)


def description(schema: Schema) -> str:
    """What is said of a value, be it of the one thing beside ``null`` that it may be."""
    said = schema.get("description") or next(
        (choice["description"] for choice in _choices(schema) if "description" in choice), ""
    )
    return str(said)


def _chapter(name: str, schema: Schema, level: int) -> str:
    required = schema.get("required", ())
    rows = [
        (code(member), f"*required* · {kind(part)}" if member in required else kind(part), description(part))
        for member, part in schema["properties"].items()
    ]
    paragraphs = [
        f"{'#' * level} {name}",
        schema.get("description", ""),
        table(("member", "value", "meaning"), rows),
        *(_rule(rule) for rule in schema.get("allOf", ())),
    ]
    # An open object is the rule here; a closed one is worth a word.
    if schema.get("additionalProperties") is False:
        paragraphs.append("No other members.")
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _rule(rule: Schema) -> str:
    """``if`` one member has one value, ``then`` others are there; any other rule as it stands."""
    condition, then = rule.get("if", {}).get("properties", {}), rule.get("then", {})
    tests = [(member, part["const"]) for member, part in condition.items() if list(part) == ["const"]]
    if not tests or len(tests) != len(condition) or list(then) != ["required"]:
        return code(json.dumps(rule, ensure_ascii=False))
    where = " and ".join(f"{code(member)} is {code(value)}" for member, value in tests)
    return f"Where {where}, these are there: {', '.join(map(code, then['required']))}."


def _choices(schema: Schema) -> list[Schema]:
    return list(schema.get("anyOf") or schema.get("oneOf") or ())


def _type(schema: Schema) -> str:
    rest = {name: value for name, value in schema.items() if name not in _SILENT}
    if "$ref" in rest:
        return "any JSON value" if _name(rest) == "JsonValue" else f"[{_name(rest)}](#{_name(rest).lower()})"
    if "enum" in rest:
        return " or ".join(code(value) for value in rest["enum"])
    if "const" in rest:
        return code(rest["const"])
    words = [_noun(schema, rest)]
    rest.pop("type", None)
    rest.pop("items", None)
    words += _bounds(rest)
    words += [f"{name} {code(value if isinstance(value, str) else json.dumps(value))}" for name, value in rest.items()]
    return ", ".join(words)


def _noun(schema: Schema, rest: Schema) -> str:
    noun = str(rest.get("type", "any JSON value"))
    if noun == "array" and isinstance(rest.get("items"), Mapping):
        return f"array of {kind(rest['items'])}"
    values = schema.get("additionalProperties")
    if noun == "object" and isinstance(values, Mapping) and "type" in values:
        return f"object of {kind(values)} members"
    return noun


def _bounds(rest: dict[str, Any]) -> list[str]:
    """Takes what it has words for out of ``rest``."""
    words = []
    for least, most, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ):
        low, high = rest.pop(least, None), rest.pop(most, None)
        if low is not None and high is not None:
            words.append(f"{low:,} to {high:,}{unit}")
        elif low is not None:
            words.append("not empty" if unit and low == 1 else f"at least {low:,}{unit}")
        elif high is not None:
            words.append(f"at most {high:,}{unit}")
    if (above := rest.pop("exclusiveMinimum", None)) is not None:
        words.append(f"more than {above:,}")
    return words


def _name(schema: Schema) -> str:
    """The name of what is referred to."""
    return str(schema["$ref"]).rpartition("/")[2]
