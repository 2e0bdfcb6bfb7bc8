"""How far a job is, as an object beside the archives tells it: for programs that wait, with no queue and no topic."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from archiver.archive.progress import Progress
from archiver.archive.request import DIALECT

State = Literal["running", "succeeded", "failed", "cancelled"]

# Built when it is first used: few programs use all of them, and building takes half of what loading takes.
_OPEN = ConfigDict(extra="allow", frozen=True, defer_build=True)


class Share(BaseModel):
    """So much of a whole."""

    model_config = _OPEN

    done: int = Field(ge=0)
    total: int = Field(ge=0)


class JobProgress(BaseModel):
    """How far a build is: entries of the archive, bytes of its sources, parts of its upload."""

    model_config = _OPEN

    step: str = Field(description="resolved, deflating, uploading or completed")
    entries: Share = Field(description="done: all of whose bytes are uploaded")
    bytes: Share
    parts: Share


class JobStatus(BaseModel):
    """What is known of a job. A job that failed and will be tried again is still running."""

    model_config = _OPEN

    request_id: str
    state: State
    updated_at: datetime
    attempt: int | None = Field(None, ge=1)
    progress: JobProgress | None = None
    notification: dict[str, Any] | None = Field(None, description="what consumers are told, once the job has ended")

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state != "running"


def schema() -> dict[str, Any]:
    """The JSON Schema of a status object."""
    return {"$schema": DIALECT} | JobStatus.model_json_schema()


def running(request_id: str, *, attempt: int, progress: Progress | None, now: float) -> str:
    """The status object of a job that runs. ``now`` in seconds since the epoch."""
    return JobStatus(
        request_id=request_id,
        state="running",
        updated_at=datetime.fromtimestamp(now, UTC),
        attempt=attempt,
        progress=None if progress is None else _progress(progress),
    ).model_dump_json(exclude_none=True)


def ended(request_id: str, *, status: str, notification: str, progress: Progress | None, now: float) -> str:
    """The status object of a job that has ended, with its ``notification`` as the very text that is sent."""
    job = JobStatus.model_validate(
        {
            "request_id": request_id,
            "state": status,
            "updated_at": datetime.fromtimestamp(now, UTC),
            "progress": None if progress is None else _progress(progress),
        }
    )
    return f'{job.model_dump_json(exclude_none=True)[:-1]},"notification":{notification}}}'


def _progress(progress: Progress) -> JobProgress:
    finished = progress.step == "completed"
    return JobProgress(
        step=progress.step,
        entries=Share(done=progress.entries if finished else progress.entries_done, total=progress.entries),
        bytes=Share(done=progress.bytes_total if finished else progress.bytes_done, total=progress.bytes_total),
        parts=Share(done=progress.parts_total if finished else progress.parts_done, total=progress.parts_total),
    )
