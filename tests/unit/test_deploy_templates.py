"""The templates: valid, in step with the program's settings, and safe by default."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archiver.aws.checkpoints import PREFIX as CHECKPOINTS
from archiver.aws.hand_backs import PREFIX as HAND_BACKS
from archiver.settings import Settings
from devtools.cloudformation import MESSAGING, SERVICE
from tests.support.policies import load_template

MESSAGING_TEMPLATE = load_template(MESSAGING)
SERVICE_TEMPLATE = load_template(SERVICE)
CHECKOUT = Path(__file__).resolve().parents[2]
OPERATIONS = CHECKOUT / "docs" / "operations.md"


def properties(template: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return found


def default(template: dict[str, Any], parameter: str) -> Any:
    return template["Parameters"][parameter]["Default"]


def container(task_definition: str) -> dict[str, Any]:
    (only,) = properties(SERVICE_TEMPLATE, task_definition)["ContainerDefinitions"]
    found: dict[str, Any] = only
    return found


def environment(task_definition: str) -> dict[str, Any]:
    """The container's variables; optional ones count as set."""
    pairs = [pair.get("Fn::If", [None, pair])[1] for pair in container(task_definition)["Environment"]]
    return {pair["Name"]: pair["Value"] for pair in pairs}


VARIABLES = environment("TaskDefinition")


@pytest.mark.parametrize("template", sorted(MESSAGING.parent.glob("*.yaml")), ids=lambda path: path.name)
def test_the_aws_cli_takes_the_template_without_a_bucket_for_it(template: Path) -> None:
    assert len(template.read_bytes()) < 51_200  # CloudFormation quotas, "Template body size in a request"


# ---- in step with the program ----


@pytest.mark.parametrize("task_definition", ["TaskDefinition", "FlowerTaskDefinition"])
def test_every_variable_is_a_setting(task_definition: str) -> None:
    known = {name.upper() for name in Settings.model_fields} | {"AWS_DEFAULT_REGION"}

    assert set(environment(task_definition)) <= known


def test_the_worker_gets_every_setting_it_requires() -> None:
    required = {name.upper() for name, field in Settings.model_fields.items() if field.is_required()}

    assert required <= set(environment("TaskDefinition"))


@pytest.mark.parametrize(
    ("template", "parameter", "setting"),
    [
        (MESSAGING_TEMPLATE, "VisibilityTimeoutSeconds", "visibility_timeout_seconds"),
        (SERVICE_TEMPLATE, "WorkerConcurrency", "worker_concurrency"),
        (SERVICE_TEMPLATE, "MemoryMib", "memory_mib"),
        (SERVICE_TEMPLATE, "SoftShutdownSeconds", "soft_shutdown_seconds"),
        (SERVICE_TEMPLATE, "FilePrefix", "s3_file_prefix"),
        (SERVICE_TEMPLATE, "LinkExpiresSeconds", "link_expires_seconds"),
        (SERVICE_TEMPLATE, "TimeZone", "timezone"),
        (SERVICE_TEMPLATE, "RequesterPays", "requester_pays"),
        (SERVICE_TEMPLATE, "NotifyFailures", "notify_failures"),
        (SERVICE_TEMPLATE, "Debug", "app_debug"),
        (SERVICE_TEMPLATE, "WorkerGibDollars", "worker_gib_dollars"),
        (SERVICE_TEMPLATE, "CrewMinBytes", "crew_min_bytes"),
        (SERVICE_TEMPLATE, "MaxAttempts", "max_attempts"),
        (SERVICE_TEMPLATE, "MaxPayloadBytes", "max_payload_bytes"),
        (SERVICE_TEMPLATE, "MaxFiles", "max_files"),
        (SERVICE_TEMPLATE, "MaxArchiveBytes", "max_archive_bytes"),
        (SERVICE_TEMPLATE, "ExtraSourceBuckets", "allowed_source_buckets"),
        (SERVICE_TEMPLATE, "ExtraDestinationBuckets", "allowed_destination_buckets"),
        (SERVICE_TEMPLATE, "DestinationPrefixes", "allowed_destination_prefixes"),
        (SERVICE_TEMPLATE, "PayloadBuckets", "payload_buckets"),
    ],
)
def test_parameters_default_to_what_the_program_does(template: dict[str, Any], parameter: str, setting: str) -> None:
    given = {setting: str(default(template, parameter))}

    settings = Settings.model_validate({"sqs_source_queue": "queue", "s3_destination_bucket": "archives", **given})

    assert getattr(settings, setting) == Settings.model_fields[setting].default
    assert {"Ref": parameter} in inside(VARIABLES[setting.upper()])


