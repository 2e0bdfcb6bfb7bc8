"""One rule for the region of a client, whoever asks."""

from pathlib import Path

import pytest
from botocore.exceptions import UnknownServiceError
from botocore.loaders import JSONFileLoader, Loader

from archiver.aws.clients import BRIEF, PROMPT, DescriptionFiles, new_client, new_session, queue_region


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/1/q", "eu-central-1"),
        ("https://sqs.us-gov-west-1.amazonaws.com/1/q", "us-gov-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1"),
        ("https://sqs-fips.us-east-2.amazonaws.com/1/q", "us-east-2"),
        ("https://sqs.eu-west-1.api.aws/1/q", "eu-west-1"),
        ("https://vpce-0a1b-xyz.sqs.us-east-1.vpce.amazonaws.com/1/q", "us-east-1"),
        ("https://eu-west-2.queue.amazonaws.com/1/q", "eu-west-2"),
        ("http://127.0.0.1:4566/queue/eu-west-1/0/q", None),
        ("https://sqs.eu-west-1.example.com/1/q", None),
        ("a-name", None),
        (None, None),
    ],
)
def test_the_region_stands_in_the_urls_of_aws_alone(url: str | None, region: str | None) -> None:
    assert queue_region(url) == region


def test_a_queue_urls_region_is_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    url = "https://sqs.eu-central-1.amazonaws.com/1/q"
    assert new_client("sqs", timeouts=PROMPT, queue=url).meta.region_name == "eu-central-1"
    assert new_client("sqs", timeouts=PROMPT, queue="q").meta.region_name == "us-east-1"
    # ECS names the region in a variable that boto3 does not read
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    assert new_client("sqs", timeouts=PROMPT, queue="q", region="eu-west-3").meta.region_name == "eu-west-3"


def test_timeouts_and_attempts_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config = new_client("s3", timeouts=BRIEF).meta.config
    assert (config.connect_timeout, config.read_timeout) == (BRIEF.connect, BRIEF.read)
    assert config.retries["total_max_attempts"] == BRIEF.attempts
    assert config.signature_version == "s3v4"


def test_descriptions_of_services_are_read_once_for_all_sessions() -> None:
    one, other = (new_session().get_component("data_loader") for _ in range(2))
    assert one.load_service_model("sqs", "service-2") is other.load_service_model("sqs", "service-2")


@pytest.mark.parametrize(
    "name", ["endpoints", "s3/2006-03-01/service-2", "s3/2006-03-01/endpoint-rule-set-1", "s3/2006-03-01/waiters-2"]
)
def test_descriptions_are_what_the_sdk_itself_reads(name: str) -> None:
    path = str(Path(Loader.BUILTIN_DATA_PATH) / name)
    described = DescriptionFiles().load_file(path)
    assert described
    assert described == JSONFileLoader().load_file(path)


def test_a_description_may_not_be_there(tmp_path: Path) -> None:
    assert DescriptionFiles().load_file(str(tmp_path / "service-2")) is None


def test_a_service_that_nobody_describes_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(UnknownServiceError):
        new_client("s33", timeouts=PROMPT)


def test_services_of_ones_own_are_found_in_the_sdks_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    described = tmp_path / "mine" / "2026-01-01"
    described.mkdir(parents=True)
    (described / "service-2.json").write_text('{"metadata": {"serviceId": "Mine"}}')
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    monkeypatch.setenv("AWS_DATA_PATH", "$SOMEWHERE")
    models = new_session().get_component("data_loader")
    assert models.load_service_model("mine", "service-2")["metadata"]["serviceId"] == "Mine"
