"""Several archives in place of one: what a payload may ask for, and what they are called. No engine in here.

Every archive is complete and opens alone; see ``archiver.archive.portions`` for which entries go into which.
"""

from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, Field

#: Archives of one request: all of them have to fit into its notification.
MAX_ARCHIVES = 100
#: Longest metadata beside so many archives, in bytes of UTF-8: an archive's link and key come to 7 KB at most.
MAX_METADATA_BYTES = 256 * 1024
#: The least ``max_bytes``: what an archive's records alone may take.
MIN_BYTES = 64 * 1024
#: What a number adds to a name, in bytes.
NUMBER_BYTES = len(f"-{MAX_ARCHIVES}")


class SplitSpec(BaseModel):
    """Several archives, each within these bounds, in place of one."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", defer_build=True)

    max_bytes: int | None = Field(
        None, ge=MIN_BYTES, description="size of an archive; an entry that is larger is an archive of its own"
    )
    max_files: int | None = Field(None, ge=1, description="entries of an archive")


def numbered(name: str, number: int) -> str:
    """The key or the file name of the archive ``number``, from 1 on: ``name-1.zip``."""
    suffix = PurePosixPath(name).suffix
    return f"{name[: len(name) - len(suffix)]}-{number}{suffix}"
