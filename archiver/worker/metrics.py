"""Metrics of one attempt in CloudWatch's embedded metric format: a log line that CloudWatch Logs turns into metrics.

No agent and no right beyond the log's own. The dimensions are few, since each combination of a metric and a dimension's
value is billed as a metric: every figure by ``Outcome`` (succeeded, failed, cancelled, retried), and the number of
attempts that did not succeed by ``Code`` as well.

Source: CloudWatch User Guide, embedded metric format specification.
"""

from collections.abc import Mapping
from typing import Any

#: Metric names and their units.
UNITS = {
    "Attempts": "Count",
    "SecondsQueued": "Seconds",
    "SecondsWorked": "Seconds",
    "BytesRead": "Bytes",
    "BytesCopied": "Bytes",
    "BytesUploaded": "Bytes",
    "Files": "Count",
    "Parts": "Count",
    "Requests": "Count",
}


def embedded(
    figures: Mapping[str, float], *, namespace: str, outcome: str, code: str | None, milliseconds: int
) -> dict[str, Any]:
    """The members of the log line. ``figures`` has names of ``UNITS``; ``milliseconds`` since the epoch is its time."""
    directives = [_directive(namespace, "Outcome", figures)]
    members: dict[str, Any] = {"Outcome": outcome, **figures}
    if code is not None:
        directives.append(_directive(namespace, "Code", {"Attempts": 1}))
        members["Code"] = code
    return {"_aws": {"Timestamp": milliseconds, "CloudWatchMetrics": directives}, **members}


def _directive(namespace: str, dimension: str, figures: Mapping[str, float]) -> dict[str, Any]:
    metrics = [{"Name": name, "Unit": UNITS[name]} for name in figures]
    return {"Namespace": namespace, "Dimensions": [[dimension]], "Metrics": metrics}
