"""A body that goes out while it comes in: every byte once, in order, in any pieces."""

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.streamed_body import Stream, StreamedBody


class Content:
    """Comes in these pieces; None: nothing yet."""

    def __init__(self, *pieces: bytes | None) -> None:
        self.pieces = list(pieces)

    lane = 0

    def take(self, most: int, wake: Callable[[], None]) -> bytes | None:
        if not self.pieces:
            raise ConnectionError("broke off")
        piece = self.pieces.pop(0)
        if piece is None:
            wake()
        elif len(piece) > most:
            self.pieces.insert(0, piece[most:])
            return piece[:most]
        return piece


PIECES = st.lists(
    st.one_of(st.binary(max_size=9), st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=9)), max_size=4)),
    max_size=5,
)


@given(PIECES, st.integers(1, 12))
def test_all_bytes_come_once_and_in_order(pieces: list[bytes | list[bytes | None]], most: int) -> None:
    made: list[bytes | Stream] = []
    whole = b""
    for piece in pieces:
        content = piece if isinstance(piece, bytes) else b"".join(filter(None, piece))
        made.append(piece if isinstance(piece, bytes) else Stream(Content(*piece), len(content)))
        whole += content
    body = StreamedBody(made, len(whole))

    found = b""
    while (chunk := body.read(most, lambda: None)) != b"":
        assert chunk is None or len(chunk) <= most
        found += chunk or b""

    assert (found, len(body), body.crc32) == (whole, len(whole), zlib.crc32(whole))
    assert body.read(most, lambda: None) == b""


def test_a_header_does_not_wait_for_what_follows_it() -> None:
    woken: list[int] = []
    body = StreamedBody([b"header", Stream(Content(None, b"content"), 7)], 13)
    assert body.read(100, lambda: woken.append(1)) == b"header"
    assert woken == [1]
    assert body.read(100, lambda: None) == b"content"


def test_a_stream_that_breaks_off_is_an_error() -> None:
    body = StreamedBody([Stream(Content(b"half"), 8)], 8)
    assert body.read(100, lambda: None) == b"half"
    with pytest.raises(ConnectionError, match="broke off"):
        body.read(100, lambda: None)
