"""The roles of the deployment: what they may do, on what, and nothing else."""

import fnmatch
import json
import re
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from archiver.settings import Settings
from devtools.cloudformation import MESSAGING
from devtools.localstack import CHECKOUT
from tests.support.policies import UNSEEN, actions_for, allowed_actions, grants, load_template, operations_in

TEMPLATE = load_template(MESSAGING)

SOURCES = "arn:${AWS::Partition}:s3:::${SourceBucket}"
ARCHIVES = "${DestinationBucket.Arn}/*"
#: Plans and records of the crew.
SHARED = f"${{DestinationBucket.Arn}}/{Settings.model_fields['crew_prefix'].default}*"
EVENTS = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:${MonitoringPrefix}*"


def test_the_task_role_is_exactly_this() -> None:
    assert grants(TEMPLATE, "TaskRole") == {
        "s3:GetObject": {f"{SOURCES}/*", ARCHIVES},
        "s3:GetObjectVersion": {f"{SOURCES}/*"},
        "s3:GetObjectAttributes": {f"{SOURCES}/*"},
        "s3:GetObjectVersionAttributes": {f"{SOURCES}/*"},
        "s3:ListBucket": {SOURCES, "DestinationBucket.Arn"},
        "s3:PutObject": {ARCHIVES},
        "s3:PutObjectTagging": {ARCHIVES},
        "s3:AbortMultipartUpload": {ARCHIVES},
        "s3:ListMultipartUploadParts": {ARCHIVES},
        "s3:ListBucketMultipartUploads": {"DestinationBucket.Arn"},
        "s3:GetLifecycleConfiguration": {"DestinationBucket.Arn"},
        "ecs:UpdateTaskProtection": {"arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:task/${Name}/*"},
        "sqs:ReceiveMessage": {"SourceQueue.Arn"},
        "sqs:DeleteMessage": {"SourceQueue.Arn"},
        "sqs:ChangeMessageVisibility": {"SourceQueue.Arn"},
        "sqs:GetQueueAttributes": {"SourceQueue.Arn", "SourceDeadLetters.Arn"},
        "sqs:GetQueueUrl": {"SourceQueue.Arn", "SourceDeadLetters.Arn", "DestinationQueue.Arn"},
        "sqs:SendMessage": {"SourceDeadLetters.Arn", "DestinationQueue.Arn"},
    }


def test_the_crew_adds_its_queue_and_what_it_clears_up() -> None:
    before, after = grants(TEMPLATE, "TaskRole"), grants(TEMPLATE, "TaskRole", conditions=["HasCrew"])

    added = {action: after[action] - before.get(action, frozenset()) for action in after}

    assert {action: resources for action, resources in added.items() if resources} == {
        "sqs:SendMessage": {"CrewQueue.Arn"},
        "sqs:ReceiveMessage": {"CrewQueue.Arn"},
        "sqs:DeleteMessage": {"CrewQueue.Arn"},
        "sqs:ChangeMessageVisibility": {"CrewQueue.Arn"},
        "sqs:GetQueueAttributes": {"CrewQueue.Arn"},
        "sqs:GetQueueUrl": {"CrewQueue.Arn"},
        "s3:DeleteObject": {SHARED},
    }


def test_the_worker_can_never_delete_an_archive_or_touch_a_bucket() -> None:
    every_condition = TEMPLATE["Conditions"]

    allowed = grants(TEMPLATE, "TaskRole", conditions=every_condition)

    assert not [action for action in allowed if action.startswith(("s3:PutBucket", "iam:"))]
    assert not [action for action in allowed if "*" in action]
    deleting = {action: resources for action, resources in allowed.items() if action.startswith("s3:Delete")}
    assert deleting == {"s3:DeleteObject": {SHARED}}


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
    assert unnamed == {"sqs:ListQueues"}
    named = set().union(*(resources for action, resources in added.items() if action not in unnamed))
    assert named == {EVENTS % "sns", EVENTS % "sqs"}


