"""The trace that a message belongs to: W3C Trace Context, as message attributes of the names of its HTTP headers.

Source: W3C Recommendation "Trace Context", sections 3.2 (traceparent) and 3.3 (tracestate).
"""

import re
from collections.abc import Mapping
from typing import Any

PARENT = "traceparent"
STATE = "tracestate"
NAMES = (PARENT, STATE)
#: Longest tracestate that is carried on, in characters; the Recommendation asks for as many.
MAX_STATE_CHARACTERS = 512

_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-[\x20-\x7e]*)?")
_STATE = re.compile(rf"[\x20-\x7e]{{1,{MAX_STATE_CHARACTERS}}}")
#: Longest traceparent that is looked at, in characters: later versions may be longer than the first one's 55.
_MAX_PARENT_CHARACTERS = 256


def checked(parent: object, state: object = None) -> dict[str, str]:
    """The context that comes from outside, as message attributes; empty where ``parent`` is none or a bad one.

    A later version's is carried on as the first version's, since that is what is understood of it. A bad ``state`` is
    left out.
    """
    if not isinstance(parent, str) or len(parent) > _MAX_PARENT_CHARACTERS:
        return {}
    match = _PARENT.fullmatch(parent.strip(" \t"))
    if match is None or (match[1] == "00" and match[3] is not None):
        return {}
    context = {PARENT: f"00-{match[2]}"}
    if isinstance(state, str) and _STATE.fullmatch(state):
        context[STATE] = state
    return context


def checked_from(headers: Mapping[str, object]) -> dict[str, str]:
    """The same of a mapping that may have both under their names."""
    return checked(headers.get(PARENT), headers.get(STATE))


def current(context: Any = None) -> dict[str, str]:
    """The message attributes of the caller's own span, or of that in a ``context`` of OpenTelemetry's.

    Empty without a span, and where OpenTelemetry's API is not installed.
    """
    try:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        return {}
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, context)
    return checked_from(carrier)
