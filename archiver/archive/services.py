"""What jobs work with: the stores and whoever else is asked, and the rules that the settings give."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from archiver.archive.build import Options
from archiver.archive.destination import Destinations
from archiver.archive.pointer import Payloads
from archiver.archive.resolve import Limits
from archiver.archive.spans import UNTRACED, Tracer
from archiver.archive.storage import ArchiveStore, SourceStore
from archiver.archive.traffic import Traffic

if TYPE_CHECKING:
    from archiver.archive.checkpoints import CheckpointStore
    from archiver.archive.crew import Crew
    from archiver.archive.notification import Message


class Notifier(Protocol):
    """What sends a notification; ``archiver.aws.notify`` has the real ones. Raises ``QueueUnavailable``."""

    def send(self, message: "Message", *, correlation_id: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    """What jobs work with. The stores are opened per job, so that each job counts its own traffic."""

    sources: Callable[[Traffic], SourceStore]
    archives: Callable[[str, Traffic], ArchiveStore]  # of a bucket
    link: Callable[[str, str, int | None], str]  # of bucket, key and seconds; None: as long as the settings say
    notifier: Notifier | None
    options: Options
    limits: Limits
    destinations: Destinations
    source_bucket: str | None
    file_prefix: str
    rebuilds: int = 3
    notify_failures: bool = False
    payloads: Payloads = field(default_factory=Payloads)
    tracer: Tracer = UNTRACED
    checkpoints: "CheckpointStore | None" = None
    crew: "Crew | None" = None  # whom a large job invites
