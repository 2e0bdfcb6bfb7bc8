"""Builds ZIP archives of S3 objects from SQS messages.

The way of the data, and the folder of each step:

    SQS message -> poll, decode -> task -> request -> resolve -> plan -> build -> link, notify -> ack
                   worker          tasks   archive ------------------>  aws                      worker

Each folder is a room with one rule:

zipformat   the bytes of a ZIP archive: standard library only
archive     a job from its payload to its notification: no SDK; S3 is asked through the ports of ``storage``
aws         S3 and SQS through boto3, with timeouts, retries and throttling: no Celery
worker      Celery on SQS: polling, back-off, heartbeat, drain, liveness
monitoring  Flower and remote control, on SNS and SQS; loaded where MONITORING=1
cli         the command ``archiver``

Beside them: ``client`` sends payloads from other services and needs boto3 and pydantic alone; ``wiring`` makes the
collaborators of a job; ``settings`` is the sole reader of the environment; the type of an error in ``errors`` decides
what happens to the message; ``celery`` is the app. The tasks and ``celeryconfig`` are outside of the package.

``archiver.app`` is made when first asked for: whoever imports ``archiver.client`` imports neither Celery nor settings.
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