def inside(value: Any) -> Iterator[Any]:
    """Whatever a value of the template is made of."""
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(inner)


@pytest.mark.parametrize("template", [MESSAGING_TEMPLATE, SERVICE_TEMPLATE], ids=["messaging", "service"])
def test_large_numbers_are_quoted(template: dict[str, Any]) -> None:
    """CloudFormation may hand on a number of eight digits or more as 6.7108864E7, which no setting takes."""
    for name, parameter in template["Parameters"].items():
        value = parameter.get("Default")
        assert not isinstance(value, int | float) or 0.001 <= value < 1e6 or value == 0, name


def test_each_setting_has_a_parameter_or_its_reason() -> None:
    table = (
        OPERATIONS.read_text(encoding="utf-8").partition("### Settings without a parameter\n")[2].partition("\n#")[0]
    )
    without = [
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`([A-Z_0-9]+)`", row)
    ]

    assert sorted([*without, *VARIABLES]) == sorted(
        {name.upper() for name in Settings.model_fields} | {"AWS_DEFAULT_REGION"}
    )


def test_the_heartbeat_and_the_queue_agree_on_the_visibility_timeout() -> None:
    queue = properties(MESSAGING_TEMPLATE, "SourceQueue")["VisibilityTimeout"]
    worker = environment("TaskDefinition")["VISIBILITY_TIMEOUT_SECONDS"]

    assert queue == {"Ref": "VisibilityTimeoutSeconds"}
    assert worker == queue


def test_the_drain_ends_well_before_ecs_kills() -> None:
    stop_timeout = container("TaskDefinition")["StopTimeout"]
    parameter = SERVICE_TEMPLATE["Parameters"]["SoftShutdownSeconds"]

    assert stop_timeout == 120  # Fargate's maximum
    assert parameter["MaxValue"] <= stop_timeout - 15
    assert environment("TaskDefinition")["SOFT_SHUTDOWN_SECONDS"] == {"Ref": "SoftShutdownSeconds"}


def test_the_defaults_fit_into_the_tasks_memory() -> None:
    # given what the jobs of one task hold at once, as docs/operations.md sizes it
    jobs, memory = default(SERVICE_TEMPLATE, "WorkerConcurrency"), default(SERVICE_TEMPLATE, "MemoryMib")

    needed = 300 + jobs * (100 + max(memory, 2 * 21))

    # then half of the memory is left for the entries' metadata and the larger parts of huge archives
    assert needed <= default(SERVICE_TEMPLATE, "Memory") / 2


def test_archives_outlive_their_links() -> None:
    link_days = Settings.model_fields["link_expires_seconds"].default / 86_400

    assert default(MESSAGING_TEMPLATE, "ArchiveExpirationDays") >= link_days


def test_dead_letters_outlive_the_messages() -> None:
    for queue, dead_letters in (
        ("SourceQueue", "SourceDeadLetters"),
        ("DestinationQueue", "DestinationDeadLetters"),
    ):
        kept = properties(MESSAGING_TEMPLATE, dead_letters)["MessageRetentionPeriod"]
        assert kept == 14 * 86_400  # SQS's maximum
        assert properties(MESSAGING_TEMPLATE, queue)["MessageRetentionPeriod"] < kept


def test_a_payload_can_name_the_source_bucket_and_what_the_operator_adds() -> None:
    separator, (source, extra) = environment("TaskDefinition")["ALLOWED_SOURCE_BUCKETS"]["Fn::Join"]

    assert source == {"Ref": "SourceBucket"}
    assert extra == {"Fn::Join": [",", {"Ref": "ExtraSourceBuckets"}]}
    # without an extra one the list ends in a comma, which is no bucket and above all not "any"
    settings = Settings(
        sqs_source_queue="queue", s3_destination_bucket="archives", allowed_source_buckets=f"sources{separator}"
    )
    assert settings.allowed_source_buckets == ("sources",)


