"""What a log line must be: our own schema, and for metrics what CloudWatch takes."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from jsonschema import Draft202012Validator

_NAME = {"type": "string", "minLength": 1, "maxLength": 255}

#: The constraints of CloudWatch's schema: User Guide, embedded metric format specification.
EMBEDDED: dict[str, Any] = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": _NAME,
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "array", "maxItems": 9, "items": _NAME},
                            },
                            "Metrics": {
                                "type": "array",
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "properties": {"Name": _NAME, "Unit": {"enum": ["Seconds", "Bytes", "Count"]}},
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}

_LINE = Draft202012Validator(
    json.loads((Path(__file__).resolve().parents[2] / "docs" / "schema" / "log.json").read_text())
)
_EMBEDDED = Draft202012Validator(EMBEDDED)


def read_lines(output: str) -> list[dict[str, Any]]:
    """The lines of a worker's log; fails where one is no JSON or not of its schema."""
    lines = [json.loads(line) for line in output.splitlines()]
    for line in lines:
        _LINE.validate(line)
    return lines


def check_metrics(line: dict[str, Any]) -> None:
    """Fails where CloudWatch would not take the line: schema, and targets that the schema can't tell."""
    _EMBEDDED.validate(line)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for metric in directive["Metrics"]:
            assert isinstance(line[metric["Name"]], int | float), metric
        for dimension in (name for names in directive["Dimensions"] for name in names):
            assert isinstance(line[dimension], str), dimension


@contextmanager
def restored_logging() -> Iterator[None]:
    """Afterwards logging is what it was, whatever was configured in the block."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("multiprocessing").handlers.clear()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