def test_monitoring_may_do_what_its_code_asks_for_and_no_more() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "archiver" / "monitoring").glob("*.py"))
    called = set(re.findall(r"\b(sns|sqs)\.([a-z_]+)", code)) | {
        (service, operation) for service, operation in re.findall(r"\b(sns|sqs)\.get_paginator\(\"([a-z_]+)\"", code)
    }
    called |= {("sqs", name) for name in re.findall(r"\bpolling\.([a-z_]+)", code)}
    models = {service: botocore.session.get_session().get_service_model(service) for service in ("sns", "sqs")}
    operations = {
        f"{service}.{name}"
        for service, model in models.items()
        for name in model.operation_names
        if (service, xform_name(name)) in called
    }

    assert operations
    assert allowed_actions(TEMPLATE, "FlowerRole", conditions=["Monitored"]) == actions_for(operations)


def test_flower_sees_neither_payloads_nor_archives() -> None:
    allowed = grants(TEMPLATE, "FlowerRole", conditions=["Monitored"])

    assert not [action for action in allowed if action.startswith("s3:")]
    counted = {"SourceQueue.Arn", "SourceDeadLetters.Arn"}
    resources = set().union(*allowed.values())
    assert resources == {EVENTS % "sns", EVENTS % "sqs", "*"} | counted
    assert {action for action, where in allowed.items() if where & counted} == {"sqs:GetQueueAttributes"}


def test_the_default_monitoring_prefix_catches_none_of_the_stacks_own_queues() -> None:
    defaults = {name: parameter.get("Default") for name, parameter in TEMPLATE["Parameters"].items()}

    queues = [
        resource["Properties"]["QueueName"]["Fn::Sub"].replace("${Name}", defaults["Name"])
        for resource in TEMPLATE["Resources"].values()
        if resource["Type"] == "AWS::SQS::Queue"
    ]

    assert len(queues) == 5
    assert not fnmatch.filter(queues, f"{defaults['MonitoringPrefix']}*")


@pytest.mark.parametrize(
    ("condition", "added"),
    [
        ("HasKey", {"kms:Decrypt", "kms:GenerateDataKey"}),
        ("HasSourceKeys", {"kms:Decrypt"}),
        ("HasExtraSources", set()),
        ("HasPayloadBuckets", set()),
        ("HasExtraDestinations", set()),
        ("HasExtraDestinationKeys", {"kms:Decrypt", "kms:GenerateDataKey"}),
    ],
)
def test_each_option_adds_only_its_own_actions(condition: str, added: set[str]) -> None:
    before = allowed_actions(TEMPLATE, "TaskRole")

    after = allowed_actions(TEMPLATE, "TaskRole", conditions=[condition])

    assert after - before == added


def test_another_bucket_of_archives_has_the_rights_of_the_first() -> None:
    before, after = grants(TEMPLATE, "TaskRole"), grants(TEMPLATE, "TaskRole", conditions=["HasExtraDestinations"])

    added = {action: resources - before[action] for action, resources in after.items()}

    lifecycle = "s3:GetLifecycleConfiguration"  # the doctor looks at the first alone
    for level, resource in (
        (ARCHIVES, f'{{"Fn::Split": [",", {joined("ExtraDestinationBucketArns")}]}}'),
        ("DestinationBucket.Arn", "ExtraDestinationBucketArns"),
    ):
        expected = {action for action, resources in before.items() if level in resources} - {lifecycle}
        assert {action for action, resources in added.items() if resource in resources} == expected


def test_a_payload_that_a_message_points_at_is_read_and_no_more() -> None:
    before, after = grants(TEMPLATE, "TaskRole"), grants(TEMPLATE, "TaskRole", conditions=["HasPayloadBuckets"])

    added = {action: after[action] - before[action] for action in after if after[action] != before[action]}

    assert added == {"s3:GetObject": {f'{{"Fn::Split": [",", {joined("PayloadBucketArns")}]}}'}}


def joined(parameter: str) -> str:
    """The objects of the buckets of a list, before it is split again, as ``grants`` words it."""
    listed = {"Fn::Join": ["/*,", {"Ref": parameter}]}
    return json.dumps({"Fn::Join": ["", [listed, "/*"]]})


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


# ---- who may send ----


