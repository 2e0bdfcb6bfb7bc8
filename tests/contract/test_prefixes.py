"""What lies below a prefix, listed in small pages side by side: all that the bucket has there, in its order."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from archiver.archive.access import Access
from archiver.archive.location import Location
from archiver.archive.prefixes import Front, list_prefixes
from archiver.archive.read_ahead import ReadAhead
from archiver.archive.reading import read_verified
from archiver.archive.source_table import SourceTable
from archiver.archive.storage import ListedPage, Read
from archiver.errors import LimitExceeded
from tests.contract.conftest import Server

#: In ASCII: LocalStack compares keys percent-encoded.
KEYS = {
    "counters": [f"p/IMG_{number:04d}.jpg" for number in range(150)],
    "dates": [f"p/2026/{number % 12 + 1:02d}/{number % 28 + 1:02d}/{number:04d}.csv" for number in range(150)],
    "hashes": [f"p/{uuid.uuid5(uuid.NAMESPACE_URL, str(number))}" for number in range(150)],
    "folders": [f"p/{'abxyz'[number % 5]}/photo{number}" for number in range(150)],
}


class Watched:
    """A server's objects, and the keys behind which they were listed."""

    def __init__(self, server: Server) -> None:
        self._objects = server.objects
        self.begun: list[str | None] = []

    def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]:
        self.begun.append(after)
        return self._objects.below(prefix, after=after)


def test_what_the_first_pages_show_is_read_ahead_and_handed_over(server: Server) -> None:
    contents = {key: key.encode() for key in KEYS["counters"]}
    with ThreadPoolExecutor(8) as executor:
        list(executor.map(server.put, contents, contents.values()))
    server.set_page(10)
    table = SourceTable()
    with ThreadPoolExecutor(8) as executor, closing(ReadAhead(server.objects, executor, room=100_000)) as ahead:
        (numbers,) = list_prefixes(
            [(Location(server.bucket, "p/"), None)],
            into=table,
            sources=server.objects,
            executor=executor,
            window=8,
            most=1_000,
            access=Access(),
            front=Front(ahead, 1),
        ).values()
        kept = ahead.lent.size
        targets = {table.at(number): bytearray(table.size(number)) for number in numbers}
        read_verified(ahead, [Read(source, 0, memoryview(target)) for source, target in targets.items()])

        assert {source.key: bytes(target) for source, target in targets.items()} == contents
        assert kept > 0
        assert ahead.lent.size == 0
    assert server.traffic.bytes_read == sum(map(len, contents.values())), "nothing is read twice"


def listed(server: Server, sources: Any, *, most: int = 1_000) -> list[str]:
    table = SourceTable()
    with ThreadPoolExecutor(8) as executor:
        (numbers,) = list_prefixes(
            [(Location(server.bucket, "p/"), None)],
            into=table,
            sources=sources,
            executor=executor,
            window=8,
            most=most,
            access=Access(),
        ).values()
    return [table[number].key for number in numbers]


@pytest.mark.parametrize("shape", KEYS)
def test_all_pages_bring_all_objects_in_order(server: Server, shape: str) -> None:
    keys = KEYS[shape]
    with ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda key: server.put(key, b"x"), [*keys, "p", "p/", "q/1", "o"]))
    server.set_page(10)

    watched = Watched(server)

    assert listed(server, watched) == sorted(keys)
    assert watched.begun.count(None) == 1, "what came was fit to be taken"
    assert len(watched.begun) > 3
    with pytest.raises(LimitExceeded):
        listed(server, watched, most=len(keys) - 1)
