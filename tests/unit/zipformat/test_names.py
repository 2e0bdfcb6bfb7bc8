"""Paths inside the archive: asked for, safe, unique."""

import time
import unicodedata
import zipfile
from pathlib import Path

import pytest

from archiver.zipformat.names import (
    MAX_LEVELS,
    MAX_PATH_BYTES,
    UnsafeNameError,
    archive_path,
    each_unique,
    safe_path,
    unique_names,
)


@pytest.mark.parametrize(
    ("key", "destination", "expected"),
    [
        ("uploads/cat.jpg", None, "cat.jpg"),
        ("cat.jpg", None, "cat.jpg"),
        ("uploads/cat.jpg", "", "cat.jpg"),
        ("uploads\\2024\\cat.jpg", None, "cat.jpg"),
        ("uploads/cat.jpg", "pets", "pets/cat.jpg"),
        ("uploads/cat.jpg", "pets/", "pets/cat.jpg"),
        ("uploads/cat.jpg", "pets/tom.jpg", "pets/tom.jpg"),
        ("uploads/cat.jpg", "tom.tar.gz", "tom.tar.gz"),
        ("uploads/cat.jpg", "tom.jpg/", "tom.jpg/cat.jpg"),
        ("uploads/cat.jpg", "tom.jpg\\", "tom.jpg/cat.jpg"),
        ("uploads/cat.jpg", "pets\\tom.jpg", "pets/tom.jpg"),
        ("uploads/cat.jpg", "v1.2/pets", "v1.2/pets/cat.jpg"),
        ("uploads/cat.jpg", "report.v2", "report.v2"),
        ("uploads/cat.jpg", ".hidden", ".hidden/cat.jpg"),
        ("uploads/cat.jpg", ".env.local", ".env.local"),
        ("uploads/cat.jpg", "pets.", "pets./cat.jpg"),
        ("uploads/cat.jpg", "Mr. Smith", "Mr. Smith/cat.jpg"),
        ("uploads/cat.jpg", "..", "../cat.jpg"),
        ("uploads/cat.jpg", "pets/...", "pets/.../cat.jpg"),
        ("uploads/cat.jpg", "x." + "y" * 40, "x." + "y" * 40 + "/cat.jpg"),
        ("uploads/README", "docs", "docs/README"),
        ("uploads/README", "docs/README.md", "docs/README.md"),
    ],
)
def test_where_one_object_goes(key: str, destination: str | None, expected: str) -> None:
    assert archive_path(source_key=key, destination=destination, relative=None) == expected


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        (None, "2024/cat.jpg"),
        ("pets", "pets/2024/cat.jpg"),
        ("pets/", "pets/2024/cat.jpg"),
        ("a.zip", "a.zip/2024/cat.jpg"),
    ],
)
def test_where_an_object_below_a_prefix_goes(destination: str | None, expected: str) -> None:
    path = archive_path(source_key="uploads/2024/cat.jpg", destination=destination, relative="2024/cat.jpg")

    assert path == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("photos/cat.jpg", "photos/cat.jpg"),
        ("名前/été/😀.png", "名前/été/😀.png"),
        ("مجلد/ملف.pdf", "مجلد/ملف.pdf"),
        ("directory/", "directory/"),
        # Nothing climbs, nothing is absolute.
        ("../../etc/passwd", "etc/passwd"),
        ("a/../../b", "a/b"),
        ("..\\..\\windows\\system.ini", "windows/system.ini"),
        ("/etc/passwd", "etc/passwd"),
        ("//server/share/x", "server/share/x"),
        ("\\\\?\\C:\\x.txt", "x.txt"),
        ("C:\\Users\\x.txt", "Users/x.txt"),
        ("c:/x.txt", "x.txt"),
        ("/C:/x.txt", "x.txt"),
        ("a:b.txt", "a_b.txt"),
        ("./a/./b//c", "a/b/c"),
        (". ./a", "a"),
        ("\u200e../\u200e..\u200e/x", "x"),
        # Characters.
        ('a<b>c:d"e|f?g*h', "a_b_c_d_e_f_g_h"),
        ("nul\0tab\tline\nescape\x1bdel\x7fc1\x85", "nul_tab_line_escape_del_c1_"),
        ("lone \ud800 surrogate", "lone _ surrogate"),
        ("line\u2028separator", "line_separator"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🚀.png", "👩\u200d🚀.png"),
        ("cafe\u0301", "café"),
        # What Windows does not let be.
        ("name. . ", "name"),
        ("dir. /file.txt.", "dir/file.txt"),
        (" leading", " leading"),
        ("CON", "CON_"),
        ("aux.txt", "aux_.txt"),
        ("nul.tar.gz", "nul_.tar.gz"),
        ("Prn /x", "Prn_/x"),
        ("com1.log", "com1_.log"),
        ("LPT9", "LPT9_"),
        ("COM².txt", "COM²_.txt"),
        ("lpt³", "lpt³_"),
        ("con .txt", "con_ .txt"),
        ("CONIN$", "CONIN$_"),
        ("console.txt", "console.txt"),
        ("com10", "com10"),
        ("a/NUL/b", "a/NUL_/b"),
        # Length.
        ("x" * 300 + ".jpeg", "x" * 250 + ".jpeg"),
        ("x" * 300 + ".tar.gz", "x" * 248 + ".tar.gz"),
        ("é" * 200 + ".txt", "é" * 125 + ".txt"),
        ("😀" * 100, "😀" * 63),
        ("CON" + " " * 300 + "x", "CON_"),
        ("CON." + "x" * 251, "CON_." + "x" * 250),
    ],
)
def test_safe_paths(raw: str, expected: str) -> None:
    assert safe_path(raw) == expected
    assert safe_path(expected) == expected


