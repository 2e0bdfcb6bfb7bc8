"""JSON as it comes in and goes out: what is taken, and that its text stays the text that came."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.document import (
    MAX_DEPTH,
    MAX_NUMBER,
    Document,
    DocumentError,
    as_document,
    items,
    members,
    read,
    sendable,
    write,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def nested(levels: int) -> str:
    """An object of so many levels."""
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not JSON: Expecting value at line 1, column 1"),
        ('{"a": 1,\n "b" 2}', "is not JSON: Expecting ':' delimiter at line 2, column 6"),
        ("[1]", "is JSON, but no object: list"),
        ('{"a": NaN}', "holds NaN, which is not JSON"),
        ('{"a": -Infinity}', "holds -Infinity, which is not JSON"),
        ('{"a": 1e400}', "holds a number too large for a double: a"),
        ('{"a": {"b": [0, -1' + "0" * 309 + "]}}", "holds a number too large for a double: a.b[1]"),
        ('{"a": ' + str(MAX_NUMBER + 1) + "}", "holds a number too large for a double: a"),
        ('{"a": ' + "1" * 5000 + "}", "holds a number too large for a double: a"),
        (r'{"a": "\ud800"}', "holds a lone surrogate, which is no Unicode text"),
        (r'{"\udfff": 1}', "holds a lone surrogate, which is no Unicode text"),
        (nested(MAX_DEPTH + 1), "is nested deeper than 64 levels"),
        ('{"a":' * 100_000, "is nested deeper than 64 levels"),
    ],
)
def test_what_is_no_document_says_why(text: str, complaint: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(text)

    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    "text",
    [
        nested(MAX_DEPTH),
        f'{{"a": [{MAX_NUMBER}, -{MAX_NUMBER}]}}',
        r'{"a": "\ud83c\udf88"}',
        r'{"a": "\\ud800"}',
        '{"a": "\\uffff"}',
        ' {"a":\n1} ',
    ],
)
def test_what_is_one_keeps_its_text(text: str) -> None:
    assert read(text) == Document(json.loads(text), text)


def looped() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["again"] = [value]
    return value


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"a": float("nan")}, "is no JSON"),
        ({"a": {1, 2}}, "is no JSON: Object of type set is not JSON serializable"),
        ({"a": {1: 2}}, "holds the name 1: keys should be strings"),
        ({"a": ("\ud800",)}, "holds a lone surrogate"),
        (json.loads(nested(MAX_DEPTH + 1)), "is nested deeper than 64 levels"),
        (looped(), "is no JSON: Circular reference detected"),
        ({"a": [{"b": 10**309}]}, r"holds a number too large for a double: a\[0\]\.b"),
        ({"a": [{"b": 10**5000}]}, r"holds a number too large for a double: a\[0\]\.b"),
    ],
)
def test_what_the_worker_would_refuse_is_not_written(value: object, complaint: str) -> None:
    with pytest.raises(DocumentError, match=complaint):
        write(value)


@given(st.dictionaries(st.text(), values))
def test_what_is_written_can_be_read(value: dict[str, Any]) -> None:
    document = as_document(value)

    assert read(document.text).value == value == document.value
    assert as_document(document) is document


@given(st.dictionaries(st.text(), values), st.sampled_from([None, 1, "\t"]))
def test_each_member_has_the_text_that_came(value: dict[str, Any], indent: Any) -> None:
    text = json.dumps(value, indent=indent)

    assert {name: json.loads(member) for name, member in members(text).items()} == value
    assert all(member in text for member in members(text).values())


@given(st.lists(values), st.sampled_from([None, 1]))
def test_each_item_has_the_text_that_came(value: list[Any], indent: Any) -> None:
    assert [json.loads(item) for item in items(json.dumps(value, indent=indent))] == value


def test_numbers_are_neither_rounded_nor_grown() -> None:
    text = ' { "a" : 1e15 , "b":[0.1000000000000000055, 12345678901234567890.0 ], "a": {"x":1E+2} } '

    assert members(text) == {"a": '{"x":1E+2}', "b": "[0.1000000000000000055, 12345678901234567890.0 ]"}
    assert items(members(text)["b"]) == ["0.1000000000000000055", "12345678901234567890.0"]


def test_what_sqs_refuses_is_escaped() -> None:
    value = {"noncharacter": "\uffff\ufffe", "emoji": "😀", "nul": "\0"}

    text = write(value)

    assert json.loads(text) == value
    assert not set(text) & set("\uffff\ufffe\0")
    assert "😀" in text
    assert sendable('"\ud800\uffff"') == r'"\ud800\uffff"'
