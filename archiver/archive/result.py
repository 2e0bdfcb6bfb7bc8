"""What a job has come to: the archive, or several, and what they took."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archiver.archive.request import ArchiveRequest
from archiver.text import redacted

if TYPE_CHECKING:
    from archiver.archive.notification import Archive, Message


@dataclass(frozen=True, slots=True)
class BuiltArchive:
    """A finished archive; ``size`` in bytes."""

    url: str
    bucket: str
    key: str
    version_id: str | None
    size: int
    files: int
    crc32: str | None
    etag: str

    def told(self) -> "Archive":
        """The archive as a notification has it."""
        from archiver.archive.notification import Archive

        version = {} if self.version_id is None else {"version_id": self.version_id}
        return Archive(
            url=self.url,
            bucket=self.bucket,
            key=self.key,
            **version,
            size=self.size,
            files=self.files,
            crc32=self.crc32,
            etag=self.etag,
        )


@dataclass(frozen=True, slots=True)
class ArchiveResult(BuiltArchive):
    """The archive and what it took. Sizes in bytes; ``reused``: an earlier attempt had built it already.

    ``archives`` are all of them, this one the first, where the payload splits.
    """

    missing: tuple[str, ...]
    archives: tuple[BuiltArchive, ...] = ()
    reused: bool = False
    bytes_read: int = 0
    bytes_copied: int = 0
    bytes_uploaded: int = 0
    parts: int = 0
    seconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        """The result as Celery and Flower show it: the link without its signature."""
        return {
            "archive": self.url.partition("?")[0],
            "size": sum(archive.size for archive in self.archives or (self,)),
            "files": sum(archive.files for archive in self.archives or (self,)),
            **({"archives": len(self.archives)} if self.archives else {}),
            "missing": len(self.missing),
            "reused": self.reused,
            "bytes_read": self.bytes_read,
            "bytes_copied": self.bytes_copied,
            "parts": self.parts,
            "seconds": round(self.seconds, 3),
        }

    def notification(self, request: ArchiveRequest, *, request_id: str) -> "Message":
        """The message to the consumer: a contract."""
        # Its models take a while to be built, and not every job notifies.
        from archiver.archive import notification

        archives: dict[str, Any] = {"archives": [one.told() for one in self.archives]} if self.archives else {}
        return notification.as_message(
            notification.Succeeded(
                status="succeeded",
                metadata=None,
                substitutions=notification.Substitutions(archiver_URL=self.url),
                archive=self.told(),
                **archives,
                missing=[redacted(source) for source in self.missing],
                request_id=request_id,
            ),
            metadata=request.metadata,
        )
