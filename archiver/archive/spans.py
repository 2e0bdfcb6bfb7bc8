"""What a job is traced by: the port that its steps are told to, and a tracer that listens to nothing.

A span is a step of a job with its begin, its end and what it tells of itself. ``archiver.tracing`` has the real ones;
names and attributes of all spans are in docs/operations.md.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

#: What an attribute may be; None is none.
Value = str | int | float | bool | None
Attributes = Mapping[str, Value]
#: A consumer takes a message, a producer sends one; other steps are internal.
Kind = Literal["internal", "consumer", "producer"]


class Span(Protocol):
    """A step under way. Safe to use from any thread; never raises."""

    def tell(self, attributes: Attributes) -> None:
        """Add attributes, or change them."""
        ...

    def fail(self, code: str, reason: str) -> None:
        """The step failed; what is told here counts more than the exception that ends it."""
        ...

    @property
    def context(self) -> Mapping[str, str]:
        """Message attributes by which a receiver goes on with the trace; empty where there is none."""
        ...


class Tracer(Protocol):
    """Opens spans. What is opened while a span is open, in a job's threads as well, lies below it."""

    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = "internal",
        parent: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[Span]:
        """A span for the length of the block. An exception that leaves the block fails it, with its code.

        ``parent`` are the trace context's message attributes of a received message, where it has any.
        """
        ...


class Unheard:
    """A span that nobody listens to."""

    context: Mapping[str, str] = {}

    def tell(self, attributes: Attributes) -> None:
        """Nobody listens."""

    def fail(self, code: str, reason: str) -> None:
        """Nobody listens."""


class Untraced:
    """The tracer of jobs that nobody traces."""

    @contextmanager
    def span(
        self,
        name: str,  # noqa: ARG002 the port's
        attributes: Attributes | None = None,  # noqa: ARG002 the port's
        *,
        kind: Kind = "internal",  # noqa: ARG002 the port's
        parent: Mapping[str, str] | None = None,  # noqa: ARG002 the port's
    ) -> Iterator[Span]:
        """A span that nobody listens to."""
        yield UNHEARD


UNHEARD = Unheard()
UNTRACED = Untraced()
