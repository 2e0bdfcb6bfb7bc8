"""Links and the name that a browser saves under."""

from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config

from archiver.archive.record import content_disposition
from archiver.aws.links import Links

KEY = "00ff/down load ü-2026-11-24.zip"


def links(base_url: str | None) -> Links:
    client = boto3.client(
        "s3",
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(signature_version="s3v4"),
    )
    return Links(lambda _: client, bucket="zip-storage", base_url=base_url, expires=3600)


@pytest.mark.parametrize("base", ["https://cdn.example/archives", "https://cdn.example/archives/"])
def test_a_base_url_leads_to_the_key(base: str) -> None:
    assert (
        links(base).url("zip-storage", KEY) == "https://cdn.example/archives/00ff/down%20load%20%C3%BC-2026-11-24.zip"
    )


def test_a_base_url_leads_to_its_own_bucket_alone() -> None:
    assert urlsplit(links("https://cdn.example").url("reports", KEY)).netloc != "cdn.example"


@pytest.mark.parametrize(("asked", "granted"), [(60, "60"), (None, "3600"), (7200, "3600")])
def test_a_presigned_link_lives_as_long_as_asked_for_and_no_longer_than_the_settings_let_it(
    asked: int | None, granted: str
) -> None:
    url = urlsplit(links(None).url("zip-storage", KEY, asked))

    assert parse_qs(url.query)["X-Amz-Expires"] == [granted]


def test_without_one_the_link_is_presigned() -> None:
    url = urlsplit(links(None).url("zip-storage", KEY))

    query = parse_qs(url.query)
    assert url.path.endswith("/00ff/down%20load%20%C3%BC-2026-11-24.zip")
    assert query["X-Amz-Expires"] == ["3600"]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.zip", "attachment; filename=\"a.zip\"; filename*=UTF-8''a.zip"),
        ("a b.zip", "attachment; filename=\"a b.zip\"; filename*=UTF-8''a%20b.zip"),
        ('"; x="1.zip', "attachment; filename=\"_; x=_1.zip\"; filename*=UTF-8''%22%3B%20x%3D%221.zip"),
        ("ü\u2028€.zip", "attachment; filename=\"___.zip\"; filename*=UTF-8''%C3%BC%E2%80%A8%E2%82%AC.zip"),
    ],
)
def test_the_name_is_one_header_in_ascii(name: str, header: str) -> None:
    assert content_disposition(name) == header
    assert header.isascii()
