"""Keys that a payload does not have, and what was probably meant by them."""

import pytest

from archiver.archive.request import parse_request
from archiver.archive.unknown import meant, told
from archiver.errors import InvalidPayload


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("onMissing", "on_missing"),
        ("On-Missing", "on_missing"),
        ("meta", "metadata"),
        ("fileName", "filename"),
        ("link_expires", "link_expires_seconds"),
        ("compress", "compression"),
        ("manifests", "manifest"),
        ("files[].dest", "files[].destination"),
        ("files[].src", "files[].source"),
        ("files[].excludes", "files[].exclude"),
        ("archive.storageClass", "archive.storage_class"),
        ("split.maxBytes", "split.max_bytes"),
        # in the wrong object
        ("destination", "files[].destination"),
        ("overwrite", "archive.overwrite"),
        ("max_files", "split.max_files"),
        ("archive.filename", "filename"),
        ("zzz", None),
        ("x", None),
        ("files[].size", None),
        ("", None),
        (".", None),
    ],
)
def test_what_was_probably_meant(key: str, found: str | None) -> None:
    assert meant(key) == found


def test_of_many_the_first_few_are_told() -> None:
    payload = {"files": [{"source": "a"}]} | {f"{number:03}": 1 for number in range(20)}

    lines = told(parse_request(payload, max_files=1, default_bucket="b").unknown_keys)

    assert lines[0] == "unknown key '000' is ignored"
    assert lines[-1] == "and 10 more unknown keys are ignored"


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        ({"file": [{"source": "a"}]}, "files: required, unless there is a manifest; there is 'file'"),
        ({"files": [{"src": "a"}]}, "files[0].source: required, got {'src': 'a'}"),
    ],
)
def test_what_is_required_under_another_name(payload: object, complaint: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse_request(payload, max_files=1, default_bucket="b")

    assert caught.value.message == complaint


@pytest.mark.parametrize(
    ("filename", "saved"),
    [
        ("june", "june.zip"),
        ("2024.06", "2024.06.zip"),
        ("june.ZIP", "june.ZIP"),
        ("comic.cbz", "comic.cbz"),
        ("a.tar", "a.tar.zip"),
    ],
)
def test_a_file_name_says_that_it_is_a_zip_archive(filename: str, saved: str) -> None:
    payload = {"files": [{"source": "a"}], "filename": filename}

    assert parse_request(payload, max_files=1, default_bucket="b").filename == saved
