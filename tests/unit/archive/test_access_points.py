"""Access points by their ARN, in place of a bucket."""

from typing import Any

import pytest
from botocore.config import Config

from archiver.archive.location import Location, other_writing, parse_location
from archiver.aws.clients import PATIENT, new_client
from archiver.aws.endpoints import Endpoints
from archiver.settings import Settings

ARN = "arn:aws:s3:eu-west-1:123456789012:accesspoint/reports"


@pytest.mark.parametrize("arn", [ARN, ARN.replace("/", ":"), ARN.replace("arn:aws:", "arn:aws-us-gov:")])
def test_an_arn_stands_where_a_bucket_does(arn: str) -> None:
    location = Location(arn, "2026/june.pdf", "v1")

    assert parse_location(f"s3://{arn}/2026/june.pdf?versionId=v1", default_bucket=None) == location
    assert str(location) == f"s3://{arn}/2026/june.pdf?versionId=v1"
    assert parse_location(f"s3://{arn}/2026/", default_bucket=None).is_prefix
    assert parse_location("june.pdf", default_bucket=arn) == Location(arn, "june.pdf")


@pytest.mark.parametrize(
    "source",
    [
        f"s3://{ARN}",
        f"s3://{ARN}x_y/key",
        "s3://arn:aws:s3:::bucket/key",
        "s3://arn:aws:s3::123456789012:accesspoint/multi.mrap/key",
        "s3://arn:aws:s3:eu-west-1:12:accesspoint/reports/key",
        "s3://arn:aws:sqs:eu-west-1:123456789012:queue/key",
    ],
)
def test_no_other_arn_does(source: str) -> None:
    with pytest.raises(ValueError, match="names no"):
        parse_location(source, default_bucket=None)


def test_an_arn_alone_is_explained() -> None:
    assert "write s3:// before its ARN" in str(other_writing(f"{ARN}/june.pdf"))


def test_the_settings_take_one() -> None:
    settings = Settings.model_validate(
        {"sqs_source_queue": "q", "s3_destination_bucket": ARN, "s3_source_bucket": ARN, "allowed_source_buckets": ARN}
    )

    assert (settings.s3_destination_bucket, settings.allowed_source_buckets) == (ARN, (ARN,))


def test_requests_go_to_the_access_points_own_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    def make(region: str | None, config: Config) -> Any:
        return new_client("s3", timeouts=PATIENT, region=region or "us-east-1", config=config)

    endpoint = Endpoints(make(None, Config()), make).of(ARN)

    assert endpoint.host == "reports-123456789012.s3-accesspoint.eu-west-1.amazonaws.com"
    assert (endpoint.region, endpoint.path) == ("eu-west-1", "/")