def source_queue_policy() -> dict[str, Any]:
    """The statements by their Sid, those behind a condition as if it held."""
    statements = TEMPLATE["Resources"]["SourceQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    return {there["Sid"]: there for there in (one.get("Fn::If", [None, one])[1] for one in statements)}


def test_topics_and_accounts_may_send_payloads_and_do_nothing_else() -> None:
    policy = source_queue_policy()

    topics, accounts = policy["PayloadTopics"], policy["ProducerAccounts"]
    assert topics["Principal"] == {"Service": "sns.amazonaws.com"}
    assert topics["Action"] == "sqs:SendMessage"
    assert topics["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Ref": "PayloadTopicArns"}}}
    assert accounts["Principal"] == {"AWS": {"Ref": "ProducerAccountIds"}}
    assert accounts["Action"] == ["sqs:SendMessage", "sqs:GetQueueUrl"]
    assert topics["Resource"] == accounts["Resource"] == {"Fn::GetAtt": ["SourceQueue", "Arn"]}


def test_each_queue_has_one_policy_for_sqs_keeps_only_the_last() -> None:
    named = [
        queue["Ref"]
        for resource in TEMPLATE["Resources"].values()
        if resource["Type"] == "AWS::SQS::QueuePolicy"
        for queue in resource["Properties"]["Queues"]
    ]

    assert sorted(named) == [
        "CrewQueue",
        "DestinationDeadLetters",
        "DestinationQueue",
        "SourceDeadLetters",
        "SourceQueue",
    ]


# ---- people ----


def test_the_operator_policy_is_exactly_this() -> None:
    every = {"SourceQueue.Arn", "SourceDeadLetters.Arn", "DestinationQueue.Arn", "DestinationDeadLetters.Arn"}
    dead_letters = {"SourceDeadLetters.Arn", "DestinationDeadLetters.Arn"}

    assert grants(TEMPLATE, "OperatorPolicy") == {
        # the crew's queue is looked at, and no more
        "sqs:GetQueueUrl": every | {"CrewQueue.Arn"},
        "sqs:GetQueueAttributes": every | {"CrewQueue.Arn"},
        "sqs:SendMessage": {"SourceQueue.Arn", "DestinationQueue.Arn"},
        "sqs:ReceiveMessage": every - {"SourceQueue.Arn"},
        "sqs:DeleteMessage": every - {"SourceQueue.Arn"},
        "sqs:ChangeMessageVisibility": every - {"SourceQueue.Arn"},
        "sqs:StartMessageMoveTask": dead_letters,
        "sqs:ListMessageMoveTasks": dead_letters,
        "sqs:CancelMessageMoveTask": dead_letters,
        # `archiver dlq drop --all` alone
        "sqs:PurgeQueue": {"SourceDeadLetters.Arn"},
        "s3:ListBucket": {"DestinationBucket.Arn", SOURCES},
        "s3:ListBucketMultipartUploads": {"DestinationBucket.Arn"},
        "s3:GetLifecycleConfiguration": {"DestinationBucket.Arn"},
        "s3:PutObject": {ARCHIVES},
        "s3:GetObject": {ARCHIVES},
        "s3:ListMultipartUploadParts": {ARCHIVES},
        "s3:AbortMultipartUpload": {ARCHIVES},
        # `archiver sweep` alone
        "s3:DeleteObject": {SHARED, "${DestinationBucket.Arn}/archiver-checkpoints/*"},
    }


def test_operators_that_watch_have_the_monitors_rights() -> None:
    monitored = grants(TEMPLATE, "MonitoringPolicy", conditions=["Monitored"])

    flower = grants(TEMPLATE, "FlowerRole", conditions=["Monitored"])
    # Flower counts the messages of two queues, too
    assert flower == monitored | {"sqs:GetQueueAttributes": flower["sqs:GetQueueAttributes"]}
    assert TEMPLATE["Outputs"]["MonitoringPolicyArn"]["Value"] == {"Ref": "MonitoringPolicy"}


def test_a_task_is_run_with_no_other_role_and_in_no_other_cluster() -> None:
    statements = {
        one["Sid"]: one for one in TEMPLATE["Resources"]["RunTaskPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    }

    assert set(grants(TEMPLATE, "RunTaskPolicy")["iam:PassRole"]) == {"TaskRole.Arn", "ExecutionRole.Arn"}
    assert statements["PassRoles"]["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    (cluster,) = statements["RunTask"]["Condition"]["ArnEquals"].values()
    assert cluster["Fn::Sub"].endswith(":cluster/${Name}")


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
