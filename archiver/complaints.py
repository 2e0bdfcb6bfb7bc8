"""What a validator found wrong, in the words of who wrote the value: for payloads and settings alike.

pydantic speaks of Python ("input should be a valid dictionary or instance of FileSpec"); a producer wrote JSON, and an
operator a variable of the environment.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from archiver.errors import shown

# By pydantic's types of errors, with their context: https://docs.pydantic.dev/latest/errors/validation_errors/
_WORDS = {
    "missing": "required",
    "string_type": "must be text",
    "string_unicode": "must be Unicode text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be 0 or 1",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "union_tag_not_found": "has no {discriminator}",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
}
_OF_LISTS = {"too_short": "needs {min_length} or more elements", "too_long": "has more than {max_length} elements"}


def complaint(error: ValidationError) -> tuple[str, str]:
    """The path to the first bad value, and what is wrong with it."""
    item = error.errors(include_url=False)[0]
    value = "" if item["type"] == "missing" else f", got {shown(item['input'])}"
    return path(item["loc"]), f"{reason(item)}{value}"


def reason(item: Mapping[str, Any]) -> str:
    """What is wrong with one value, as a predicate: ``item`` is one of ``ValidationError.errors()``."""
    kind, context = item["type"], item.get("ctx") or {}
    if kind == "value_error":  # one of our own validators
        return str(context["error"])
    if kind == "too_short" and context["min_length"] == 1:
        return "must not be empty"
    words = _WORDS.get(kind) or _OF_LISTS.get(kind)
    if words is None:
        message = str(item["msg"]).replace("Input should", "must", 1)
        return f"{message[:1].lower()}{message[1:]}"
    return words.format(**context)


def path(steps: Iterable[str | int]) -> str:
    """Where a value lies in a document: ``files[0].source``."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
