"""The first stack created on LocalStack: every assertion is on the resources, none on CloudFormation's word.

Deleting a stack is not tested: LocalStack 4.14 ignores ``DeletionPolicy`` and fails over resources whose condition is
false. That the archives are retained is asserted on the template.
"""

import json
import uuid
from typing import Any

import pytest

from devtools.cloudformation import MESSAGING, DeploymentError, Messaging, deploy_messaging
from devtools.localstack import LocalStack
from tests.support.policies import allowed_actions, load_template

pytestmark = pytest.mark.localstack

ACCOUNT = "000000000000"


def unique() -> str:
    return f"stack-{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="module")
def messaging(localstack: LocalStack) -> Messaging:
    """The stack with its defaults; it goes with the server."""
    name = unique()
    localstack.client("s3").create_bucket(Bucket=f"{name}-sources")
    return deploy_messaging(localstack.client("cloudformation"), name=name, source_bucket=f"{name}-sources")


@pytest.fixture(scope="module")
def with_everything(localstack: LocalStack) -> Messaging:
    """The stack with each option that LocalStack can create; it goes with the server."""
    name = unique()
    localstack.client("s3").create_bucket(Bucket=f"{name}-sources")
    return deploy_messaging(
        localstack.client("cloudformation"),
        name=name,
        source_bucket=f"{name}-sources",
        parameters={
            "VisibilityTimeoutSeconds": "30",
            "MaxReceiveCount": "2",
            "PayloadTopicArns": "arn:aws:sns:us-east-1:111111111111:uploads,arn:aws:sns:us-east-1:111111111111:scans",
            "ProducerAccountIds": "111111111111",
            "ExtraSourceBucketArns": "arn:aws:s3:::second,arn:aws:s3:::third",
            "PayloadBucketArns": "arn:aws:s3:::payloads,arn:aws:s3:::more",
            "ExtraDestinationBucketArns": "arn:aws:s3:::exports,arn:aws:s3:::backups",
            "KmsKeyArn": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/archives",
            "SourceKmsKeyArns": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/sources",
            "ExtraDestinationKmsKeyArns": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/exports",
            "AlarmEmail": "operators@example.com",
            "OldestMessageAlarmSeconds": "600",
            "Monitoring": "true",
            "MonitoringPrefix": "watch",
            "FlowerSecretArn": f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:flower",
        },
    )


def attributes(localstack: LocalStack, queue_url: str) -> dict[str, str]:
    found: dict[str, str] = localstack.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])[
        "Attributes"
    ]
    return found


