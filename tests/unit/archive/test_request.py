"""Payloads: what is taken, and what a refusal says."""

import json
import re
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.key import archive_key, canonical_json
from archiver.archive.location import Location, parse_location
from archiver.archive.request import MAX_METADATA_BYTES, Payload, parse_request
from archiver.errors import InvalidPayload, LimitExceeded

GOOD: dict[str, Any] = {"files": [{"source": "a"}]}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_least_payload() -> None:
    request = parse_request(GOOD, max_files=1, default_bucket="source-images")

    assert [file.source for file in request.files] == ["a"]
    assert (request.metadata, request.compression, request.on_missing, request.filename) == (
        None,
        "stored",
        "fail",
        None,
    )
    assert request.unknown_keys == ()


def test_the_whole_payload() -> None:
    payload = {
        "files": [{"source": "s3://bucket/k", "destination": "d/"}],
        "metadata": {"a": [1.5, None, {"b": "ü"}]},
        "compression": "auto",
        "on_missing": "skip",
        "filename": "Überblick.zip",
        "zzz": 1,
        "aaa": 2,
    }

    request = parse_request(payload, max_files=1, default_bucket="source-images")

    assert request.files[0].destination == "d/"
    assert request.metadata == '{"a":[1.5,null,{"b":"ü"}]}'
    assert (request.compression, request.on_missing, request.filename) == ("auto", "skip", "Überblick.zip")
    assert request.unknown_keys == ("aaa", "zzz")


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (None, "the payload must be a JSON object, not None"),
        ([], "the payload must be a JSON object, not []"),
        ({}, "files: required, unless there is a manifest"),
        ({"files": []}, "files: must not be empty, got []"),
        ({"files": {"source": "a"}}, "files: must be a list, got {'source': 'a'}"),
        ({"files": ["a"]}, "files[0]: must be an object, got 'a'"),
        ({"files": [{"source": "a"}, {}]}, "files[1].source: required"),
        ({"files": [{"source": ""}]}, "files[0].source: must not be empty, got ''"),
        ({"files": [{"source": 1}]}, "files[0].source: must be text, got 1"),
        ({"manifest": 7}, "manifest: must be a key, s3://bucket/key, or a list of them, got 7"),
        ({"manifest": ["a", 7]}, "manifest[1]: must be text, got 7"),
        ({"manifest": "lists/"}, "manifest: is a prefix, and a manifest is one object, got 'lists/'"),
        ({"manifest": ["lists/"]}, "manifest[0]: is a prefix"),
        ({"manifest": ["a"] * 101}, "manifest: has more than 100 elements, got"),
        (GOOD | {"archive": 7}, "archive: must be an object, got 7"),
        (GOOD | {"archive": {"overwrite": 1}}, "archive.overwrite: must be true or false, got 1"),
        (GOOD | {"split": {"max_files": 0}}, "split.max_files: must be at least 1, got 0"),
        (GOOD | {"link_expires_seconds": 10**6}, "link_expires_seconds: must be at most 604800, got 1000000"),
        (GOOD | {"metadata": {"order": 10**400}}, "the payload holds a number too large for a double: metadata.order"),
        ({"files": [{"source": "a\0"}]}, "files[0].source: holds a NUL character"),
        ({"files": [{"source": "\ud800"}]}, "the payload holds a lone surrogate, which is no Unicode text"),
        ({"files": [{"source": "ü" * 513}]}, "files[0].source: the key is longer than S3's 1024 bytes"),
        ({"files": [{"source": "s3://b"}]}, "files[0].source: names no valid bucket ('b')"),
        (
            {"files": [{"source": f"s3://bucket/a?versionId={'v' * 20_000}"}]},
            "files[0].source: names no valid version: an id has up to 1024 characters that a URL takes, got 's3://",
        ),
        ({"files": [{"source": "s3://bucket/a?versionId=a b"}]}, "files[0].source: names no valid version"),
        ({"files": [{"source": "s3://bucket"}]}, "files[0].source: names no key"),
        ({"files": [{"source": "s3://../etc"}]}, "files[0].source: names no valid bucket ('..')"),
        ({"files": [{"source": "s3://bucket/p/?versionId=1"}]}, "files[0].source: pins the version of a prefix"),
        ({"files": [{"source": "a", "destination": 3}]}, "files[0].destination: must be text, got 3"),
        (GOOD | {"metadata": []}, "metadata: must be an object, got []"),
        (GOOD | {"compression": "zstd"}, "compression: must be 'stored' or 'auto', got 'zstd'"),
        (GOOD | {"on_missing": True}, "on_missing: must be 'fail', 'skip' or 'list', got True"),
        (GOOD | {"filename": ""}, "filename: must not be empty"),
        (GOOD | {"filename": "a/b"}, "filename: a file name has no slash"),
        (GOOD | {"filename": "a\r\nX-Evil: 1"}, "filename: a file name has no slash"),
        (GOOD | {"filename": "ü" * 128}, "filename: the name is longer than 255 bytes"),
        ({"files": [{}, {}]}, "files[0].source: required (and 1 more)"),
    ],
)
def test_a_refusal_names_field_and_value(payload: object, complaint: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse_request(payload, max_files=10, default_bucket="source-images")

    assert caught.value.message.startswith(complaint)


def test_a_refusal_is_short_however_long_the_value() -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse_request(GOOD | {"compression": "x" * 100_000}, max_files=10, default_bucket="source-images")

    assert len(caught.value.message) < 300


def test_too_many_files_are_refused_before_any_is_looked_at() -> None:
    assert parse_request({"files": [{"source": "a"}] * 3}, max_files=3, default_bucket="source-images").files
    with pytest.raises(LimitExceeded, match="files: 4 elements, more than MAX_FILES=3"):
        parse_request({"files": [None] * 4}, max_files=3, default_bucket="source-images")


def complaint_about(payload: object) -> str | None:
    """None where the payload is taken. Any other exception is a test's failure."""
    try:
        parse_request(payload, max_files=10, default_bucket="source-images")
    except (InvalidPayload, LimitExceeded) as error:
        return error.message
    return None


@given(json_values)
def test_any_json_is_taken_or_refused(payload: object) -> None:
    assert complaint_about(payload), "none of these is a payload: the strategy knows no field's name"


@given(st.dictionaries(st.sampled_from(["files", "metadata", "compression", "on_missing", "filename"]), json_values))
def test_anything_in_the_fields_is_taken_or_refused_by_name(fields: dict[str, object]) -> None:
    complaint = complaint_about(GOOD | fields)

    assert complaint is None or re.match(r"files|metadata|compression|on_missing|filename", complaint)


@pytest.mark.parametrize(
    ("source", "location"),
    [
        ("a/b.txt", Location("default", "a/b.txt")),
        ("a?versionId=1", Location("default", "a?versionId=1")),
        ("/a", Location("default", "/a")),
        ("s3://my-bucket/a/b.txt", Location("my-bucket", "a/b.txt")),
        ("S3://my-bucket//a", Location("my-bucket", "/a")),
        ("s3://my-bucket/a?versionId=3/L4+x", Location("my-bucket", "a", "3/L4+x")),
        ("s3://my-bucket/a?b?versionId=1", Location("my-bucket", "a?b", "1")),
        ("s3://my-bucket/a?versionId=", Location("my-bucket", "a?versionId=")),
        ("s3://my-bucket/", Location("my-bucket", "")),
        ("p/", Location("default", "p/")),
    ],
)
def test_where_a_source_lies(source: str, location: Location) -> None:
    assert parse_location(source, default_bucket="default") == location
    assert location.is_prefix == (source in {"p/", "s3://my-bucket/"})


def test_a_source_without_a_bucket_needs_a_default() -> None:
    with pytest.raises(ValueError, match="S3_SOURCE_BUCKET is not set"):
        parse_location("a", default_bucket=None)


def test_a_location_reads_as_its_source() -> None:
    assert str(Location("bucket", "a", "v")) == "s3://bucket/a?versionId=v"


def test_the_key_is_the_same_for_equal_payloads_and_dated_in_utc() -> None:
    def key(payload: object, request_id: str = "r", sent_at: float = 1_700_006_399.9) -> str:
        return archive_key(canonical_json(payload), request_id=request_id, sent_at=sent_at, prefix="download")

    # 2023-11-14T23:59:59.9Z
    assert re.fullmatch(r"[0-9a-f]{64}/download-2023-11-14\.zip", key({"a": 1, "b": 2}))
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
    assert len({key({}), key({"a": 1}), key({}, request_id="s"), key({}, sent_at=1_700_006_400)}) == 4


@given(json_values)
def test_canonical_json_is_ascii_and_the_same_for_a_copy(value: Any) -> None:
    text = canonical_json(value)

    assert text.isascii()
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == text


def test_json_text_is_a_payload_and_metadata_stays_the_text_that_came() -> None:
    payload = (
        '{"files": [{"source": "a"}], "metadata": {"total": 1e15, "price": 0.1000000000000000055, "n": "\\uffff"}}'
    )

    request = parse_request(payload, max_files=1, default_bucket="source-images")

    assert request.metadata == '{"total": 1e15, "price": 0.1000000000000000055, "n": "\\uffff"}'
    with pytest.raises(InvalidPayload, match="the payload holds NaN"):
        parse_request('{"files": NaN}', max_files=1, default_bucket="source-images")


def test_metadata_whose_notification_could_not_be_sent_is_refused() -> None:
    def payload(size: int) -> str:
        return json.dumps(GOOD | {"metadata": {"text": "x" * (size - len('{"text": ""}'))}})

    assert parse_request(payload(MAX_METADATA_BYTES), max_files=1, default_bucket="source-images").metadata
    with pytest.raises(LimitExceeded, match=f"metadata: {MAX_METADATA_BYTES + 1} bytes of JSON, more than the"):
        parse_request(payload(MAX_METADATA_BYTES + 1), max_files=1, default_bucket="source-images")


@pytest.mark.parametrize("element", ["1", "{}", '{"source": 1}'])
def test_a_body_of_nothing_but_faults_takes_no_more_memory_than_another(element: str) -> None:
    count = 20_000
    payload = json.loads(f'{{"files": [{",".join([element] * count)}]}}')
    tracemalloc.start()
    try:
        with pytest.raises(InvalidPayload, match=r"^files\[0\].*at least 9 more\)$"):
            parse_request(payload, max_files=count, default_bucket="source-images")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    # Python 3.11 takes 2.8 MB for its text; an error for each of its elements would take 29.
    assert peak < 4 * 1024 * 1024


def test_of_many_unknown_keys_the_first_few_are_noted() -> None:
    payload = GOOD | {f"{number:03}{'x' * 1000}": 1 for number in range(100)}

    unknown = parse_request(payload, max_files=1, default_bucket="source-images").unknown_keys

    assert unknown[0].startswith("000xxx")
    assert unknown[-1] == "and 90 more"
    assert sum(map(len, unknown)) < 1000


def test_null_means_absent_for_every_optional_key() -> None:
    optional = [name for name in Payload.model_fields if name != "files"]
    plain = parse_request({"files": [{"source": "a"}]}, max_files=1, default_bucket="b")

    nulls = parse_request(
        {"files": [{"source": "a", "destination": None}], **dict.fromkeys(optional)}, max_files=1, default_bucket="b"
    )

    assert nulls == plain
