"""The trace that comes along with a message is looked at at the door."""

import sys

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from archiver import trace_context
from archiver.trace_context import checked, checked_from

IDS = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
GOOD = f"00-{IDS}-01"


@pytest.mark.parametrize("given", [GOOD, f" {GOOD}\t", f"cc-{IDS}-01", f"cc-{IDS}-01-what-comes-later"])
def test_a_good_one_is_carried_on_as_the_first_version(given: str) -> None:
    assert checked(given) == {"traceparent": GOOD}


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        GOOD.upper(),
        f"{GOOD}-more",
        f"{GOOD}\n",
        f"ff-{IDS}-01",
        f"00-{IDS}-0",
        f"00-{IDS}-zz",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        f"00-{IDS}-01\r\nX-Forged: 1",
        f"cc-{IDS}-01-{'x' * 1_000}",
        "٠" * 55,
        7,
        None,
        {"a": 1},
        GOOD.encode(),
    ],
    ids=range(17),
)
def test_a_bad_one_is_none(given: object) -> None:
    assert checked(given, "vendor=1") == {}


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("a=1,b@c=2", True),
        ("x" * 512, True),
        ("x" * 513, False),
        ("a=1\n", False),
        ("ü=1", False),
        ("", False),
        (7, False),
    ],
)
def test_a_state_is_kept_where_it_is_one(state: object, kept: bool) -> None:
    assert checked(GOOD, state) == {"traceparent": GOOD} | ({"tracestate": state} if kept else {})
    assert checked_from({"traceparent": GOOD, "tracestate": state}) == checked(GOOD, state)


def test_the_callers_own_span_is_the_current_one() -> None:
    assert trace_context.current() == {}
    context = SpanContext(
        int(IDS[:32], 16), int(IDS[33:], 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    with trace.use_span(NonRecordingSpan(context)):
        assert trace_context.current() == {"traceparent": GOOD}


def test_without_the_api_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace.propagation.tracecontext", None)

    assert trace_context.current() == {}
