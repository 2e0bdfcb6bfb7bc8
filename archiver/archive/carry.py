"""Bytes of the archive that are in memory before its parts are built."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Carry:
    """Bytes of the archive from ``start`` on that are in memory already: what is left of the deflated entries."""

    start: int
    data: bytes = b""

    def at(self, position: int, length: int) -> memoryview:
        return memoryview(self.data)[position - self.start : position - self.start + length]
