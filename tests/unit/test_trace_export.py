"""Whether spans are exported, and what becomes of a process whose SDK can't be set up. Each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from archiver import trace_export
from archiver.trace_export import exporters
from devtools.localstack import CHECKOUT
from tests.unit.test_wiring import settings

NOWHERE = "http://127.0.0.1:9"

#: Sets up, opens a span and ends, as a process of the pool does; prints the provider's name and its resource.
SCRIPT = """
import json, sys
from archiver import logs
from archiver.settings import load_settings
from archiver.trace_export import flush, set_up_export
from archiver.tracing import open_tracer

for name in json.loads(sys.argv[1]):
    sys.modules[name] = None
logs.configure()
set_up_export(load_settings())
with open_tracer().span("job"):
    pass
flush()
if "opentelemetry.sdk.trace" in sys.modules:
    from opentelemetry import trace
    provider = trace.get_tracer_provider()
    resource = dict(provider.resource.attributes) if hasattr(provider, "resource") else {}
    print(json.dumps({name: value for name, value in resource.items() if name.startswith("service.")}))
"""


def run(*absent: str, **environment: str) -> tuple[dict[str, str] | None, list[dict[str, object]]]:
    """The resource of the process's provider, None without an SDK; and the lines of its log."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(absent)],
        cwd=CHECKOUT,
        env={"PATH": "/usr/bin:/bin", "SQS_SOURCE_QUEUE": "q", "S3_DESTINATION_BUCKET": "archives", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    printed = [line for line in ended.stdout.splitlines() if line.startswith('{"service.') or line == "{}"]
    return (json.loads(printed[-1]) if printed else None), lines


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ()),
        ({"otel_exporter_otlp_endpoint": NOWHERE}, ("otlp",)),
        ({"otel_exporter_otlp_traces_endpoint": f"{NOWHERE}/v1/traces"}, ("otlp",)),
        ({"otel_traces_exporter": "otlp"}, ("otlp",)),
        ({"otel_traces_exporter": "none", "otel_exporter_otlp_endpoint": NOWHERE}, ()),
        ({"otel_traces_exporter": " console , otlp,"}, ("console", "otlp")),
    ],
    ids=range(6),
)
def test_an_exporter_or_an_endpoint_asks_for_traces(given: dict[str, str], expected: tuple[str, ...]) -> None:
    assert exporters(settings(**given)) == expected


def test_nothing_is_set_up_where_nothing_asks_for_it() -> None:
    assert run() == (None, [])


def test_a_process_names_itself_and_a_collector_that_is_away_costs_a_line() -> None:
    resource, lines = run(OTEL_EXPORTER_OTLP_ENDPOINT=NOWHERE)
    _, impatient = run(OTEL_EXPORTER_OTLP_ENDPOINT=NOWHERE, OTEL_EXPORTER_OTLP_TIMEOUT="0.1")

    assert resource is not None
    assert resource["service.name"] == "archiver"
    assert "service.version" in resource
    assert [line["message"] for line in lines] == ["the last spans are lost: they could not be sent in time"]
    assert [line["level"] for line in impatient] == ["error"]
    assert str(impatient[0]["logger"]).startswith("opentelemetry.")


def test_the_environment_names_the_service() -> None:
    resource, _ = run(
        OTEL_EXPORTER_OTLP_ENDPOINT=NOWHERE,
        OTEL_RESOURCE_ATTRIBUTES="service.name=albums,service.version=7,service.namespace=x",
    )

    assert resource is not None
    assert resource.items() >= {"service.name": "albums", "service.version": "7", "service.namespace": "x"}.items()


def test_a_time_limit_that_strikes_meanwhile_is_not_taken_for_a_fault_of_the_sdks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a limit that strikes in the main thread while the SDK is being set up
    class Overdue(Exception):
        pass

    def strike(*_: object) -> None:
        raise Overdue

    over = threading.Event()

    def set_up(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        over.wait()

    monkeypatch.setattr(trace_export, "_set_up", set_up)
    before = signal.signal(signal.SIGUSR1, strike)
    # then the job hears of it
    try:
        with pytest.raises(Overdue):
            trace_export.set_up_export(settings(otel_traces_exporter="otlp"))
    finally:
        over.set()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("absent", "environment", "message"),
    [
        (["opentelemetry"], {"OTEL_TRACES_EXPORTER": "otlp"}, "no traces: the extra archiver[otel] is not installed"),
        (
            ["opentelemetry.sdk"],
            {"OTEL_TRACES_EXPORTER": "otlp"},
            "no traces: the extra archiver[otel] is not installed",
        ),
        ([], {"OTEL_TRACES_EXPORTER": "zipkin"}, "no traces: no such exporter is installed"),
        (
            [],
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "no traces: OTLP goes over HTTP here",
        ),
        (
            [],
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"},
            "no traces: OpenTelemetry's SDK could not be set up",
        ),
    ],
    ids=["no-api", "no-sdk", "no-such-exporter", "grpc", "bad-variable"],
)
def test_what_is_wrong_is_a_line(absent: list[str], environment: dict[str, str], message: str) -> None:
    _, lines = run(*absent, **environment)

    assert [(line["level"], line["message"]) for line in lines] == [("error", message)]


def test_the_sdk_can_be_switched_off() -> None:
    _, lines = run(OTEL_EXPORTER_OTLP_ENDPOINT=NOWHERE, OTEL_SDK_DISABLED="true")

    assert lines == []
