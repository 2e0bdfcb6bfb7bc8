"""The JSON Schemas in docs/ are the code's, and what is really sent fits them."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from archiver.archive.notification import NOTIFICATION, Failed, Succeeded
from archiver.archive.pipeline import build_archive, notify_failure
from archiver.cli.schema import schemas
from archiver.errors import MissingSources
from devtools.localstack import CHECKOUT
from tests.support.command import run
from tests.support.fake_s3 import FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, FakeNotifier, delivery, files, services

SCHEMAS = CHECKOUT / "docs" / "schema"


@pytest.mark.parametrize("name", ["payload", "notification"])
def test_the_schema_in_docs_is_the_one_that_is_printed(name: str) -> None:
    outcome = run("schema", name, environment={})

    assert outcome.exit_code == 0
    assert (SCHEMAS / f"{name}.json").read_text(encoding="utf-8") == outcome.stdout, (
        f"write it anew: archiver schema {name} > docs/schema/{name}.json"
    )


def test_without_a_name_both_are_printed() -> None:
    assert run("schema", environment={}).json == schemas()
    assert run("schema", "--json", environment={}).json == schemas()


def test_an_unknown_schema_is_refused() -> None:
    outcome = run("schema", "receipt", environment={})

    assert outcome.exit_code == 2
    assert "'receipt'" in outcome.complaint


def sent(payload: dict[str, Any], *, versioned: bool = False, fail: bool = False) -> dict[str, Any]:
    """The one notification of a job on the in-memory S3."""
    s3, notifier = FakeS3(), FakeNotifier()
    s3.put_object(SOURCES, "a.jpg", b"content")
    s3.create_bucket(ARCHIVES, versioned=versioned)
    work = services(s3, notifier=notifier, notify_failures=True)
    if fail:
        notify_failure(payload, MissingSources(["gone.jpg"]), delivery=delivery(), services=work)
    else:
        build_archive(payload, delivery=delivery(), services=work)
    return json.loads(json.dumps(notifier.sent[0]))  # type: ignore[no-any-return]


@pytest.mark.parametrize("versioned", [False, True])
def test_a_success_fits_the_schema_and_has_nothing_else(versioned: bool) -> None:
    body = sent(files("a.jpg", "gone.jpg") | {"metadata": {"a": [1]}, "on_missing": "skip"}, versioned=versioned)

    notification = NOTIFICATION.validate_python(body, strict=True)

    assert isinstance(notification, Succeeded)
    assert notification.model_dump(mode="json", exclude_unset=True) == body
    assert not notification.model_extra
    assert not notification.archive.model_extra
    assert (notification.archive.version_id is not None) == versioned


def test_a_failure_fits_the_schema_and_has_nothing_else() -> None:
    body = sent(files("gone.jpg"), fail=True)

    notification = NOTIFICATION.validate_python(body, strict=True)

    assert isinstance(notification, Failed)
    assert notification.model_dump(mode="json", exclude_unset=True) == body
    assert not notification.model_extra


@pytest.mark.parametrize("field", ["metadata", "substitutions", "archive", "missing", "request_id", "status"])
def test_no_field_of_a_success_is_optional(field: str) -> None:
    body = sent(files("a.jpg"))
    del body[field]

    with pytest.raises(ValidationError):
        NOTIFICATION.validate_python(body)
