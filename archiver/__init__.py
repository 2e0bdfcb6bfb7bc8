"""Builds ZIP archives of S3 objects from SQS messages.

The way of the data:

    SQS message -> transport -> task -> request -> resolve -> layout -> plan -> assemble -> link -> notify -> ack

``archiver.app`` is the Celery app, made when first asked for: ``from archiver.client import ...`` in another
service imports neither it nor its settings.
"""

from typing import TYPE_CHECKING, Any

from archiver.version import __version__

if TYPE_CHECKING:
    from archiver.celery import app

__all__ = ["__version__", "app"]


def __getattr__(name: str) -> Any:
    if name == "app":
        from archiver.celery import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
