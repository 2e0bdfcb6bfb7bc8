"""Deploys the repository's first CloudFormation stack, so that tests run on the infrastructure that production has.

A stack that reached CREATE_COMPLETE on an emulator proves little: callers assert on the resources themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import WaiterError

from devtools.localstack import CHECKOUT
from devtools.stack import Names, Stack

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

#: Queues, bucket, roles and alarms.
MESSAGING = CHECKOUT / "deploy" / "cloudformation" / "messaging.yaml"
#: ECS: cluster, service, scaling.
SERVICE = MESSAGING.with_name("service.yaml")


class DeploymentError(Exception):
    """A stack could not be created; the message lists what failed and why."""


@dataclass(frozen=True, slots=True)
class Messaging:
    """What the first stack made, as the outside needs it."""

    name: str
    source_bucket: str
    destination_bucket: str
    source_queue_url: str
    source_dead_letters_url: str
    destination_queue_url: str
    destination_dead_letters_url: str
    crew_queue_url: str
    task_role_arn: str
    execution_role_arn: str
    visibility_timeout_seconds: int

    @property
    def stack(self) -> Stack:
        """The same as hand-made resources are described, for tests that do not care who made theirs."""
        queues = (f"{self.name}-input", f"{self.name}-output", f"{self.name}-crew")
        return Stack(
            names=Names(self.source_bucket, self.destination_bucket, *queues),
            input_url=self.source_queue_url,
            input_dlq_url=self.source_dead_letters_url,
            output_url=self.destination_queue_url,
            output_dlq_url=self.destination_dead_letters_url,
            crew_url=self.crew_queue_url,
        )


def deploy_messaging(
    cloudformation: CloudFormationClient, *, name: str, source_bucket: str, parameters: dict[str, str] | None = None
) -> Messaging:
    """Create the stack ``name`` from ``messaging.yaml`` and wait for it (two minutes at most).

    ``name`` also prefixes the queues; ``source_bucket`` must exist; ``parameters`` overrides the template's defaults,
    by parameter name. Raises ``DeploymentError`` with the failed resources.
    """
    values = {"Name": name, "SourceBucket": source_bucket, **(parameters or {})}
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=MESSAGING.read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Capabilities=["CAPABILITY_IAM"],
        OnFailure="DO_NOTHING",
    )
    try:
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )
    except WaiterError as error:
        raise DeploymentError(f"stack {name}: {_failures(cloudformation, name) or error}") from error
    stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return Messaging(
        name=name,
        source_bucket=outputs["SourceBucketName"],
        destination_bucket=outputs["DestinationBucketName"],
        source_queue_url=outputs["SourceQueueUrl"],
        source_dead_letters_url=outputs["SourceDeadLettersUrl"],
        destination_queue_url=outputs["DestinationQueueUrl"],
        destination_dead_letters_url=outputs["DestinationDeadLettersUrl"],
        crew_queue_url=outputs["CrewQueueUrl"],
        task_role_arn=outputs["TaskRoleArn"],
        execution_role_arn=outputs["ExecutionRoleArn"],
        visibility_timeout_seconds=int(outputs["VisibilityTimeoutSeconds"]),
    )


def _failures(cloudformation: CloudFormationClient, name: str) -> str:
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    return "; ".join(
        f"{event.get('LogicalResourceId')}: {event.get('ResourceStatusReason')}"
        for event in events
        if event.get("ResourceStatus", "").endswith("FAILED")
    )
