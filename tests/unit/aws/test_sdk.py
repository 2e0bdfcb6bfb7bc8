"""What is wrong with the SDK's own variables is one line that names them."""

import pytest
from botocore.exceptions import (
    CredentialRetrievalError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from archiver.aws.sdk import complaint, configuration_fault

URL = "https://sqs.eu-west-1.amazonaws.com/1/input"


@pytest.fixture(autouse=True)
def _nothing_but_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (NoRegionError(), "AWS_DEFAULT_REGION"),
        (InvalidRegionError(region_name="eu west"), "AWS_DEFAULT_REGION"),
        (NoCredentialsError(), "AWS_ACCESS_KEY_ID"),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), "AWS_SECRET_ACCESS_KEY"),
        (ProfileNotFound(profile="gone"), "AWS_PROFILE"),
        (ValueError("Invalid endpoint: localhost:4566"), "AWS_ENDPOINT_URL"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fault_of_the_configuration_names_its_variable(error: Exception, named: str) -> None:
    told = complaint(error)
    assert told is not None
    assert named in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://localhost:4566"),
        CredentialRetrievalError(provider="container", error_msg="away"),
        ValueError("too large"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_may_end_by_itself_is_no_fault_of_it(error: Exception) -> None:
    assert complaint(error) is None


@pytest.mark.parametrize(
    ("queue", "region", "fault"),
    [("input", None, "AWS_DEFAULT_REGION"), ("input", "eu-west-1", None), (URL, None, None)],
    ids=["no region", "the setting's", "the queue's"],
)
def test_a_region_is_the_sdk_s_the_setting_s_or_the_queue_s(queue: str, region: str | None, fault: str | None) -> None:
    found = configuration_fault(queue, region=region)
    assert (found or "").startswith(fault or "")
    assert (found is None) is (fault is None)


def test_without_credentials_nothing_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no AWS credentials" in (configuration_fault(URL, region=None) or "")
