"""A bucket's endpoint is the one that boto3 would use."""

from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from archiver.aws.endpoints import Endpoint, Endpoints


def endpoints(**options: Any) -> Endpoints:
    def make(region: str | None, config: Config) -> Any:
        return boto3.client(
            "s3",
            region_name=region or "eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(signature_version="s3v4").merge(config),
            **options,
        )

    return Endpoints(make(None, Config()), make)


def test_a_plain_bucket_is_a_host_of_its_region() -> None:
    assert endpoints().of("photos") == Endpoint(
        "https://photos.s3.eu-west-1.amazonaws.com/", "photos.s3.eu-west-1.amazonaws.com", "/", "eu-west-1"
    )


def test_a_bucket_with_dots_goes_into_the_path() -> None:
    assert endpoints().of("my.photos") == Endpoint(
        "https://s3.eu-west-1.amazonaws.com/my.photos/", "s3.eu-west-1.amazonaws.com", "/my.photos/", "eu-west-1"
    )


def test_an_endpoint_of_ones_own_has_the_bucket_in_its_path() -> None:
    found = endpoints(endpoint_url="http://127.0.0.1:4566").of("photos")
    assert (found.base, found.host, found.path) == ("http://127.0.0.1:4566/photos/", "127.0.0.1:4566", "/photos/")


def test_at_an_endpoint_of_ones_own_the_usual_client_signs_links() -> None:
    client = boto3.client("s3", region_name="eu-west-1", endpoint_url="http://127.0.0.1:4566")

    def make(*_: Any) -> Any:
        pytest.fail("another client is made")

    assert Endpoints(client, make).presigning_client("photos") is client


def test_an_access_point_is_a_host_of_its_arns_region() -> None:
    found = endpoints().of("arn:aws:s3:eu-west-1:123456789012:accesspoint/photos")
    assert found.host == "photos-123456789012.s3-accesspoint.eu-west-1.amazonaws.com"


def test_a_bucket_in_another_region_is_learned_once() -> None:
    known = endpoints()
    assert known.of("photos").region == "eu-west-1"
    assert known.moved("photos", "us-west-2")
    assert known.of("photos").host == "photos.s3.us-west-2.amazonaws.com"
    assert known.of("photos").region == "us-west-2"
    assert not known.moved("photos", "us-west-2"), "so that nobody asks in a circle"


def test_at_an_endpoint_of_ones_own_a_bucket_may_be_in_another_region_too() -> None:
    known = endpoints(endpoint_url="http://127.0.0.1:4566")
    assert known.of("photos").region == "eu-west-1"
    assert known.moved("photos", "us-west-2")
    assert (known.of("photos").base, known.of("photos").region) == ("http://127.0.0.1:4566/photos/", "us-west-2")


def test_a_name_that_can_be_no_buckets_is_boto3s_error() -> None:
    with pytest.raises((BotoCoreError, ValueError)):
        endpoints().of("no bucket at all")


def test_a_presigned_link_names_the_region() -> None:
    link = (
        endpoints()
        .presigning_client("photos")
        .generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "k"})
    )
    assert link.startswith("https://photos.s3.eu-west-1.amazonaws.com/k?")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://minio.test:80", "minio.test"),
        ("https://minio.test:443", "minio.test"),
        ("http://user:password@minio.test", "minio.test"),
        ("https://minio.test:80", "minio.test:80"),
    ],
)
def test_the_host_that_is_signed_is_the_one_that_is_sent(url: str, host: str) -> None:
    endpoint = endpoints(endpoint_url=url).of("photos")
    assert endpoint.host == host
    assert endpoint.base == f"{url.partition('://')[0]}://{host}/photos/"
