"""What a command is given as a payload."""

import json
from pathlib import Path
from typing import Any

import pytest

from archiver.archive.request import parse_request
from archiver.cli.failures import BadInput
from archiver.cli.payloads import read_payload
from tests.support.command import BUCKETS, CREDENTIALS, NOWHERE, QUEUES, run

ENVIRONMENT = CREDENTIALS | QUEUES | BUCKETS | {"AWS_ENDPOINT_URL": NOWHERE}
#: Standard input, and what the complaint about it says.
BAD = {
    "": "not JSON: Expecting value at line 1, column 1",
    '{"files": [}': "not JSON: Expecting value at line 1, column 12",
    "[]": "JSON, but no object: list",
    '{"files": NaN}': "holds NaN, which is not JSON",
    "[" * 100_000: "is nested deeper than 64 levels",
    '{"a": ' + "1" * 5000 + "}": "a number too large for a double: a",
}


def read(file: str | None = None, *, sources: tuple[str, ...] = (), prefixes: tuple[str, ...] = (), **more: Any) -> Any:
    return read_payload(file, sources=sources, prefixes=prefixes, **more)


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "payload.json"
    path.write_text('\ufeff{"files": [{"source": "ä.jpg"}], "metadata": {"order": 7}}', encoding="utf-8")

    assert read(str(path)) == {"files": [{"source": "ä.jpg"}], "metadata": {"order": 7}}


def test_sources_and_prefixes_make_a_payload() -> None:
    payload = read(sources=("a.jpg", "s3://b/c"), prefixes=("photos/2026", "all/"), on_missing="skip", filename=None)

    assert payload == {
        "files": [{"source": "a.jpg"}, {"source": "s3://b/c"}, {"source": "photos/2026/"}, {"source": "all/"}],
        "on_missing": "skip",
    }


def test_every_wish_has_an_option() -> None:
    payload = read(
        prefixes=("photos",),
        includes=("*.jpg",),
        excludes=("tmp/**", "x"),
        manifests=("list.csv",),
        key="a.zip",
        bucket="exports",
        tags=("team=a=b", "empty="),
        storage_class="STANDARD_IA",
        overwrite=True,
        split_bytes=None,
        link_expires_seconds=60,
    )

    assert payload == {
        "files": [{"source": "photos/", "include": ["*.jpg"], "exclude": ["tmp/**", "x"]}],
        "manifest": "list.csv",
        "archive": {
            "key": "a.zip",
            "bucket": "exports",
            "tags": {"team": "a=b", "empty": ""},
            "storage_class": "STANDARD_IA",
            "overwrite": True,
        },
        "link_expires_seconds": 60,
    }
    parse_request(payload, max_files=1, default_bucket="b")


def test_options_are_added_to_the_files_wishes(tmp_path: Path) -> None:
    path = tmp_path / "payload.json"
    path.write_text('{"manifest": "m", "archive": {"prefix": "a/", "bucket": "b"}}')

    assert read(str(path), key_prefix="c/", tags=())["archive"] == {"prefix": "c/", "bucket": "b"}


def test_what_is_no_object_stays_for_the_validation_to_name(tmp_path: Path) -> None:
    path = tmp_path / "payload.json"
    path.write_text('{"manifest": "m", "archive": ["a"], "split": {"max_files": 7}}')

    payload = read(str(path), key="a.zip", split_bytes=100_000)

    assert (payload["archive"], payload["split"]) == (["a"], {"max_files": 7, "max_bytes": 100_000})


def test_an_empty_prefix_is_no_slash() -> None:
    assert read(prefixes=("",))["files"] == [{"source": ""}]


def test_bounds_of_several_archives() -> None:
    assert read(sources=("a",), split_bytes=100_000, split_files=7)["split"] == {"max_bytes": 100_000, "max_files": 7}


def test_several_manifests_alone() -> None:
    assert read(manifests=("a", "b")) == {"manifest": ["a", "b"]}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"sources": ("a",), "includes": ("*",)}, "--include and --exclude select"),
        ({"sources": ("a",), "tags": ("team",)}, "--tag='team': not NAME=VALUE"),
    ],
)
def test_options_that_say_nothing_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        read(**options)


def test_options_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "payload.json"
    path.write_text('{"files": [{"source": "a"}], "compression": "stored"}')

    assert read(str(path), compression="auto")["compression"] == "auto"


def test_a_file_and_sources_at_once_are_refused() -> None:
    with pytest.raises(BadInput, match="either FILE"):
        read("-", sources=("a.jpg",))
    with pytest.raises(BadInput, match="either FILE"):
        read()


@pytest.mark.parametrize("command", ["submit", "plan", "build"])
@pytest.mark.parametrize(("text", "complaint"), BAD.items(), ids=range(len(BAD)))
def test_what_is_no_payload_is_refused_before_anything_is_tried(command: str, text: str, complaint: str) -> None:
    outcome = run(command, "-", environment=ENVIRONMENT, stdin=text)

    assert outcome.exit_code == 2
    assert outcome.complaint.startswith("error: FILE='-': ")
    assert complaint in outcome.complaint


@pytest.mark.parametrize("command", ["submit", "plan", "build"])
def test_an_invalid_payload_names_field_and_value(command: str) -> None:
    payload = json.dumps({"files": [{"source": "a"}, {"source": 7}]})

    outcome = run(command, "-", "--json", environment=ENVIRONMENT, stdin=payload)

    assert outcome.exit_code == 2
    assert outcome.error["code"] == "invalid_payload"
    assert "files[1].source" in outcome.error["message"]
    assert "7" in outcome.error["message"]


def test_bytes_that_are_no_text_are_refused() -> None:
    outcome = run("plan", "-", environment=ENVIRONMENT, stdin=b'{"files": "\xff"}')

    assert outcome.complaint == "error: FILE='-': not UTF-8 at byte 11 (usage)"


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    outcome = run("build", str(tmp_path / "no.json"), environment=ENVIRONMENT)

    assert outcome.exit_code == 2
    assert "no.json" in outcome.complaint
    assert "No such file" in outcome.complaint


def test_a_destination_and_metadata_come_from_options_too(tmp_path: Path) -> None:
    made = read(
        sources=("a.jpg",), prefixes=("p",), manifests=("m.csv",), destination="june/", notes=("order=7", "a=b=c")
    )
    assert made == {
        "files": [{"source": "a.jpg", "destination": "june/"}, {"source": "p/", "destination": "june/"}],
        "manifest": "m.csv",
        "metadata": {"order": "7", "a": "b=c"},
    }
    path = tmp_path / "payload.json"
    path.write_text('{"files": [{"source": "a"}], "metadata": {"order": 7, "kept": true}}')
    assert read(str(path), notes=("order=8",))["metadata"] == {"order": "8", "kept": True}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"manifests": ("m.csv",), "destination": "june"}, "--destination says where a --source or --prefix goes"),
        ({"sources": ("a",), "notes": ("order",)}, "--metadata='order': not NAME=VALUE"),
    ],
)
def test_options_that_make_no_sense_are_named(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(**given)

    assert caught.value.message == complaint