# ---- the bucket, which an emulator does not set up in full ----


def test_the_bucket_is_private_encrypted_and_kept() -> None:
    bucket = properties(MESSAGING_TEMPLATE, "DestinationBucket")

    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == {"Fn::If": ["HasKey", "aws:kms", "AES256"]}
    assert MESSAGING_TEMPLATE["Resources"]["DestinationBucket"]["DeletionPolicy"] == "Retain"


def test_the_lifecycle_aborts_uploads_and_expires_archives() -> None:
    rules = properties(MESSAGING_TEMPLATE, "DestinationBucket")["LifecycleConfiguration"]["Rules"]
    abort, hand_backs, checkpoints, crew, expire = rules

    assert abort["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": {"Ref": "AbortUploadsAfterDays"}}
    assert (hand_backs["Prefix"], checkpoints["Prefix"]) == (HAND_BACKS, CHECKPOINTS)
    assert hand_backs["ExpirationInDays"] > 14, "a record outlives its message"
    assert checkpoints["ExpirationInDays"] > 14, "a checkpoint outlives its message"
    assert crew["Prefix"] == Settings.model_fields["crew_prefix"].default
    assert crew["ExpirationInDays"] == {"Ref": "AbortUploadsAfterDays"}, "what is shared of an upload goes with it"
    condition, rule, otherwise = expire["Fn::If"]
    assert condition == "Expires"
    assert rule["ExpirationInDays"] == {"Ref": "ArchiveExpirationDays"}
    assert otherwise == {"Ref": "AWS::NoValue"}
    assert {abort["Status"], crew["Status"], rule["Status"]} == {"Enabled"}


# ---- the containers ----


