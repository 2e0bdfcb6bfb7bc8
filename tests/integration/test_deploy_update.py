"""A stack that works is changed in each parameter that may change, and works on.

LocalStack 4.14 has no CloudFront, leaves a role's own policies as they were, keeps what a condition no longer wants,
and can't evaluate a list that an earlier update has changed: so the lists come last, in one update.
"""

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from devtools.cloudformation import MESSAGING, Messaging, deploy_messaging
from devtools.localstack import LocalStack
from devtools.processes import wait_until
from devtools.worker import running_worker
from tests.conftest import StackClient
from tests.support.policies import load_template

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

pytestmark = [pytest.mark.localstack, pytest.mark.acceptance]

ACCOUNT = "000000000000"
PARAMETERS: dict[str, Any] = load_template(MESSAGING)["Parameters"]

#: Another value for each parameter that the service must hear of, one update each.
SHARED = {"VisibilityTimeoutSeconds": "30", "MonitoringPrefix": "watch", "Monitoring": "true", "Crew": "false"}
#: And for each other one, in one update.
CHANGES = {
    "MaxReceiveCount": "3",
    "DestinationTopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:news",
    "ArchiveExpirationDays": "0",
    "AbortUploadsAfterDays": "1",
    "RepositoryName": "elsewhere",
    "KmsKeyArn": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/archives",
    "DistributionArn": f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1EXAMPLE",
    "AlarmEmail": "operators@example.com",
    "AlarmTopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:alarms",
    "OldestMessageAlarmSeconds": "600",
    "FlowerSecretArn": f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:flower",
    # of a distribution that the stack makes itself
    "LinkCertificateArn": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/links",
    "LinkDomain": "archives.example.com",
    "LinkKeyGroupId": "key-group",
    "EdgeCacheSeconds": "60",
    "AccessLogBucket": "logs",
}
LISTS = {
    "ExtraSourceBucketArns": "arn:aws:s3:::second,arn:aws:s3:::third",
    "PayloadBucketArns": "arn:aws:s3:::payloads",
    "ExtraDestinationBucketArns": "arn:aws:s3:::exports,arn:aws:s3:::backups",
    "ExtraDestinationKmsKeyArns": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/exports",
    "SourceKmsKeyArns": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/sources",
    "PayloadTopicArns": "arn:aws:sns:us-east-1:111111111111:uploads",
    "ProducerAccountIds": "111111111111,222222222222",
}
#: Another deployment; a service that LocalStack lacks.
NOT_CHANGED = {"Name", "CreateDistribution"}


@dataclass(slots=True)
class Deployment:
    """The stack, and what it was told so far."""

    cloudformation: "CloudFormationClient"
    messaging: Messaging
    told: dict[str, str] = field(default_factory=dict)

    def change(self, **values: str) -> None:
        """One update, to its end."""
        self.told |= values
        self.cloudformation.update_stack(
            StackName=self.messaging.name,
            TemplateBody=MESSAGING.read_text(encoding="utf-8"),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in self.told.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        assert wait_until(lambda: not self.state.endswith("IN_PROGRESS"), seconds=120)
        assert self.state == "UPDATE_COMPLETE"

    @property
    def state(self) -> str:
        """What CloudFormation says of it."""
        return self.cloudformation.describe_stacks(StackName=self.messaging.name)["Stacks"][0]["StackStatus"]


@pytest.fixture(scope="module")
def deployment(localstack: LocalStack) -> Deployment:
    """A stack with its defaults; it goes with the server."""
    name = f"stack-{uuid.uuid4().hex[:10]}"
    for bucket in ("first", "other"):
        localstack.client("s3").create_bucket(Bucket=f"{name}-{bucket}")
    cloudformation = localstack.client("cloudformation")
    messaging = deploy_messaging(cloudformation, name=name, source_bucket=f"{name}-first")
    defaults = {parameter: str(given["Default"]) for parameter, given in PARAMETERS.items() if "Default" in given}
    return Deployment(cloudformation, messaging, defaults | {"Name": name, "SourceBucket": f"{name}-first"})


@pytest.fixture(scope="module")
def changed(deployment: Deployment) -> Deployment:
    """The stack after all changes."""
    deployment.change(SourceBucket=f"{deployment.messaging.name}-other")
    for name, value in SHARED.items():
        deployment.change(**{name: value})
    deployment.change(**CHANGES)
    deployment.change(**LISTS)
    return deployment


def test_every_parameter_is_changed_here_or_has_its_reason() -> None:
    assert {*SHARED, *CHANGES, *LISTS, "SourceBucket"} | NOT_CHANGED == set(PARAMETERS)


def test_what_was_changed_has_changed(localstack: LocalStack, changed: Deployment) -> None:
    sqs, iam, url = localstack.client("sqs"), localstack.client("iam"), changed.messaging.source_queue_url
    role = changed.messaging.task_role_arn.rsplit("/", 1)[1]

    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert queue["VisibilityTimeout"] == "30"
    assert json.loads(queue["RedrivePolicy"])["maxReceiveCount"] == 3
    assert queue["KmsMasterKeyId"] == CHANGES["KmsKeyArn"]
    senders = {one["Sid"]: one for one in json.loads(queue["Policy"])["Statement"]}
    assert senders["PayloadTopics"]["Condition"]["ArnEquals"] == {"aws:SourceArn": [LISTS["PayloadTopicArns"]]}
    assert senders["ProducerAccounts"]["Principal"] == {"AWS": LISTS["ProducerAccountIds"].split(",")}
    assert senders["TlsOnly"]["Effect"] == "Deny"
    policies = iam.list_role_policies(RoleName=role)["PolicyNames"]
    assert {"archive", "extra-sources", "key", "source-keys"} <= set(policies)
    assert {"payload-buckets", "extra-destinations", "extra-destination-keys"} <= set(policies)
    (attached,) = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    assert "MonitoringPolicy" in attached["PolicyName"]


def test_what_the_service_imports_is_what_it_was(changed: Deployment) -> None:
    stack = changed.cloudformation.describe_stacks(StackName=changed.messaging.name)["Stacks"][0]
    exported = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"] if "ExportName" in one}

    before = changed.messaging
    assert not {*SHARED, "SourceBucketName"} & set(exported)
    assert exported["SourceQueueUrl"] == before.source_queue_url
    assert exported["CrewQueueUrl"] == before.crew_queue_url
    assert exported["DestinationQueueUrl"] == before.destination_queue_url
    assert exported["DestinationBucketName"] == before.destination_bucket
    assert exported["TaskRoleArn"] == before.task_role_arn
    assert exported["ExecutionRoleArn"] == before.execution_role_arn


def test_an_archive_is_made_after_it_all(localstack: LocalStack, changed: Deployment) -> None:
    # given the service as it is deployed after the change: with the new source bucket and timeout
    settings = {"S3_SOURCE_BUCKET": changed.told["SourceBucket"], "VISIBILITY_TIMEOUT_SECONDS": "30"}
    s3 = localstack.client("s3")
    s3.put_object(Bucket=changed.told["SourceBucket"], Key="source.jpg", Body=b"picture")
    client = StackClient(s3, localstack.client("sqs"), changed.messaging.stack)

    # when a payload comes
    with running_worker(localstack, changed.messaging.stack, settings=settings):
        request = client.send({"files": [{"source": "source.jpg"}]})
        notification = client.notification(request)

    # then its archive lies in the bucket of before
    assert notification.json["status"] == "succeeded"
    assert notification.json["archive"]["bucket"] == changed.messaging.destination_bucket
