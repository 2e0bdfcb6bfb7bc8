"""One entry of an archive, as far as it is known before its bytes are."""

from typing import NamedTuple, Self

#: Compression methods: APPNOTE 4.4.5.
STORED = 0
DEFLATED = 8

#: The longest name in bytes of UTF-8: its length field has 16 bits (APPNOTE 4.4.10).
MAX_NAME_BYTES = 0xFFFF


class _Fields(NamedTuple):
    name: str
    size: int
    modified: int
    crc32: int | None
    method: int
    compressed_size: int | None


class Entry(_Fields):
    """A file or, where the name ends in ``/``, a directory.

    ``size`` is that of the content, ``compressed_size`` that of its bytes in the archive; both in bytes.
    ``modified`` counts seconds since 1970, UTC. ``crc32`` is that of the content, None where it is learned
    while the archive is built.

    Raises ``ValueError`` where the fields contradict each other or do not fit the format, ``UnicodeEncodeError``
    (a ``ValueError``) where the name has lone surrogates. ``_make`` asks nothing, for fields that were asked before: a
    job of a million files makes each entry four times.
    """

    __slots__ = ()

    def __new__(
        cls,
        name: str,
        size: int,
        modified: int,
        crc32: int | None = None,
        method: int = STORED,
        compressed_size: int | None = None,
    ) -> Self:
        if not 0 < (len(name) if name.isascii() else len(name.encode())) <= MAX_NAME_BYTES:
            raise ValueError(f"an entry's name must have 1 to {MAX_NAME_BYTES} bytes of UTF-8: {name[:100]!r}")
        if size < 0 or (compressed_size is not None and compressed_size < 0):
            raise ValueError(f"negative size: {name!r}")
        if crc32 is not None and not 0 <= crc32 <= 0xFFFF_FFFF:
            raise ValueError(f"a CRC32 has 32 bits: {name!r}")
        if method == STORED:
            if compressed_size is not None and compressed_size != size:
                raise ValueError(f"a stored entry is as long as its content: {name!r}")
        elif method != DEFLATED:
            raise ValueError(f"unknown compression method {method}: {name!r}")
        elif compressed_size is None:
            raise ValueError(f"a deflated entry needs its compressed size: {name!r}")
        if name[-1] == "/" and (size or crc32 or method != STORED):
            raise ValueError(f"a directory has no content: {name!r}")
        return super().__new__(cls, name, size, modified, crc32, method, compressed_size)

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
