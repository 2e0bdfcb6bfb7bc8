"""No path that comes out climbs, clashes or holds what some system forbids, whatever goes in."""

import re
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archiver.zipformat import names
from archiver.zipformat.entry import Entry
from archiver.zipformat.names import MAX_PATH_BYTES, UnsafeNameError, archive_path, safe_path, unique_names

NASTY = [
    "/", "\\", ".", "..", " ", ":", "C:", "?", "//?/", "\0", "\x1f", "\x85", "\u202e", "\u200b", "\ufeff", "\ud800",
    "\u2028", "CON", "nul", "COM1", "lpt³", ".txt", ".tar.gz", "a", "é", "e\u0301", "\u0338", "\u212a", "猫", "😀",
    "x" * 120, "猫" * 60,
]  # fmt: skip
raw_paths = st.lists(st.sampled_from(NASTY) | st.characters(codec=None), max_size=12).map("".join)

INVISIBLE = "\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"

DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    port + digit for port in ("com", "lpt") for digit in "0123456789¹²³"
}


def folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold()).rstrip("/")


@given(raw_paths)
@example("CON" + " " * 300 + "x")
@example(" " * 300 + "x")
def test_a_safe_path_is_safe_everywhere(raw: str) -> None:
    try:
        path = safe_path(raw)
    except UnsafeNameError:
        return

    assert unicodedata.is_normalized("NFC", path)
    assert len(path.encode()) <= MAX_PATH_BYTES
    assert not set(path) & set('\\<>:"|?*')
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in path)
    assert not any(unicodedata.bidirectional(character) in ("RLO", "LRO", "RLE", "LRE", "PDF") for character in path)
    for segment in path.removesuffix("/").split("/"):
        assert segment not in ("", ".", "..")
        assert not segment.endswith((".", " "))
        assert len(segment.encode()) <= 255
        assert segment.split(".")[0].rstrip(" ").casefold() not in DEVICES
    assert Entry(path, 0, 0).is_directory == raw.replace("\\", "/").rstrip(INVISIBLE).endswith("/")


@given(raw_paths)
def test_a_safe_path_stays_as_it_is(raw: str) -> None:
    try:
        path = safe_path(raw)
    except UnsafeNameError:
        return

    assert safe_path(path) == path


@given(raw_paths, st.none() | raw_paths, st.none() | raw_paths)
def test_every_wish_becomes_a_safe_path_or_is_refused(key: str, destination: str | None, relative: str | None) -> None:
    with suppress(UnsafeNameError):
        assert safe_path(archive_path(source_key=key, destination=destination, relative=relative))


segments = st.sampled_from(
    [
        "a",
        "A",
        "b",
        "a (1)",
        "A (1)",
        "a (2)",
        "a.txt",
        "a (1).txt",
        "A.TXT",
        "a.tar.gz",
        "é",
        "e\u0301",
        "É",
        ".a",
        "x" * 255,
        "é" * 127,
    ]
)
paths = st.builds(
    lambda parts, slash: "/".join(parts) + slash,
    st.lists(segments, min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
)


@given(st.lists(paths, max_size=30))
def test_unique_names_never_clash(wished: list[str]) -> None:
    unique = unique_names(wished)

    keys = [folded(path) for path in unique]
    assert len(keys) == len(set(keys)) == len(wished)
    files = {key for key, path in zip(keys, unique, strict=True) if not path.endswith("/")}
    for key in keys:
        parts = key.split("/")
        assert not any("/".join(parts[:depth]) in files for depth in range(1, len(parts))), "a file is a directory"


@given(st.lists(paths, max_size=30))
def test_unique_names_change_no_more_than_they_must(wished: list[str]) -> None:
    unique = unique_names(wished)

    assert unique_names(unique) == unique
    assert unique_names(list(wished)) == unique
    directories = {folded(path)[:at] for path in wished for at, mark in enumerate(folded(path)) if mark == "/"}
    directories |= {folded(path) for path in wished if path.endswith("/")}
    seen = set()
    for wish, path in zip(wished, unique, strict=True):
        if folded(wish) not in seen and (wish.endswith("/") or folded(wish) not in directories):
            assert path == wish, "the first of a name keeps it"
            seen.add(folded(wish))
        assert path.count("/") == wish.count("/")
        assert path.endswith("/") == wish.endswith("/")
        assert max(len(segment.encode()) for segment in path.split("/")) <= 255


@given(st.lists(raw_paths, max_size=15))
def test_safe_names_stay_safe_when_they_become_unique(raws: list[str]) -> None:
    safe = []
    for raw in raws * 2:
        try:
            safe.append(safe_path(raw))
        except UnsafeNameError:
            continue

    for path in unique_names(safe):
        assert len(path.encode()) <= MAX_PATH_BYTES
        if len(path.encode()) <= MAX_PATH_BYTES - 16:
            assert safe_path(path) == path


@given(st.lists(st.sampled_from([*"/. -_:\n", "con", "COM1", "a", "Z9", "ſ", "x" * 60]), max_size=9).map("".join))
def test_the_short_way_to_a_safe_path_ends_where_the_long_one_does(raw: str) -> None:
    ways = []
    for plain in (names._PLAIN, re.compile("(?!)")):
        with pytest.MonkeyPatch.context() as patch, suppress(UnsafeNameError):
            patch.setattr(names, "_PLAIN", plain)
            ways.append(safe_path(raw))
    assert len(ways) != 1
    assert len(set(ways)) <= 1
