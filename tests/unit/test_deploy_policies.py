"""The roles of the deployment: what they may do, on what, and nothing else."""

import fnmatch

import pytest

from devtools.cloudformation import MESSAGING
from tests.support.policies import UNSEEN, actions_for, allowed_actions, grants, load_template, operations_in

TEMPLATE = load_template(MESSAGING)

SOURCES = "arn:${AWS::Partition}:s3:::${SourceBucket}"
ARCHIVES = "${DestinationBucket.Arn}/*"
EVENTS = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:${MonitoringPrefix}*"


def test_the_task_role_is_exactly_this() -> None:
    assert grants(TEMPLATE, "TaskRole") == {
        "s3:GetObject": {f"{SOURCES}/*", ARCHIVES},
        "s3:GetObjectVersion": {f"{SOURCES}/*"},
        "s3:GetObjectAttributes": {f"{SOURCES}/*"},
        "s3:GetObjectVersionAttributes": {f"{SOURCES}/*"},
        "s3:ListBucket": {SOURCES, "DestinationBucket.Arn"},
        "s3:PutObject": {ARCHIVES},
        "s3:AbortMultipartUpload": {ARCHIVES},
        "s3:ListMultipartUploadParts": {ARCHIVES},
        "s3:ListBucketMultipartUploads": {"DestinationBucket.Arn"},
        "sqs:ReceiveMessage": {"SourceQueue.Arn"},
        "sqs:DeleteMessage": {"SourceQueue.Arn"},
        "sqs:ChangeMessageVisibility": {"SourceQueue.Arn"},
        "sqs:GetQueueAttributes": {"SourceQueue.Arn"},
        "sqs:GetQueueUrl": {"SourceQueue.Arn", "SourceDeadLetters.Arn", "DestinationQueue.Arn"},
        "sqs:SendMessage": {"SourceDeadLetters.Arn", "DestinationQueue.Arn"},
    }


def test_the_worker_can_never_delete_an_object_or_touch_a_bucket() -> None:
    every_condition = TEMPLATE["Conditions"]

    allowed = allowed_actions(TEMPLATE, "TaskRole", conditions=every_condition)

    assert not [action for action in allowed if action.startswith(("s3:Delete", "s3:PutBucket", "iam:"))]
    assert not [action for action in allowed if "*" in action]


def test_without_monitoring_neither_sns_nor_queues_of_its_own() -> None:
    allowed = allowed_actions(TEMPLATE, "TaskRole")

    assert not [action for action in allowed if action.startswith("sns:")]
    assert "sqs:CreateQueue" not in allowed


def test_monitoring_stays_within_its_prefix() -> None:
    before = grants(TEMPLATE, "TaskRole")

    after = grants(TEMPLATE, "TaskRole", conditions=["Monitored"])

    added = {
        action: resources - before.get(action, frozenset())
        for action, resources in after.items()
        if resources != before.get(action)
    }
    unnamed = {action for action, resources in added.items() if resources == {"*"}}
    assert unnamed == {"sns:ListTopics", "sqs:ListQueues"}
    named = set().union(*(resources for action, resources in added.items() if action not in unnamed))
    assert named == {EVENTS % "sns", EVENTS % "sqs"}


def test_flower_sees_neither_payloads_nor_archives() -> None:
    allowed = grants(TEMPLATE, "FlowerRole", conditions=["Monitored"])

    assert not [action for action in allowed if action.startswith("s3:")]
    resources = set().union(*allowed.values())
    assert resources == {EVENTS % "sns", EVENTS % "sqs", "*"}


def test_the_default_monitoring_prefix_catches_none_of_the_stacks_own_queues() -> None:
    defaults = {name: parameter.get("Default") for name, parameter in TEMPLATE["Parameters"].items()}

    queues = [
        resource["Properties"]["QueueName"]["Fn::Sub"].replace("${Name}", defaults["Name"])
        for resource in TEMPLATE["Resources"].values()
        if resource["Type"] == "AWS::SQS::Queue"
    ]

    assert len(queues) == 4
    assert not fnmatch.filter(queues, f"{defaults['MonitoringPrefix']}*")


@pytest.mark.parametrize(
    ("condition", "added"),
    [
        ("HasKey", {"kms:Decrypt", "kms:GenerateDataKey"}),
        ("HasSourceKeys", {"kms:Decrypt"}),
        ("HasExtraSources", set()),
    ],
)
def test_each_option_adds_only_its_own_actions(condition: str, added: set[str]) -> None:
    before = allowed_actions(TEMPLATE, "TaskRole")

    after = allowed_actions(TEMPLATE, "TaskRole", conditions=[condition])

    assert after - before == added


def test_the_execution_role_pulls_one_repository_and_writes_its_own_logs() -> None:
    allowed = grants(TEMPLATE, "ExecutionRole")

    assert set(allowed) == {
        "ecr:GetAuthorizationToken",
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    }
    assert [action for action, resources in allowed.items() if "*" in resources] == ["ecr:GetAuthorizationToken"]


@pytest.mark.parametrize("role", ["TaskRole", "ExecutionRole", "FlowerRole"])
def test_only_tasks_of_this_account_and_region_get_a_role(role: str) -> None:
    (statement,) = TEMPLATE["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]

    assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_a_request_log_becomes_actions() -> None:
    # given a log of LocalStack's
    log = """
2026-11-24T04:14:53.836  INFO --- [   asgi_gw_0] localstack.request.aws     : AWS s3.HeadObject => 404 (NoSuchKey)
2026-11-24T04:14:53.837  INFO --- [   asgi_gw_0] localstack.request.aws     : AWS s3.UploadPartCopy => 200
2026-11-24T04:14:53.838  INFO --- [   asgi_gw_0] localstack.request.aws     : AWS s3.ListParts => 200
2026-11-24T04:14:53.839  INFO --- [   asgi_gw_0] localstack.request.aws     : AWS sqs.DeleteMessageBatch => 200
2026-11-24T04:14:53.840  INFO --- [   asgi_gw_0] localstack.request.aws     : AWS sts.GetCallerIdentity => 200
2026-11-24T04:14:53.841  INFO --- [   asgi_gw_0] localstack.request.http    : GET /_localstack/health => 200
"""

    # when it is read
    operations = operations_in(log)

    # then the actions are IAM's
    assert operations == {
        "s3.HeadObject",
        "s3.UploadPartCopy",
        "s3.ListParts",
        "sqs.DeleteMessageBatch",
        "sts.GetCallerIdentity",
    }
    assert actions_for(operations) == {
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListMultipartUploadParts",
        "sqs:DeleteMessage",
    }


def test_what_a_log_cannot_show_is_allowed_for_a_reason() -> None:
    assert set(UNSEEN) <= allowed_actions(TEMPLATE, "TaskRole")
