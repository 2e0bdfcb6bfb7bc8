"""What the stacks have in common may change: CloudFormation refuses to change an export that another stack imports."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]  # it ships no types

from devtools.cloudformation import MESSAGING, SERVICE
from tests.support.policies import load_template

FIRST = load_template(MESSAGING)
SECOND = load_template(SERVICE)

#: Who the deployment is. Another name is another deployment, with queues of its own; docs/operations.md says so.
FIXED = {"Name"}


def parameters_behind(value: Any) -> set[str]:
    """Every parameter whose change would change what ``value`` evaluates to."""
    found: set[str] = set()
    for kind, name in references(value):
        if kind == "condition":
            found |= parameters_behind(FIRST["Conditions"][name])
        elif name in FIRST["Parameters"]:
            found.add(name)
        elif name in FIRST["Resources"]:
            found |= parameters_behind_the_identity_of(FIRST["Resources"][name])
    return found


def references(value: Any) -> Iterator[tuple[str, str]]:
    """("name", ...) for what Ref, GetAtt and Sub name, ("condition", ...) for what decides."""
    match value:
        case {"Ref": str() as name}:
            yield "name", name
        case {"Condition": str() as name}:
            yield "condition", name
        case {"Fn::GetAtt": [str() as name, *_]}:
            yield "name", name
        case {"Fn::Sub": str() as text}:
            for name in re.findall(r"\$\{(\w+)[.\w]*\}", text):
                yield "name", name
        case {"Fn::If": [str() as condition, *branches]}:
            yield "condition", condition
            for branch in branches:
                yield from references(branch)
        case dict():
            for inner in value.values():
                yield from references(inner)
        case list():
            for inner in value:
                yield from references(inner)


@cache
def lasting_properties(kind: str) -> list[str]:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    return [pointer.split("/")[2] for pointer in schema.get("createOnlyProperties", [])]


def parameters_behind_the_identity_of(resource: dict[str, Any]) -> set[str]:
    """A resource is made anew, under another name, where a property changes that can't be changed in place."""
    found = parameters_behind({"Condition": resource["Condition"]}) if "Condition" in resource else set()
    for name in lasting_properties(resource["Type"]):
        found |= parameters_behind(resource["Properties"].get(name))
    return found


def exports() -> dict[str, dict[str, Any]]:
    """The first stack's exported outputs, by the name that the second imports them under."""
    return {
        output["Export"]["Name"]["Fn::Sub"].removeprefix("${AWS::StackName}-"): output
        for output in FIRST["Outputs"].values()
        if "Export" in output
    }


def imports() -> set[str]:
    return set(re.findall(r"\$\{MessagingStack\}-(\w+)", SERVICE.read_text(encoding="utf-8")))


def test_the_service_imports_only_what_the_messaging_stack_exports() -> None:
    assert imports()
    assert imports() <= set(exports())


@pytest.mark.parametrize("parameter", sorted(set(FIRST["Parameters"]) - FIXED))
def test_a_change_of_a_parameter_changes_no_export(parameter: str) -> None:
    changed = set()
    for name, output in exports().items():
        decided_by = parameters_behind(output["Value"])
        if "Condition" in output:
            decided_by |= parameters_behind({"Condition": output["Condition"]})
        if parameter in decided_by:
            changed.add(name)

    assert changed == set()


def test_the_walk_sees_values_conditions_and_names() -> None:
    # a value, one behind a condition, one whose resource gets another name, and one that is the resource's for good
    assert parameters_behind({"Ref": "SourceBucket"}) == {"SourceBucket"}
    assert parameters_behind({"Fn::If": ["Monitored", "1", "0"]}) == {"Monitoring"}
    assert parameters_behind({"Ref": "SourceQueue"}) == {"Name"}
    assert parameters_behind({"Ref": "CrewPolicy"}) == {"Crew"}
    assert parameters_behind({"Fn::GetAtt": ["DestinationBucket", "Arn"]}) == set()
    assert parameters_behind({"Fn::Sub": "https://${Distribution.DomainName}"}) == {"CreateDistribution"}


# ---- what both stacks are told, by one file of parameters ----


@pytest.mark.parametrize("parameter", sorted(set(FIRST["Parameters"]) & set(SECOND["Parameters"])))
def test_a_parameter_of_both_stacks_means_the_same_in_both(parameter: str) -> None:
    rules = ("Type", "Default", "AllowedValues", "AllowedPattern", "MinLength", "MinValue", "MaxValue")
    first, second = FIRST["Parameters"][parameter], SECOND["Parameters"][parameter]

    assert {rule: first.get(rule) for rule in rules} == {rule: second.get(rule) for rule in rules}


def test_a_change_of_monitoring_or_of_the_source_bucket_reaches_the_worker() -> None:
    shared = set(FIRST["Parameters"]) & set(SECOND["Parameters"])

    assert shared == {
        "Name",
        "SourceBucket",
        "VisibilityTimeoutSeconds",
        "DestinationTopicArn",
        "Crew",
        "Monitoring",
        "MonitoringPrefix",
        "FlowerSecretArn",
    }
