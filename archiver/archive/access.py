"""Who may ask for what: the buckets and keys that a payload may name.

Whoever can send to the queue reads with the worker's role. So a payload names only buckets that ``allowed`` has, where
there is such a list. The bucket of the archives holds those of others: it is no source, unless the operator says so,
by the list or by making it the source bucket. Even then the archives themselves, whose keys nobody guesses, do not come
along with a prefix: who asks for one names it. What the service writes for itself is never a source.
"""

from dataclasses import dataclass

from archiver.archive.key import is_archive_key
from archiver.archive.location import Location


@dataclass(frozen=True, slots=True)
class Access:
    """What may be asked for. ``allowed`` empty: any bucket that the role can read, but for those of archives.

    These are ``archives``, where they go by default, and ``destinations``, where a payload may have them go. Below the
    prefixes ``reserved`` the service keeps objects of its own beside the archives, which are nobody's sources.
    """

    allowed: tuple[str, ...] = ()
    sources: str | None = None
    archives: str | None = None
    destinations: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()

    def complaint(self, location: Location) -> str | None:
        """Why a source may not lie there; None where it may."""
        bucket = location.bucket
        if self._is_reserved(bucket, location.key):
            return f"{location.key!r} lies where the service keeps objects of its own"
        if self.allowed:
            return None if bucket in self.allowed else f"bucket {bucket!r} is not in ALLOWED_SOURCE_BUCKETS"
        if self._has_archives(bucket) and bucket != self.sources:
            return f"bucket {bucket!r} is that of the archives, and no source unless ALLOWED_SOURCE_BUCKETS names it"
        return None

    def comes_along(self, bucket: str, key: str) -> bool:
        """Whether an object below a prefix is one of its objects: an archive, which is somebody's, is not."""
        return not ((self._has_archives(bucket) and is_archive_key(key)) or self._is_reserved(bucket, key))

    def _is_reserved(self, bucket: str, key: str) -> bool:
        return bucket == self.archives and key.startswith(self.reserved)

    def _has_archives(self, bucket: str) -> bool:
        return bucket == self.archives or bucket in self.destinations
