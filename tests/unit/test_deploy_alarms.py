"""The dashboard and the alarms speak of metrics, outcomes and codes that the worker writes."""

import json
import re
from typing import Any

import pytest

from archiver import errors
from archiver.worker.metrics import UNITS
from devtools.cloudformation import MESSAGING, SERVICE
from tests.support.policies import load_template

ALARMS = {
    name: resource["Properties"]
    for name, resource in load_template(MESSAGING)["Resources"].items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}
OURS = {"Fn::Sub": "Archiver/${Name}"}
OUTCOMES = {"succeeded", "failed", "cancelled", "retried"}
CODES = {value.code for value in vars(errors).values() if isinstance(value, type) and hasattr(value, "code")} | {
    "unexpected_error"
}


def metrics() -> list[dict[str, Any]]:
    found = [metric["MetricStat"]["Metric"] for alarm in ALARMS.values() for metric in alarm.get("Metrics", [])[:-1]]
    return [metric for metric in found if metric["Namespace"] == OURS]


def test_alarms_read_what_the_worker_writes() -> None:
    assert metrics()
    for metric in metrics():
        assert metric["MetricName"] in UNITS
        (dimension,) = metric["Dimensions"]
        assert dimension["Value"] in {"Outcome": OUTCOMES, "Code": CODES}[dimension["Name"]]


def test_the_worker_writes_where_alarms_read() -> None:
    (container,) = load_template(SERVICE)["Resources"]["TaskDefinition"]["Properties"]["ContainerDefinitions"]
    environment = {item["Name"]: item["Value"] for item in container["Environment"] if "Name" in item}
    assert (environment["METRICS"], environment["METRICS_NAMESPACE"]) == ("emf", OURS)


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_each_alarm_reaches_somebody_and_tells_when_it_ends(name: str) -> None:
    assert ALARMS[name]["AlarmActions"] == ALARMS[name]["OKActions"]
    assert "HasTopic" in str(ALARMS[name]["AlarmActions"])
    assert "docs/operations.md" in ALARMS[name]["AlarmDescription"]


def test_an_expression_names_the_metrics_beside_it() -> None:
    for alarm in ALARMS.values():
        for metric in alarm.get("Metrics", []):
            if "Expression" in metric:
                ids = {other["Id"] for other in alarm["Metrics"]} - {metric["Id"]}
                named = set(re.findall(r"\b[a-z][a-z_]+\b", metric["Expression"]))
                assert named == ids


def test_the_dashboard_is_json_about_metrics_that_there_are() -> None:
    body = load_template(SERVICE)["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(body.replace("${Name}", "archiver").replace("${AWS::Region}", "eu-central-1"))["widgets"]
    assert "${" not in json.dumps(widgets)
    ours = [
        line
        for widget in widgets
        for line in widget["properties"]["metrics"]
        if isinstance(line[0], str) and line[0] == "Archiver/archiver"
    ]
    assert {line[1] for line in ours} <= set(UNITS)
    assert {line[3] for line in ours} <= OUTCOMES
    # no two widgets on one another
    places = {(widget["x"], widget["y"]) for widget in widgets}
    assert len(places) == len(widgets)
