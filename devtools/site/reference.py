"""The pages of the reference that the code itself is the source of, as Markdown."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from archiver.cli.schema import schemas
from archiver.errors import ArchiverError, PermanentError, TransientError
from archiver.settings import Settings
from devtools.localstack import CHECKOUT
from devtools.site.markdown import code, table
from devtools.site.schemas import kind, schema_page

TESTS = CHECKOUT / "tests"
EXAMPLES = CHECKOUT / "docs" / "examples"
_LANGUAGES = {".py": "python", ".json": "json", ".js": "javascript", ".mjs": "javascript", ".sh": "shell"}


def settings_page(model: type[Settings] = Settings) -> str:
    """A chapter for each variable: what it means, what it may be, and its default."""
    properties = model.model_json_schema()["properties"]
    # The health check's few are inherited, and would come first.
    names = [*model.__annotations__, *(name for name in properties if name not in model.__annotations__)]
    return "\n\n".join(_setting(model, name, properties[name]) for name in names if name in properties)


def _setting(model: type[Settings], name: str, schema: Mapping[str, Any]) -> str:
    field = model.model_fields[name]
    text = "" if field.is_required() else shown(field.default)
    default = "required" if field.is_required() else "unset by default" if text == "none" else f"default {code(text)}"
    return f"## {code(name.upper())}\n\n{field.description}\n\n*{default}* · {_value(schema)}"


def _value(schema: Mapping[str, Any]) -> str:
    value = kind(schema)
    if value == "boolean":
        return f"{code('0')} or {code('1')}"
    if value.startswith("array of string"):
        return "text, separated by commas"
    return value.replace("string", "text", 1)


def shown(default: Any) -> str:
    """A default as somebody would write it into the environment."""
    if default is None or default == ():
        return "none"
    return str(int(default)) if isinstance(default, bool) else str(default)


def errors_page() -> str:
    """The codes, by what becomes of the message."""
    return "\n\n".join(
        (
            "## Permanent errors",
            "The same message can never succeed: it goes to the dead-letter queue at once, with its reason.",
            _codes(PermanentError),
            "## Transient errors",
            "The same message may succeed later: it comes back after a pause, and goes to the dead-letter queue with "
            "the reason of its last attempt.",
            _codes(TransientError),
        )
    )


def _codes(base: type[ArchiverError]) -> str:
    rows = (
        (code(error.code), (error.__doc__ or "").strip().splitlines()[0], code(error.__name__))
        for error in _family(base)
    )
    return table(("code", "meaning", "in Python"), rows)


def _family(base: type[ArchiverError]) -> Iterator[type[ArchiverError]]:
    yield base
    for error in base.__subclasses__():
        # Whatever else a process has derived from them is no code of the program.
        if error.__module__ == base.__module__:
            yield from _family(error)


def log_schema() -> dict[str, Any]:
    """The schema of the log's lines, which the tests hold the worker to."""
    schema: dict[str, Any] = json.loads((CHECKOUT / "docs" / "schema" / "log.json").read_text(encoding="utf-8"))
    return schema


def map_of_tests(folder: Path) -> str:
    """A row for each file of tests below a folder: its first line says what it proves."""
    rows = [(code(path.relative_to(folder)), _proof(path)) for path in sorted(folder.rglob("test_*.py"))]
    return table(("file", "what it proves"), rows)


def _proof(path: Path) -> str:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    if not first.startswith('"""'):
        raise ValueError(f"{path}: no docstring to say what its tests prove")
    return first.strip('"')


def examples_page(*, consumers: bool) -> str:
    """A chapter with each file of docs/examples that sends jobs, or that consumes notifications, as it is."""
    files = sorted(path for path in EXAMPLES.iterdir() if path.is_file())
    wanted = [_example(path) for path in files if path.name.startswith("consume") == consumers]
    return "\n\n".join(("## Examples", "They are in `docs/examples`, complete.", *wanted)) if wanted else ""


def _example(path: Path) -> str:
    language = _LANGUAGES.get(path.suffix, "text")
    return f"### {path.name}\n\n````{language}\n{path.read_text(encoding='utf-8')}````"


#: What may stand in a page as ``<!-- generated: NAME -->``.
PIECES: Mapping[str, Callable[[], str]] = {
    "settings": settings_page,
    "errors": errors_page,
    "payload": lambda: schema_page(schemas()["payload"]),
    "notification": lambda: schema_page(schemas()["notification"]),
    "status": lambda: schema_page(schemas()["status"]),
    "log": lambda: schema_page(log_schema()),
    "examples": partial(examples_page, consumers=False),
    "consumers": partial(examples_page, consumers=True),
    **{
        f"tests/{folder.name}": partial(map_of_tests, folder)
        for folder in sorted(TESTS.iterdir())
        if any(folder.rglob("test_*.py"))
    },
}
