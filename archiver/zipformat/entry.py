"""One entry of an archive, as far as it is known before its bytes are."""

from dataclasses import dataclass

#: Compression methods: APPNOTE 4.4.5.
STORED = 0
DEFLATED = 8

#: The longest name in bytes of UTF-8: its length field has 16 bits (APPNOTE 4.4.10).
MAX_NAME_BYTES = 0xFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or, where the name ends in ``/``, a directory.

    ``size`` is that of the content, ``compressed_size`` that of its bytes in the archive; both in bytes.
    ``modified`` counts seconds since 1970, UTC. ``crc32`` is that of the content, None where it is learned
    while the archive is built.

    Raises ``ValueError`` where the fields contradict each other or do not fit the format, ``UnicodeEncodeError``
    (a ``ValueError``) where the name has lone surrogates.
    """

    name: str
    size: int
    modified: int
    crc32: int | None = None
    method: int = STORED
    compressed_size: int | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.name.encode()) <= MAX_NAME_BYTES:
            raise ValueError(f"an entry's name must have 1 to {MAX_NAME_BYTES} bytes of UTF-8: {self.name[:100]!r}")
        if self.size < 0 or (self.compressed_size is not None and self.compressed_size < 0):
            raise ValueError(f"negative size: {self.name!r}")
        if self.crc32 is not None and not 0 <= self.crc32 <= 0xFFFF_FFFF:
            raise ValueError(f"a CRC32 has 32 bits: {self.name!r}")
        if self.method == STORED:
            if self.compressed_size not in (None, self.size):
                raise ValueError(f"a stored entry is as long as its content: {self.name!r}")
        elif self.method != DEFLATED:
            raise ValueError(f"unknown compression method {self.method}: {self.name!r}")
        elif self.compressed_size is None:
            raise ValueError(f"a deflated entry needs its compressed size: {self.name!r}")
        if self.is_directory and (self.size or self.crc32 or self.method != STORED):
            raise ValueError(f"a directory has no content: {self.name!r}")

    @property
    def is_directory(self) -> bool:
        return self.name.endswith("/")

    @property
    def stored_size(self) -> int:
        """How many bytes the entry's data take in the archive."""
        return self.size if self.compressed_size is None else self.compressed_size

    @property
    def known_crc32(self) -> int | None:
        """The CRC32 as far as it is known before any byte is read: that of nothing is 0."""
        return 0 if self.size == 0 else self.crc32
