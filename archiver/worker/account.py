"""What one attempt took: seconds, bytes, files. Its end is told in the log, to its span, and as
metrics where they are asked for."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from archiver.archive.spans import UNHEARD, Span
from archiver.archive.traffic import Traffic
from archiver.errors import Cancelled, ProcessLost
from archiver.logs import get_logger
from archiver.settings import Settings
from archiver.worker.metrics import embedded

log = get_logger(__name__)


def open_account(settings: Settings, *, sent_at: float, first: bool, span: Span = UNHEARD) -> "Account":
    """The account of an attempt that begins now."""
    return Account(sent_at, first, settings.metrics_namespace if settings.metrics == "emf" else None, span=span)


def process_lost(settings: Settings) -> None:
    """An attempt whose process died with its account."""
    open_account(settings, sent_at=time.time(), first=False).failed(ProcessLost.code, permanent=False)


@dataclass(slots=True)
class Account:
    """The account of one attempt, opened when it begins.

    ``sent_at`` in seconds since the epoch; ``first``: no earlier delivery of the message has waited, too.
    ``namespace`` is that of the metrics, None for none. ``span`` is the attempt's. ``archive`` is what the job has come
    to; ``given_up`` says of a failure that there is no attempt left.
    """

    sent_at: float
    first: bool
    namespace: str | None = None
    clock: Callable[[], float] = time.time
    traffic: Traffic = field(default_factory=Traffic)
    archive: dict[str, Any] = field(default_factory=dict)
    given_up: bool = False
    span: Span = UNHEARD
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.span.tell({"archiver.seconds_waited": self.seconds_waited})

    @property
    def seconds_waited(self) -> float:
        """Between sending and the attempt's begin, earlier attempts included; clocks that differ make it no less."""
        return round(max(0.0, self.began - self.sent_at), 3)

    def took(self) -> dict[str, Any]:
        """Seconds since the begin, and bytes."""
        return {
            "seconds": round(max(0.0, self.clock() - self.began), 3),
            "bytes_read": self.traffic.bytes_read,
            "bytes_copied": self.traffic.bytes_copied,
            "bytes_uploaded": self.traffic.bytes_uploaded,
        }

    def succeeded(self) -> None:
        """The job is done."""
        self._publish("succeeded", None)

    def failed(self, code: str, *, permanent: bool, reason: str = "") -> None:
        """The attempt failed: for good, or to be made again."""
        self.span.fail(code, reason)
        if permanent or self.given_up:
            self._publish("cancelled" if code == Cancelled.code else "failed", code)
        else:
            self._publish("retried", code)

    def _publish(self, outcome: str, code: str | None) -> None:
        took = self.took()
        parts = self.traffic.uploads + self.traffic.copies
        self.span.tell(
            {
                "archiver.outcome": outcome,
                **{f"archiver.{name}": value for name, value in took.items() if name != "seconds"},
                "archiver.files": self.archive.get("files", 0),
                "archiver.parts": parts,
            }
        )
        if self.namespace is None:
            return
        figures = {
            "Attempts": 1,
            "SecondsWorked": took["seconds"],
            "BytesRead": took["bytes_read"],
            "BytesCopied": took["bytes_copied"],
            "BytesUploaded": took["bytes_uploaded"],
            "Files": self.archive.get("files", 0),
            "Parts": parts,
            "Requests": self.traffic.requests,
        }
        if self.first:
            figures["SecondsQueued"] = self.seconds_waited
        members = embedded(
            figures, namespace=self.namespace, outcome=outcome, code=code, milliseconds=int(self.clock() * 1000)
        )
        log.info("attempt ended", **members)
