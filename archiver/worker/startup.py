"""What a worker needs of its machine and of its environment, and what it says when it starts."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context

from pydantic import BaseModel

from archiver.aws.clients import load_descriptions
from archiver.aws.sdk import configuration_fault
from archiver.logs import get_logger
from archiver.settings import Settings
from archiver.version import __version__
from archiver.worker.surroundings import look_around

log = get_logger(__name__)

#: What only some jobs use, each with all that it imports. A program of one job loads it where that asks for it.
OF_SOME_JOBS = (
    "archiver.archive.deflate",
    "archiver.archive.notification",
    "archiver.archive.sharing",
    "archiver.aws.board",
    "archiver.aws.crew",
    "archiver.aws.topics",
)
#: Settings that work for one more release.
DEPRECATED = ("parts_in_flight", "read_concurrency")


class Unfit(Exception):
    """Something is missing without which no worker runs; the message is one line that says what."""


def check_machine() -> None:
    """Try what Celery's pool can't do without. Raises ``Unfit`` where the root filesystem is read-only altogether."""
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise Unfit(f"no folder for temporary files can be written to: mount one at /tmp ({error})") from None
    try:
        get_context("fork").Semaphore()
    except (OSError, ImportError) as error:
        raise Unfit(f"no POSIX semaphores: /dev/shm must be a tmpfs that can be written to ({error})") from None


def check_configuration(settings: Settings) -> None:
    """Look at the SDK's own variables. Raises ``Unfit`` where no request will ever be sent with them."""
    if fault := configuration_fault(settings.sqs_source_queue, region=settings.aws_region):
        raise Unfit(fault)


def preload(settings: Settings) -> None:
    """Load before the pool forks what its jobs would load when they first use it: all processes share it then."""
    for module in OF_SOME_JOBS:
        import_module(module)
    with suppress(ImportError):
        # No more than that: a tracer would be asked for the provider, and that is each process's own.
        import_module("opentelemetry.trace")
    for model in _models(BaseModel):
        model.model_rebuild()
    load_descriptions("s3", *(["sns"] if settings.sns_destination_topic else []))


def _models(above: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The project's own of all that come of a model."""
    for model in above.__subclasses__():
        if model.__module__.startswith("archiver."):
            yield model
        yield from _models(model)


def announce_worker(settings: Settings) -> None:
    """Look at buckets, queues and the topic, then one line with the version and the settings.

    Of the settings those that are no defaults, none of which is a secret. What is wrong is an error in the log: the
    worker goes on, and jobs come back until it is mended.
    """
    for name in DEPRECATED:
        if getattr(settings, name) is not None:
            log.warning("a deprecated setting will go with the next release", setting=name.upper(), see="MEMORY_MIB")
    ready = True
    for finding in look_around(settings):
        getattr(log, finding.level)(finding.event, **finding.fields)
        ready &= not finding.takes_none
    described = {"version": __version__, **settings.model_dump(mode="json", exclude_defaults=True)}
    if ready:
        log.info("archiver ready", **described)
    else:
        log.warning("archiver waits for its source queue", **described)
