"""What one archive is made of, handed to the engine and to each peer as a JSON file."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """A source's key and the path of its copy in the archive."""

    source: str
    destination: str


@dataclass(frozen=True, slots=True)
class ArchiveJob:
    """Read ``entries`` from one bucket, leave the archive under ``key`` in the other.

    The engine chooses its own key; every program prints the key of its archive as its last line.
    """

    source_bucket: str
    destination_bucket: str
    key: str
    entries: tuple[Entry, ...]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "ArchiveJob":
        fields = json.loads(path.read_text())
        fields["entries"] = tuple(Entry(**entry) for entry in fields["entries"])
        return cls(**fields)


def job_from_arguments() -> ArchiveJob:
    """The job whose file is the program's only argument."""
    return ArchiveJob.load(Path(sys.argv[1]))
