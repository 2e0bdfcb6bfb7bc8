"""Where a payload may have its archive go, within what the settings let it have."""

from typing import Any

import pytest

from archiver.archive.destination import ArchiveSpec, Destination, Destinations
from archiver.archive.key import archive_key
from archiver.archive.request import parse_request
from archiver.errors import InvalidPayload, LimitExceeded

GENERATED = archive_key("{}", request_id="r", sent_at=0, prefix="download")
OPEN = Destinations("zips", buckets=("reports",), link_seconds=3600)
CLOSED = Destinations("zips", prefixes=("exports/", "team-"))


def chosen(settings: Destinations, archive: object = None, **more: Any) -> Destination:
    payload = {"files": [{"source": "a"}], "archive": archive} | more
    request = parse_request(payload, max_files=1, default_bucket="sources")
    return settings.choose(request.archive, generated_key=GENERATED, link_seconds=request.link_expires_seconds)


def test_without_a_wish_it_is_the_generated_key_in_the_services_bucket() -> None:
    assert chosen(OPEN) == chosen(OPEN, {}) == Destination("zips", GENERATED)


def test_every_wish_is_granted() -> None:
    wish = {
        "key": "2026/report ü.zip",
        "bucket": "reports",
        "tags": {"team": "a+b", "Grüße": ""},
        "storage_class": "STANDARD_IA",
        "overwrite": True,
    }

    assert chosen(OPEN, wish, link_expires_seconds=60) == Destination(
        "reports",
        "2026/report ü.zip",
        named=True,
        overwrite=True,
        tags=(("team", "a+b"), ("Grüße", "")),
        storage_class="STANDARD_IA",
        link_seconds=60,
    )


def test_null_is_no_wish() -> None:
    nothing = dict.fromkeys(("key", "prefix", "bucket", "tags", "storage_class", "overwrite"))

    assert chosen(OPEN, nothing, link_expires_seconds=None) == Destination("zips", GENERATED)


@pytest.mark.parametrize("prefix", ["team-a/", "team-a-"])
def test_a_prefix_goes_before_the_generated_key(prefix: str) -> None:
    assert chosen(OPEN, {"prefix": prefix}) == Destination("zips", prefix + GENERATED)
    assert chosen(CLOSED, {"prefix": prefix}).key == prefix + GENERATED


@pytest.mark.parametrize(
    ("archive", "complaint"),
    [
        ({"key": ""}, "archive.key: "),
        ({"key": 7}, "archive.key: "),
        ({"key": "a\nb"}, "archive.key: holds a control character, got 'a\\nb'"),
        ({"key": "a\uffffb"}, "archive.key: holds a control character"),
        ({"key": "a/../b"}, "archive.key: has a segment '.' or '..'"),
        ({"key": "/a"}, "archive.key: begins with a slash"),
        ({"key": "s3://b/a.zip"}, "archive.key: names a bucket, which archive.bucket does"),
        ({"key": "a/"}, "archive.key: ends in a slash"),
        ({"key": "ü" * 513}, "archive.key: is longer than S3's 1024 bytes"),
        ({"key": f"x/{GENERATED}"}, "archive.key: has the form of a generated key"),
        ({"key": "a", "prefix": "b"}, "archive: key is the whole key"),
        ({"prefix": "p" * 1000}, "archive.prefix: with what is added to it longer"),
        ({"prefix": "../"}, "archive.prefix: has a segment"),
        ({"overwrite": True}, "archive.overwrite: without archive.key"),
        ({"key": "a", "overwrite": 1}, "archive.overwrite: "),
        ({"tags": {str(n): "" for n in range(11)}}, "archive.tags: 11 tags"),
        ({"tags": {"": "x"}}, "archive.tags: '' is no key of a tag"),
        ({"tags": {"AWS:x": "x"}}, "archive.tags: 'AWS:x' is no key of a tag"),
        ({"tags": {"k" * 129: "x"}}, "archive.tags: "),
        ({"tags": {"k": "a&b=c#"}}, "archive.tags: 'a&b=c#' is no value of a tag"),
        ({"tags": {"k": "v" * 257}}, "archive.tags: "),
        ({"storage_class": "standard"}, "archive.storage_class: "),
        ("key", "archive: "),
    ],
)
def test_what_can_not_be_is_refused_by_field_and_value(archive: object, complaint: str) -> None:
    with pytest.raises(InvalidPayload) as refused:
        chosen(OPEN, archive)

    assert refused.value.message.startswith(complaint)


@pytest.mark.parametrize(
    ("settings", "archive", "complaint"),
    [
        (OPEN, {"bucket": "others"}, "archive.bucket: 'others' is not in ALLOWED_DESTINATION_BUCKETS"),
        (CLOSED, {"bucket": "reports"}, "archive.bucket: 'reports'"),
        (CLOSED, {"key": "export.zip"}, "archive.key: 'export.zip' begins with none of ALLOWED_DESTINATION_PREFIXES"),
        (CLOSED, {"prefix": "exports"}, "archive.prefix: 'exports' begins with none of"),
    ],
)
def test_what_the_settings_do_not_grant_is_over_the_limit(
    settings: Destinations, archive: object, complaint: str
) -> None:
    with pytest.raises(LimitExceeded) as refused:
        chosen(settings, archive)

    assert refused.value.message.startswith(complaint)


def test_prefixes_bind_no_generated_key() -> None:
    assert chosen(CLOSED).key == GENERATED
    assert chosen(CLOSED, {"key": "exports/a.zip"}).key == "exports/a.zip"


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (3601, LimitExceeded),
        (0, InvalidPayload),
        (604_801, InvalidPayload),
        (60.5, InvalidPayload),
        ("60", InvalidPayload),
    ],
)
def test_a_link_lives_no_longer_than_the_settings_let_it(seconds: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="link_expires_seconds: "):
        chosen(OPEN, link_expires_seconds=seconds)


def test_unknown_wishes_are_noted() -> None:
    payload = {"files": [{"source": "a"}], "archive": {"name": "x"}, "archiv": {}}

    request = parse_request(payload, max_files=1, default_bucket="sources")

    assert request.unknown_keys == ("archiv", "archive.name")


def test_no_archive_goes_where_the_service_keeps_objects_of_its_own() -> None:
    own = Destinations("zips", buckets=("reports",), reserved=("status/",))

    for wish in (ArchiveSpec(key="status/other.cancel"), ArchiveSpec(prefix="status/")):
        with pytest.raises(LimitExceeded, match=r"^archive\.(key|prefix): 'status/.* objects of its own"):
            own.choose(wish, generated_key="hex/a.zip", link_seconds=None)

    assert own.choose(ArchiveSpec(key="status.zip"), generated_key="k", link_seconds=None).key == "status.zip"
    elsewhere = ArchiveSpec(key="status/a.zip", bucket="reports")
    assert own.choose(elsewhere, generated_key="k", link_seconds=None).bucket == "reports"
