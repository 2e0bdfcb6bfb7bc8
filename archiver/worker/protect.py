"""The worker's step that protects its ECS task while jobs run."""

from typing import Any

from celery import bootsteps
from celery.worker import state

from archiver.settings import load_settings
from archiver.worker.protection import Protection, protected


class Protect(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """There where ECS_AGENT_URI is, which ECS sets."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        self._protection: Protection | None = None
        super().__init__(parent, **kwargs)

    def include_if(self, _: Any) -> bool:
        """Whether this is a task of ECS."""
        return load_settings().ecs_agent_uri is not None

    def start(self, _: Any) -> None:
        """Begin to look at whether jobs run."""
        agent = load_settings().ecs_agent_uri
        if agent is not None:
            self._protection = protected(agent, busy=_jobs_run)

    def stop(self, _: Any) -> None:
        """Give the protection back, also after a drain."""
        if self._protection is not None:
            self._protection.stop()

    terminate = stop


def _jobs_run() -> bool:
    return len(state.reserved_requests) > 0