def statements(localstack: LocalStack, role_arn: str) -> list[dict[str, Any]]:
    iam = localstack.client("iam")
    role = role_arn.rsplit("/", 1)[1]
    found: list[dict[str, Any]] = []
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        found += iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
    for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = policy["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found += iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]["Statement"]
    return found


def alarms(localstack: LocalStack, name: str) -> dict[str, dict[str, Any]]:
    found = localstack.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{name}-")["MetricAlarms"]
    return {alarm["AlarmName"].removeprefix(f"{name}-"): alarm for alarm in found}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(("pair", "receives"), [("source", 50), ("destination", 5)])
def test_each_queue_hands_what_failed_to_its_own_dead_letters(
    localstack: LocalStack, messaging: Messaging, pair: str, receives: int
) -> None:
    queue = attributes(localstack, getattr(messaging, f"{pair}_queue_url"))
    dead_letters = attributes(localstack, getattr(messaging, f"{pair}_dead_letters_url"))

    redrive = json.loads(queue["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == dead_letters["QueueArn"]
    assert int(redrive["maxReceiveCount"]) == receives
    allowed = json.loads(dead_letters["RedriveAllowPolicy"])
    assert allowed == {"redrivePermission": "byQueue", "sourceQueueArns": [queue["QueueArn"]]}
    assert int(dead_letters["MessageRetentionPeriod"]) == 14 * 86_400
    assert int(queue["MessageRetentionPeriod"]) == 4 * 86_400


def test_the_crews_queue_is_for_hours_and_has_no_dead_letters(localstack: LocalStack, messaging: Messaging) -> None:
    queue = attributes(localstack, messaging.crew_queue_url)

    assert queue["QueueArn"].endswith(f":{messaging.name}-crew")
    assert "RedrivePolicy" not in queue
    assert int(queue["MessageRetentionPeriod"]) == 4 * 3600
    assert queue["VisibilityTimeout"] == "120"


def test_the_source_queue_hides_messages_as_long_as_the_worker_expects(
    localstack: LocalStack, messaging: Messaging
) -> None:
    assert attributes(localstack, messaging.source_queue_url)["VisibilityTimeout"] == "120"
    assert messaging.visibility_timeout_seconds == 120


def test_all_queues_are_encrypted_and_refuse_plain_http(localstack: LocalStack, messaging: Messaging) -> None:
    for url in (
        messaging.source_queue_url,
        messaging.source_dead_letters_url,
        messaging.destination_queue_url,
        messaging.destination_dead_letters_url,
        messaging.crew_queue_url,
    ):
        found = attributes(localstack, url)
        assert found["SqsManagedSseEnabled"] == "true"
        (statement,) = json.loads(found["Policy"])["Statement"]
        assert statement["Effect"] == "Deny"
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_topics_and_other_accounts_may_send_to_the_source_queue_alone(
    localstack: LocalStack, with_everything: Messaging
) -> None:
    policy = json.loads(attributes(localstack, with_everything.source_queue_url)["Policy"])
    other = json.loads(attributes(localstack, with_everything.destination_queue_url)["Policy"])

    allowed = {one["Sid"]: one for one in policy["Statement"] if one["Effect"] == "Allow"}
    assert set(allowed) == {"PayloadTopics", "ProducerAccounts"}
    assert allowed["PayloadTopics"]["Condition"]["ArnEquals"]["aws:SourceArn"] == [
        "arn:aws:sns:us-east-1:111111111111:uploads",
        "arn:aws:sns:us-east-1:111111111111:scans",
    ]
    assert allowed["ProducerAccounts"]["Principal"] == {"AWS": ["111111111111"]}
    for statement in allowed.values():
        assert statement["Resource"] == f"arn:aws:sqs:us-east-1:{ACCOUNT}:{with_everything.name}-input"
    assert [one["Effect"] for one in other["Statement"]] == ["Deny"]


def test_a_topic_of_ones_own_brings_a_payload(localstack: LocalStack, with_everything: Messaging) -> None:
    """As docs/operations.md does it."""
    sns, sqs = localstack.client("sns"), localstack.client("sqs")
    topic = sns.create_topic(Name=f"{with_everything.name}-uploads")["TopicArn"]
    queue = attributes(localstack, with_everything.source_queue_url)["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})

    sns.publish(TopicArn=topic, Message="payload of a topic")

    (message,) = sqs.receive_message(QueueUrl=with_everything.source_queue_url, WaitTimeSeconds=10)["Messages"]
    sqs.delete_message(QueueUrl=with_everything.source_queue_url, ReceiptHandle=message["ReceiptHandle"])
    assert message["Body"] == "payload of a topic"


def test_a_message_that_is_received_too_often_arrives_in_the_dead_letters(
    localstack: LocalStack, with_everything: Messaging
) -> None:
    # given a message that nobody deletes, and two receives as the limit
    sqs = localstack.client("sqs")
    sqs.send_message(QueueUrl=with_everything.source_queue_url, MessageBody="payload")
    for _ in range(2):
        (message,) = sqs.receive_message(QueueUrl=with_everything.source_queue_url, WaitTimeSeconds=5)["Messages"]
        sqs.change_message_visibility(
            QueueUrl=with_everything.source_queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )

    # when it would come a third time
    again = sqs.receive_message(QueueUrl=with_everything.source_queue_url, WaitTimeSeconds=2).get("Messages", [])

    # then it does not, and lies in the dead letters
    assert again == []
    (dead,) = sqs.receive_message(QueueUrl=with_everything.source_dead_letters_url, WaitTimeSeconds=5)["Messages"]
    assert dead["Body"] == "payload"


def test_the_bucket_refuses_plain_http(localstack: LocalStack, messaging: Messaging) -> None:
    policy = json.loads(localstack.client("s3").get_bucket_policy(Bucket=messaging.destination_bucket)["Policy"])

    (statement,) = policy["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert set(statement["Resource"]) == {
        f"arn:aws:s3:::{messaging.destination_bucket}",
        f"arn:aws:s3:::{messaging.destination_bucket}/*",
    }


def test_s3_accepts_the_lifecycle_rules(localstack: LocalStack, messaging: Messaging) -> None:
    """LocalStack's CloudFormation leaves them out, so they go to its S3 in the API's own form."""
    template = load_template(MESSAGING)
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    rules_given = template["Resources"]["DestinationBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    (expire,) = (rule for rule in rules_given if "Fn::If" in rule)
    abort, *below = (rule for rule in rules_given if "Fn::If" not in rule)
    days = defaults[abort["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]["Ref"]]
    kept = defaults[expire["Fn::If"][1]["ExpirationInDays"]["Ref"]]
    s3 = localstack.client("s3")
    rules = [
        {"ID": "a", "Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}},
        {"ID": "b", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": kept}},
        *(
            {
                "ID": rule["Prefix"],
                "Status": "Enabled",
                "Filter": {"Prefix": rule["Prefix"]},
                "Expiration": {
                    "Days": days if isinstance(rule["ExpirationInDays"], dict) else rule["ExpirationInDays"]
                },
            }
            for rule in below
        ),
    ]

    s3.put_bucket_lifecycle_configuration(Bucket=messaging.destination_bucket, LifecycleConfiguration={"Rules": rules})

    found = s3.get_bucket_lifecycle_configuration(Bucket=messaging.destination_bucket)["Rules"]
    assert {rule["ID"]: rule.get("AbortIncompleteMultipartUpload", rule.get("Expiration")) for rule in found} == {
        "a": {"DaysAfterInitiation": 2},
        "b": {"Days": 7},
        "archiver-hand-backs/": {"Days": 15},
        "archiver-checkpoints/": {"Days": 15},
        "archiver-crew/": {"Days": 2},
    }


def test_the_deployed_task_role_allows_what_the_template_says(localstack: LocalStack, messaging: Messaging) -> None:
    found = statements(localstack, messaging.task_role_arn)

    actions = {action for statement in found for action in as_list(statement["Action"])}
    assert actions == allowed_actions(load_template(MESSAGING), "TaskRole", conditions=["HasCrew"])
    resources = {resource for statement in found for resource in as_list(statement["Resource"])}
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{messaging.name}"
    assert resources == {
        f"arn:aws:s3:::{messaging.source_bucket}",
        f"arn:aws:s3:::{messaging.source_bucket}/*",
        f"arn:aws:s3:::{messaging.destination_bucket}",
        f"arn:aws:s3:::{messaging.destination_bucket}/*",
        f"arn:aws:s3:::{messaging.destination_bucket}/archiver-crew/*",
        f"{queue}-crew",
        f"{queue}-input",
        f"{queue}-input-dlq",
        f"{queue}-output",
        f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/{messaging.name}/*",
    }


def test_options_reach_the_task_role(localstack: LocalStack, with_everything: Messaging) -> None:
    found = {
        statement["Sid"] + str(number): statement
        for number, statement in enumerate(statements(localstack, with_everything.task_role_arn))
    }

    def resources(action: str) -> set[str]:
        return {
            resource
            for statement in found.values()
            if action in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
        }

    assert {"arn:aws:s3:::second/*", "arn:aws:s3:::third/*"} <= resources("s3:GetObjectVersion")
    assert {"arn:aws:s3:::second", "arn:aws:s3:::third"} <= resources("s3:ListBucket")
    assert {"arn:aws:s3:::payloads/*", "arn:aws:s3:::more/*"} <= resources("s3:GetObject")
    exports = {"arn:aws:s3:::exports/*", "arn:aws:s3:::backups/*"}
    assert resources("s3:PutObjectTagging") == {f"arn:aws:s3:::{with_everything.destination_bucket}/*", *exports}
    assert {"arn:aws:s3:::exports", "arn:aws:s3:::backups"} <= resources("s3:ListBucketMultipartUploads")

    def keys(*names: str) -> set[str]:
        return {f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{name}" for name in names}

    assert resources("kms:GenerateDataKey") == keys("archives", "exports")
    assert resources("kms:Decrypt") == keys("archives", "exports", "sources")
    assert resources("sns:Publish") == {f"arn:aws:sns:us-east-1:{ACCOUNT}:watch*"}
    assert resources("sqs:CreateQueue") == {f"arn:aws:sqs:us-east-1:{ACCOUNT}:watch*"}


def test_a_key_of_ones_own_encrypts_the_queues(localstack: LocalStack, with_everything: Messaging) -> None:
    for url in (with_everything.source_queue_url, with_everything.crew_queue_url):
        found = attributes(localstack, url)
        assert found["KmsMasterKeyId"] == f"arn:aws:kms:us-east-1:{ACCOUNT}:key/archives"


def test_the_secret_is_for_the_execution_role_alone(localstack: LocalStack, with_everything: Messaging) -> None:
    secret = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:flower"

    for role, expected in ((with_everything.execution_role_arn, [secret]), (with_everything.task_role_arn, [])):
        found = [
            statement["Resource"]
            for statement in statements(localstack, role)
            if statement["Action"] == "secretsmanager:GetSecretValue"
        ]
        assert found == expected


def test_alarms_watch_the_right_queues(localstack: LocalStack, messaging: Messaging) -> None:
    found = alarms(localstack, messaging.name)

    watched = {
        name: (alarm["MetricName"], alarm["Dimensions"][0]["Value"].removeprefix(messaging.name), alarm["Threshold"])
        for name, alarm in found.items()
        if "MetricName" in alarm
    }
    assert watched == {
        "input-dlq-not-empty": ("ApproximateNumberOfMessagesVisible", "-input-dlq", 0),
        "output-dlq-not-empty": ("ApproximateNumberOfMessagesVisible", "-output-dlq", 0),
        "input-waits": ("ApproximateAgeOfOldestMessage", "-input", 1800),
        "output-waits": ("ApproximateAgeOfOldestMessage", "-output", 1800),
    }
    assert set(found) - set(watched) == {"nobody-works", "jobs-fail", "workers-crash", "outage"}
    assert all(alarm["AlarmActions"] == [] for alarm in found.values())


def test_an_address_gets_all_alarms(localstack: LocalStack, with_everything: Messaging) -> None:
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:{with_everything.name}-alarms"

    subscriptions = localstack.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]

    assert [subscription["Endpoint"] for subscription in subscriptions] == ["operators@example.com"]
    found = alarms(localstack, with_everything.name)
    assert len(found) == 8
    assert all(alarm["AlarmActions"] == alarm["OKActions"] == [topic] for alarm in found.values())
    assert found["input-waits"]["Threshold"] == 600


def test_a_failed_stack_says_why(localstack: LocalStack) -> None:
    """A queue of that name with other attributes exists already."""
    name = unique()
    localstack.client("sqs").create_queue(QueueName=f"{name}-input", Attributes={"VisibilityTimeout": "1"})

    with pytest.raises(DeploymentError, match="SourceQueue"):
        deploy_messaging(localstack.client("cloudformation"), name=name, source_bucket="any")
