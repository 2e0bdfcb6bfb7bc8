"""The JSON Schemas in docs/ are the code's, and what is really sent fits them."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from archiver.archive.notification import (
    ATTRIBUTES_ROOM,
    MAX_BYTES,
    MAX_MISSING,
    NOTIFICATION,
    Archive,
    Failed,
    Message,
    Substitutions,
    Succeeded,
    as_message,
)
from archiver.archive.notification import Error as Reason
from archiver.archive.pipeline import build_archive, notify_failure
from archiver.archive.request import MAX_METADATA_BYTES
from archiver.cli.schema import schemas
from archiver.errors import MissingSources
from devtools.localstack import CHECKOUT
from tests.support.command import run
from tests.support.fake_s3 import FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, FakeNotifier, delivery, files, services

SCHEMAS = CHECKOUT / "docs" / "schema"


@pytest.mark.parametrize("name", ["payload", "notification", "status"])
def test_the_schema_in_docs_is_the_one_that_is_printed(name: str) -> None:
    outcome = run("schema", name, environment={})

    assert outcome.exit_code == 0
    assert (SCHEMAS / f"{name}.json").read_text(encoding="utf-8") == outcome.stdout, (
        f"write it anew: archiver schema {name} > docs/schema/{name}.json"
    )


def test_without_a_name_all_are_printed() -> None:
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


def success(
    *, missing: list[str] | None = None, metadata: str | None = None, signature: str = "s", etag: str = "e"
) -> Message:
    url = f"https://archives.example/key.zip?X-Amz-Signature={signature}"
    archive = Archive(url=url, bucket="zip-storage", key="key.zip", size=1, files=1, crc32="00000000", etag=etag)
    notification = Succeeded(
        status="succeeded",
        metadata=None,
        substitutions=Substitutions(archiver_URL=url),
        archive=archive,
        missing=missing or [],
        request_id="r",
    )
    return as_message(notification, metadata=metadata)


def failure(message: str) -> Message:
    return as_message(
        Failed(status="failed", metadata=None, error=Reason(code="permanent_error", message=message), request_id="r"),
        metadata=None,
    )


def test_metadata_is_the_text_that_came() -> None:
    metadata = '{"total": 1e15, "price": 0.1000000000000000055}'

    assert f'"metadata":{metadata}' in success(metadata=metadata).body
    payload = f'{{"files": [{{"source": "a.jpg"}}], "metadata": {metadata}}}'
    assert sent(payload)["metadata"] == json.loads(metadata)  # type: ignore[arg-type]  # as the worker has it


def test_of_many_missing_names_the_first_are_told_with_their_number() -> None:
    names = [f"{number}.txt" for number in range(MAX_MISSING + 1)]

    told, all_told = json.loads(success(missing=names).body), json.loads(success(missing=names[1:]).body)

    assert (told["missing"], told["missing_total"]) == (names[:MAX_MISSING], MAX_MISSING + 1)
    assert all_told["missing"] == names[1:]
    assert "missing_total" not in all_told
    NOTIFICATION.validate_python(told, strict=True)


@pytest.mark.parametrize("name", ["x" * 1024, "\x01" * 1024, "\uffff" * 341, "ü" * 512])
@pytest.mark.parametrize("size", [0, MAX_METADATA_BYTES])
def test_a_notification_fits_a_message(name: str, size: int) -> None:
    metadata = json.dumps({"text": "x" * size})[-size:] if size else None
    names = [name] * MAX_MISSING

    body = success(missing=names, metadata=metadata).body

    assert len(body.encode()) <= MAX_BYTES - ATTRIBUTES_ROOM
    if not size:
        told = json.loads(body)
        assert told["missing"] == names or told["missing_total"] == MAX_MISSING
        assert len(told["missing"]) > 100


def test_the_same_news_is_the_same_however_its_link_is_signed() -> None:
    assert success(signature="1").news == success(signature="2").news
    assert len({success().news, success(etag="f").news, success(missing=["a"]).news, failure("a").news}) == 4
    assert failure("a").news != failure("b").news
    assert len(success().news) == 64


def test_a_failure_says_which_sources_are_missing_and_its_message_the_first_few() -> None:
    s3, notifier = FakeS3(), FakeNotifier()
    names = [f"{number}/{'x' * 500}" for number in range(2000)]

    notify_failure(
        files(*names),
        MissingSources(names),
        delivery=delivery(),
        services=services(s3, notifier=notifier, notify_failures=True),
    )

    (body,) = notifier.sent
    assert body["missing"] == names[:MAX_MISSING]
    assert body["missing_total"] == 2000
    assert body["error"]["message"].endswith(", and 1995 more")
    assert len(body["error"]["message"]) < 1000


@pytest.mark.parametrize("body", ['{"files": [], "metadata": {"n": 1e15}}', {"files": [], "metadata": {"n": 1e15}}])
def test_a_refused_payloads_metadata_is_told_where_it_can_be(body: object) -> None:
    notifier = FakeNotifier()
    work = services(FakeS3(), notifier=notifier, notify_failures=True)

    notify_failure(body, MissingSources(["a"]), delivery=delivery(), services=work)
    too_large = {"files": [], "metadata": {"text": "x" * MAX_METADATA_BYTES}}
    notify_failure(too_large, MissingSources(["a"]), delivery=delivery(), services=work)

    assert [message["metadata"] for message in notifier.sent] == [{"n": 1e15}, None]
