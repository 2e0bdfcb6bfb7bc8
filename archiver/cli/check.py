"""One line of ``archiver doctor``."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and the verdict: ``mend`` says what to do where it is not ok."""

    name: str
    state: State
    detail: str
    mend: str | None = None