@pytest.mark.parametrize("task_definition", ["TaskDefinition", "FlowerTaskDefinition"])
def test_containers_have_no_rights_on_their_host(task_definition: str) -> None:
    found = container(task_definition)

    assert found["ReadonlyRootFilesystem"] is True
    assert found["MountPoints"] == [{"SourceVolume": "tmp", "ContainerPath": "/tmp", "ReadOnly": False}]
    assert properties(SERVICE_TEMPLATE, task_definition)["Volumes"] == [{"Name": "tmp"}]
    user, group = found["User"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert found["LinuxParameters"] == {"Capabilities": {"Drop": ["ALL"]}}


def test_the_image_lets_its_user_write_where_fargate_mounts_the_volume() -> None:
    """Fargate mounts a volume for root alone, unless the image declares the folder."""
    dockerfile = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")

    for task_definition in ("TaskDefinition", "FlowerTaskDefinition"):
        found = container(task_definition)
        assert f"\nUSER {found['User']}\n" in dockerfile
        (mounted,) = found["MountPoints"]
        assert f'\nVOLUME ["{mounted["ContainerPath"]}"]\n' in dockerfile


def test_health_is_the_programs_own_word() -> None:
    assert container("TaskDefinition")["HealthCheck"]["Command"] == ["CMD", "archiver", "health"]


def test_nothing_comes_in_to_the_worker() -> None:
    group = properties(SERVICE_TEMPLATE, "SecurityGroup")

    assert "SecurityGroupIngress" not in group
    assert {rule["FromPort"] for rule in group["SecurityGroupEgress"]} == {443}
    assert [rule.get("CidrIp", rule.get("CidrIpv6")) for rule in group["SecurityGroupEgress"]] == ["0.0.0.0/0", "::/0"]


def test_flower_runs_only_with_a_password_and_for_nobody_by_default() -> None:
    (secret,) = container("FlowerTaskDefinition")["Secrets"]
    rule, *_ = SERVICE_TEMPLATE["Rules"]["FlowerNeedsSecretAndImage"]["Assertions"]

    assert secret == {"Name": "FLOWER_BASIC_AUTH", "ValueFrom": {"Ref": "FlowerSecretArn"}}
    assert rule["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "FlowerSecretArn"}, ""]}]}
    assert default(SERVICE_TEMPLATE, "FlowerClientCidr") == "127.0.0.1/32"
    assert default(SERVICE_TEMPLATE, "Flower") == "false"


def test_a_task_has_a_size_that_fargate_knows() -> None:
    sizes = SERVICE_TEMPLATE["Parameters"]
    rules = {
        int(rule["RuleCondition"]["Fn::Equals"][1]): rule["Assertions"][0]["Assert"]["Fn::Contains"][0]
        for name, rule in SERVICE_TEMPLATE["Rules"].items()
        if name.startswith("MemoryOf")
    }

    assert sorted(rules) == sizes["Cpu"]["AllowedValues"]
    assert {int(memory) for given in rules.values() for memory in given} == set(sizes["Memory"]["AllowedValues"])
    for cpu, given in rules.items():
        # Source: Amazon ECS Developer Guide, Fargate task size: 2 to 8 GiB a vCPU.
        vcpus = cpu / 1024
        assert all(1024 * 2 * vcpus <= int(memory) <= 1024 * 8 * vcpus for memory in given)
    assert str(default(SERVICE_TEMPLATE, "Memory")) in rules[default(SERVICE_TEMPLATE, "Cpu")]


# ---- links ----


def test_no_edge_serves_what_has_expired() -> None:
    config = properties(MESSAGING_TEMPLATE, "CachePolicy")["CachePolicyConfig"]
    behaviour = properties(MESSAGING_TEMPLATE, "Distribution")["DistributionConfig"]["DefaultCacheBehavior"]

    assert behaviour["CachePolicyId"] == {"Ref": "CachePolicy"}
    assert config["MinTTL"] == 0
    assert config["DefaultTTL"] == config["MaxTTL"] == {"Ref": "EdgeCacheSeconds"}
    assert default(MESSAGING_TEMPLATE, "EdgeCacheSeconds") == 0
    headers = properties(MESSAGING_TEMPLATE, "ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]
    (header,) = headers["CustomHeadersConfig"]["Items"]
    assert header == {"Header": "Cache-Control", "Value": "private, no-cache", "Override": True}


def test_a_domain_of_ones_own_insists_on_tls_1_2() -> None:
    condition, own, otherwise = properties(MESSAGING_TEMPLATE, "Distribution")["DistributionConfig"][
        "ViewerCertificate"
    ]["Fn::If"]

    assert condition == "HasLinkDomain"
    assert own["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert otherwise == {"CloudFrontDefaultCertificate": True}


# ---- scaling ----


def test_the_metric_counts_waiting_and_in_work_over_running_and_survives_no_task() -> None:
    policy = properties(SERVICE_TEMPLATE, "BacklogPolicy")["TargetTrackingScalingPolicyConfiguration"]
    listed = policy["CustomizedMetricSpecification"]["Metrics"]
    crew = [metric["Fn::If"] for metric in listed if "Fn::If" in metric]
    metrics = {metric["Id"]: metric for metric in listed if "Id" in metric}

    assert seen(metrics.values()) == {
        "waiting": ("ApproximateNumberOfMessagesVisible", "SourceQueueName"),
        "in_work": ("ApproximateNumberOfMessagesNotVisible", "SourceQueueName"),
        "running": ("RunningTaskCount", ""),
    }
    assert {(condition, str(otherwise)) for condition, _, otherwise in crew} == {("HasCrew", "{'Ref': 'AWS::NoValue'}")}
    assert seen(metric for _, metric, _ in crew) == {
        "chunks_waiting": ("ApproximateNumberOfMessagesVisible", "CrewQueueName"),
        "chunks_in_work": ("ApproximateNumberOfMessagesNotVisible", "CrewQueueName"),
    }
    (returned,) = [metric for metric in metrics.values() if metric["ReturnData"]]
    condition, with_crew, without = returned["Expression"]["Fn::If"]
    assert condition == "HasCrew"
    assert without == "(waiting + in_work) / IF(FILL(running, 0) < 1, 1, FILL(running, 0))"
    assert with_crew == without.replace("in_work)", "in_work + FILL(chunks_waiting, 0) / 30 + FILL(chunks_in_work, 0))")


def seen(metrics: Iterable[Any]) -> dict[str, tuple[str, str]]:
    """What CloudWatch is asked for, by id: the metric's name, and whose it is where it is a queue's."""
    found = {metric["Id"]: metric["MetricStat"]["Metric"] for metric in metrics if "MetricStat" in metric}
    return {
        name: (metric["MetricName"], "".join(re.findall(r"\$\{MessagingStack\}-(\w+)", str(metric["Dimensions"]))))
        for name, metric in found.items()
    }


def test_no_alarm_counts_the_crews_chunks() -> None:
    """They wait by the thousand and are nobody's dead letters; above all they wake no service that sleeps."""
    for template in (MESSAGING_TEMPLATE, SERVICE_TEMPLATE):
        for name, resource in template["Resources"].items():
            if resource["Type"] == "AWS::CloudWatch::Alarm":
                assert "crew" not in str(resource).lower(), name


def test_a_chunk_has_no_dead_letters_and_no_long_life() -> None:
    queue = properties(MESSAGING_TEMPLATE, "CrewQueue")

    assert "RedrivePolicy" not in queue
    assert queue["VisibilityTimeout"] == {"Ref": "VisibilityTimeoutSeconds"}
    assert queue["MessageRetentionPeriod"] == 4 * 3600
    # encrypted as the payloads are
    encryption = ("SqsManagedSseEnabled", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds")
    source = properties(MESSAGING_TEMPLATE, "SourceQueue")
    assert {name: queue[name] for name in encryption} == {name: source[name] for name in encryption}


def test_without_the_crew_the_worker_knows_no_queue_of_its() -> None:
    (variable,) = [
        pair["Fn::If"] for pair in container("TaskDefinition")["Environment"] if "SQS_CREW_QUEUE" in str(pair)
    ]

    assert (variable[0], variable[2]) == ("HasCrew", {"Ref": "AWS::NoValue"})
    assert "CrewQueueUrl" in str(variable[1])


def test_the_running_tasks_are_published() -> None:
    settings = properties(SERVICE_TEMPLATE, "Cluster")["ClusterSettings"]

    assert settings == [{"Name": "containerInsights", "Value": "enabled"}]


def test_from_zero_an_alarm_of_sqs_alone_starts_the_first_task() -> None:
    alarm = properties(SERVICE_TEMPLATE, "WakeAlarm")

    assert SERVICE_TEMPLATE["Resources"]["WakeAlarm"]["Condition"] == "FromZero"
    assert SERVICE_TEMPLATE["Resources"]["WakePolicy"]["Condition"] == "FromZero"
    assert alarm["AlarmActions"] == [{"Ref": "WakePolicy"}]
    namespaces = {metric["MetricStat"]["Metric"]["Namespace"] for metric in alarm["Metrics"] if "MetricStat" in metric}
    assert namespaces == {"AWS/SQS"}


def test_an_update_of_the_stack_does_not_reset_the_fleet() -> None:
    assert "DesiredCount" not in properties(SERVICE_TEMPLATE, "Service")


def test_new_tasks_come_before_old_ones_go() -> None:
    deployment = properties(SERVICE_TEMPLATE, "Service")["DeploymentConfiguration"]

    assert deployment["MinimumHealthyPercent"] == 100
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}


# ---- the document ----


def test_every_parameter_and_every_alarm_is_in_the_document() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    templates = (MESSAGING_TEMPLATE, SERVICE_TEMPLATE, load_template(MESSAGING.with_name("images.yaml")))
    parameters = {name for template in templates for name in template["Parameters"]}
    alarms = {
        resource["Properties"]["AlarmName"]["Fn::Sub"].replace("${Name}-", "")
        for template in (MESSAGING_TEMPLATE, SERVICE_TEMPLATE)
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }

    assert {name for name in parameters if f"`{name}`" not in text} == set()
    assert {name for name in alarms if f"{name}`" not in text} == set()
