"""What the templates allow, beside what the program asked for.

A server's request log names API operations; IAM allows actions. The names differ where S3 lets one action cover
several operations, and where an operation needs two actions (Service Authorization Reference, "Actions, resources,
and condition keys for Amazon S3 / SQS / SNS").
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Template = dict[str, Any]

#: Operations whose IAM actions are called otherwise, or are more than one. In every other case the names are equal.
IAM_ACTIONS: Mapping[str, frozenset[str]] = {
    "s3.HeadObject": frozenset({"s3:GetObject"}),
    "s3.GetObjectAttributes": frozenset({"s3:GetObject", "s3:GetObjectAttributes"}),
    "s3.HeadBucket": frozenset({"s3:ListBucket"}),
    "s3.ListObjects": frozenset({"s3:ListBucket"}),
    "s3.ListObjectsV2": frozenset({"s3:ListBucket"}),
    "s3.CreateMultipartUpload": frozenset({"s3:PutObject"}),
    "s3.UploadPart": frozenset({"s3:PutObject"}),
    "s3.CompleteMultipartUpload": frozenset({"s3:PutObject"}),
    "s3.UploadPartCopy": frozenset({"s3:GetObject", "s3:PutObject"}),
    "s3.CopyObject": frozenset({"s3:GetObject", "s3:PutObject"}),
    "s3.DeleteObjects": frozenset({"s3:DeleteObject"}),
    "s3.ListParts": frozenset({"s3:ListMultipartUploadParts"}),
    "s3.ListMultipartUploads": frozenset({"s3:ListBucketMultipartUploads"}),
    "s3.GetBucketLifecycleConfiguration": frozenset({"s3:GetLifecycleConfiguration"}),
    "s3.GET ?lifecycle": frozenset({"s3:GetLifecycleConfiguration"}),  # as the proxy calls it
    "sqs.SendMessageBatch": frozenset({"sqs:SendMessage"}),
    "sqs.DeleteMessageBatch": frozenset({"sqs:DeleteMessage"}),
    "sqs.ChangeMessageVisibilityBatch": frozenset({"sqs:ChangeMessageVisibility"}),
    "sns.PublishBatch": frozenset({"sns:Publish"}),
    "sts.GetCallerIdentity": frozenset(),  # nobody can be denied it
}

#: Actions that a request log can't show to be in use, each with its reason.
UNSEEN: Mapping[str, str] = {
    "s3:GetObjectVersion": "HeadObject, GetObject and UploadPartCopy with a version id are logged as those without",
    "s3:PutObjectTagging": "CreateMultipartUpload with tags is logged as that without",
    "ecs:UpdateTaskProtection": "ECS's agent asks with the task's role; LocalStack has no agent",
    "s3:GetObjectVersionAttributes": "GetObjectAttributes with a version id is logged as that without",
}

_LOGGED = re.compile(r"\bAWS (?P<operation>[a-z0-9-]+\.[A-Za-z0-9]+) => (?P<status>\d{3})")


def operations_in(log: str) -> frozenset[str]:
    """The ``service.Operation`` names of LocalStack's log, whatever their answers were."""
    return frozenset(match["operation"] for match in _LOGGED.finditer(log))


def actions_for(operations: Iterable[str]) -> frozenset[str]:
    """The IAM actions that a caller of these operations needs."""
    needed: set[str] = set()
    for operation in operations:
        needed |= IAM_ACTIONS.get(operation, {operation.replace(".", ":", 1)})
    return frozenset(needed)


@cache
def load_template(path: Path) -> Template:
    """A CloudFormation template with its short forms (``!Ref``) written out (``{"Ref": ...}``): one for all to read."""
    template: Template = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    return template


def allowed_actions(template: Template, role: str, *, conditions: Iterable[str] = ()) -> frozenset[str]:
    """The actions of a role or of a managed policy, by its logical id, where the conditions hold that are named."""
    return frozenset(grants(template, role, conditions=conditions))


def grants(template: Template, role: str, *, conditions: Iterable[str] = ()) -> dict[str, frozenset[str]]:
    """Each action of a role with the resources that it is allowed on, in the template's own words."""
    found: dict[str, set[str]] = {}
    for statement in _statements(template, role, frozenset(conditions)):
        assert statement["Effect"] == "Allow", statement
        for action in _list(statement["Action"]):
            found.setdefault(action, set()).update(_words(resource) for resource in _list(statement["Resource"]))
    return {action: frozenset(resources) for action, resources in found.items()}


def _statements(template: Template, role: str, conditions: frozenset[str]) -> Iterable[dict[str, Any]]:
    resources = template["Resources"]
    for policy in resources[role]["Properties"].get("Policies", []):
        yield from policy["PolicyDocument"]["Statement"]
    for resource in resources.values():
        # A managed policy that is attached to no role is for people: then ``role`` is the policy's own id.
        if resource["Type"] not in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
            continue
        attached = {"Ref": role} in resource["Properties"].get("Roles", []) or resource is resources[role]
        if attached and resource.get("Condition", "") in {"", *conditions}:
            yield from _present(resource["Properties"]["PolicyDocument"]["Statement"], conditions)


def _present(statements: Iterable[dict[str, Any]], conditions: frozenset[str]) -> Iterable[dict[str, Any]]:
    for statement in statements:
        condition, there, _ = statement.get("Fn::If", (None, statement, None))
        if condition is None or condition in conditions:
            yield there


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _words(resource: Any) -> str:
    """A resource as one string: ``Queue.Arn`` for a GetAtt, the text of a Sub, else JSON."""
    match resource:
        case str():
            return resource
        case {"Fn::Sub": str() as text}:
            return text
        case {"Fn::GetAtt": [str() as name, str() as attribute]}:
            return f"{name}.{attribute}"
        case {"Ref": str() as name}:
            return name
        case _:
            return json.dumps(resource)


class _Loader(yaml.CSafeLoader):
    """YAML with CloudFormation's tags; libyaml's parser, which every wheel of PyYAML has, takes a tenth of the time."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)
