"""What an entry may be."""

from collections.abc import Callable

import pytest

from archiver.zipformat.entry import DEFLATED, Entry


def test_a_stored_entry_takes_its_size() -> None:
    assert Entry("a", 5, 0).stored_size == 5


def test_a_deflated_entry_takes_its_compressed_size() -> None:
    assert Entry("a", 500, 0, method=DEFLATED, compressed_size=20).stored_size == 20


def test_the_crc_of_an_empty_file_is_known() -> None:
    assert Entry("a", 0, 0).known_crc32 == 0
    assert Entry("a", 1, 0).known_crc32 is None
    assert Entry("a", 1, 0, crc32=7).known_crc32 == 7


def test_a_name_may_have_65535_bytes_and_no_more() -> None:
    assert Entry("é" * 32_767 + "x", 0, 0).name.endswith("x")
    with pytest.raises(ValueError, match="65535"):
        Entry("é" * 32_768, 0, 0)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Entry("", 0, 0), id="no name"),
        pytest.param(lambda: Entry("\ud800", 0, 0), id="lone surrogate"),
        pytest.param(lambda: Entry("a", -1, 0), id="negative size"),
        pytest.param(lambda: Entry("a", 1, 0, method=DEFLATED, compressed_size=-1), id="negative compressed size"),
        pytest.param(lambda: Entry("a", 1, 0, crc32=1 << 32), id="CRC too wide"),
        pytest.param(lambda: Entry("a", 1, 0, crc32=-1), id="negative CRC"),
        pytest.param(lambda: Entry("a", 1, 0, compressed_size=2), id="stored, yet of another size"),
        pytest.param(lambda: Entry("a", 1, 0, method=DEFLATED), id="deflated size unknown"),
        pytest.param(lambda: Entry("a", 1, 0, method=12), id="method unknown"),
        pytest.param(lambda: Entry("a/", 1, 0), id="directory with content"),
        pytest.param(lambda: Entry("a/", 0, 0, method=DEFLATED, compressed_size=2), id="deflated directory"),
    ],
)
def test_contradictions_are_refused(make: Callable[[], Entry]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 one message each would test the wording
        make()