@pytest.mark.parametrize("raw", ["", "/", "..", "../..", "...", " ", "\\", "C:", "C:/", "\u202e", " . /.. "])
def test_a_name_of_which_nothing_is_left_is_refused_by_name(raw: str) -> None:
    with pytest.raises(UnsafeNameError) as refused:
        safe_path(raw)

    assert repr(raw) in str(refused.value)


def test_a_path_that_is_too_long_is_refused() -> None:
    assert safe_path("/".join(["d" * 100] * 30))
    with pytest.raises(UnsafeNameError, match="dddd"):
        safe_path("/".join(["d" * 100] * 31))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.txt", "b.txt"], ["a.txt", "b.txt"]),
        (["a.txt", "a.txt", "a.txt"], ["a.txt", "a (1).txt", "a (2).txt"]),
        (["a.txt", "A.TXT"], ["a.txt", "A (1).TXT"]),
        (["a", "a"], ["a", "a (1)"]),
        (["x.tar.gz", "x.tar.gz"], ["x.tar.gz", "x (1).tar.gz"]),
        (["x.TAR.bz2", "x.TAR.bz2"], ["x.TAR.bz2", "x (1).TAR.bz2"]),
        ([".hidden", ".hidden"], [".hidden", ".hidden (1)"]),
        (["v1.2/a", "v1.2/a"], ["v1.2/a", "v1.2/a (1)"]),
        (["a/x", "b/x"], ["a/x", "b/x"]),
        (["Straße", "STRASSE"], ["Straße", "STRASSE (1)"]),
        (["é", "e\u0301"], ["é", "e\u0301 (1)"]),
        # A name that comes later, or was made before, is not taken away.
        (["a", "a", "a (1)"], ["a", "a (2)", "a (1)"]),
        (["a (1)", "a", "a"], ["a (1)", "a", "a (2)"]),
        (["a", "a", "a (1)", "a (1)"], ["a", "a (2)", "a (1)", "a (1) (1)"]),
        # A file gives way to a directory, wherever it stands.
        (["a", "a/b"], ["a (1)", "a/b"]),
        (["a/b", "a"], ["a/b", "a (1)"]),
        (["A", "a/b"], ["A (1)", "a/b"]),
        (["a", "a/"], ["a (1)", "a/"]),
        (["a.d", "a.d/b/c"], ["a (1).d", "a.d/b/c"]),
        (["a", "a/b", "a (1)/c"], ["a (2)", "a/b", "a (1)/c"]),
        (["a/b", "a/b/c"], ["a/b (1)", "a/b/c"]),
        (["d/", "d/"], ["d/", "d (1)/"]),
        ([], []),
    ],
)
def test_unique_names(paths: list[str], expected: list[str]) -> None:
    assert unique_names(iter(paths)) == expected


def test_a_long_name_stays_within_a_segment_when_numbered() -> None:
    longest = "é" * 125 + ".txt"

    first, second = unique_names([longest, longest])

    assert first == longest
    assert second.endswith("é (1).txt")
    assert len(second.encode()) <= 255


def test_a_long_path_stays_within_its_limit_when_numbered() -> None:
    longest = "/".join(["d" * 100] * 30 + ["e" * 26])
    assert len(safe_path(longest)) == MAX_PATH_BYTES - 16

    assert max(len(path) for path in unique_names([longest] * 1000)) <= MAX_PATH_BYTES


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param(["dir/photo.jpg"] * 100_000, id="one name"),
        pytest.param([f"{'x' * 245}{i % 1000:05}.jpg" for i in range(100_000)], id="long names that shorten to one"),
        pytest.param([*(f"a ({i})" for i in range(50_000)), *["a"] * 50_000], id="numbers that are taken"),
    ],
)
def test_100000_clashing_names_take_no_quadratic_time(paths: list[str]) -> None:
    begun = time.process_time()

    unique = unique_names(paths)

    assert len({unicodedata.normalize("NFC", path.casefold()) for path in unique}) == len(paths)
    # A quadratic search takes minutes of CPU; this takes about a second.
    assert time.process_time() - begun < 20


@pytest.mark.parametrize(
    ("paths", "unique"),
    [(["a", "b/a", "b/c"], True), (["a", "A"], False), (["b", "b/a"], False), (["d/", "d/"], False)],
)
def test_names_that_are_unique_are_not_copied(paths: list[str], unique: bool) -> None:
    assert (each_unique(paths) is paths) == unique


@pytest.mark.parametrize("end", ["", "/"])
def test_a_path_is_no_deeper_than_readers_go(end: str, tmp_path: Path) -> None:
    deepest = "/".join("d" * MAX_LEVELS) + end
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(safe_path(f"../{deepest}"), b"")

    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path)

    assert (tmp_path / deepest).exists()
    with pytest.raises(UnsafeNameError, match="more than 255 levels"):
        safe_path(f"d/{deepest}")
