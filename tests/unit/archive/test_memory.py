"""The memory of a part: zeros of the asked size, which can be filled and sent."""

from archiver.archive.memory import allocate


def test_it_is_as_large_as_asked_for_and_empty() -> None:
    memory = allocate(10_000)
    assert len(memory) == 10_000
    assert bytes(memory) == bytes(10_000)


def test_it_can_be_filled_in_places() -> None:
    memory = allocate(10)
    memoryview(memory)[3:6] = b"abc"
    assert bytes(memory) == b"\0\0\0abc\0\0\0\0"
