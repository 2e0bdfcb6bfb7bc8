"""What one archive is made of; as a program, ``python -m benchmarks.job PROGRAM FILE`` builds the archive of a file.

PROGRAM is a module of ``benchmarks`` with a function ``build``, which takes the job and answers the archive's key.
"""

import importlib
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
    """Read ``entries`` from one bucket, leave the archive under ``key`` (the engine chooses its own) in the other."""

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


if __name__ == "__main__":
    program, file = sys.argv[1:]
    print(importlib.import_module(f"benchmarks.{program}").build(ArchiveJob.load(Path(file))))
