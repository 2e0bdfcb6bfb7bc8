"""Paths inside an archive: where a source goes, safe to extract on every system, and unique.

The steps are ``archive_path`` (what was asked for), ``safe_path`` (what can be had), ``unique_names`` (over all).

A file extension, here, is a dot and 1 to 31 bytes after it without white space or another dot, at the end of a
name that has something else than dots before it: ``report.v2`` has one, ``.hidden``, ``...``, ``name.`` and
``Mr. Smith`` have none. ``.tar.gz`` and its like count as one extension.
"""

import re
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import chain, count, islice
from operator import eq

#: What Linux and macOS allow as a path segment, in bytes; Windows counts 255 UTF-16 units, which are never more.
MAX_SEGMENT_BYTES = 255
#: Linux opens paths of up to 4,096 bytes; a quarter of it is left to the directory that is extracted into.
MAX_PATH_BYTES = 3 * 1024

#: Deepest file or folder. Python's zipfile makes folders by a function that calls itself for each level, and ends at
#: some 1,000 levels (``sys.getrecursionlimit``), Java's and others' readers likewise at some depth; no real tree has
#: a fraction of that.
MAX_LEVELS = 255

_MAX_EXTENSION_BYTES = 32
#: Kept free for `` (1234567)``, so that a path stays within its limits when it becomes unique.
_SUFFIX_ROOM = 16
_SORTED_AT_ONCE = 50_000

# What no name on Windows may hold, control characters, line separators, what UTF-8 can't encode, and noncharacters.
_REPLACED = re.compile('[\x00-\x1f\x7f-\x9f<>:"|?*\u2028\u2029\ud800-\udfff\ufffe\uffff]')
# Invisible characters that reorder what is shown (so that "gpj.exe" reads as "exe.jpg") or hide that two names
# differ. Zero-width joiner and non-joiner stay: Persian, Indic scripts and emoji need them.
_DROPPED = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
# Paths that are safe as they are, as nearly all are. What begins a little like a name that Windows reserves is for the
# long way. To ignore case, or to go back in a segment, would take twice the time.
_PLAIN_SEGMENT = r"(?![CPANLcpanl][ORUPorup][NXLMTnxlmt])[A-Za-z0-9_-][A-Za-z0-9_. -]{0,62}+(?<![. ])"
_PLAIN = re.compile(rf"{_PLAIN_SEGMENT}(?:/{_PLAIN_SEGMENT}){{0,30}}+")
# "/", "//", "//?/", "C:/". A drive without a slash ("a:b.txt") is a name rather than a place: its colon goes.
_ABSOLUTE = re.compile(r"(?://[?.]/|/|[A-Za-z]:(?:/|$))*")
# https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file: with any extension, in any case.
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])(?= *(?:\.|$))", re.IGNORECASE)
_RESERVED_STARTS = frozenset(("CON", "PRN", "AUX", "NUL", "COM", "LPT"))


class UnsafeNameError(ValueError):
    """Nothing that could be extracted is left of a path, or it is too long or deep. The message names the path."""


def archive_path(*, source_key: str, destination: str | None, relative: str | None) -> str:
    """The path inside the archive that was asked for; not yet safe.

    ``relative`` is the path of an object found below a prefix, from the prefix on, and None for a source that is
    one object. Without a destination it is the path, or else the key's base name is. A destination that ends in
    ``/``, or whose last segment has no file extension, or that is for a prefix, is a directory, in which that path
    is kept; any other is the whole path. ``\\`` counts as ``/``.
    """
    if destination:
        destination = _slashes(destination)
        if relative is None and _split(destination.rpartition("/")[2])[1]:
            return destination
    path = _slashes(source_key).rstrip("/").rpartition("/")[2] if relative is None else relative
    return f"{destination.rstrip('/')}/{path}" if destination else path


def safe_path(raw: str) -> str:
    """A path that can be extracted on every system, as near to ``raw`` as possible. A final ``/`` stays.

    Relative, with ``/`` only; no empty, ``.`` or ``..`` segments (dropped: nothing climbs); ``_`` for characters
    that Windows forbids, control characters and lone surrogates; invisible direction marks dropped; NFC; no
    trailing dots and spaces; Windows' reserved names with ``_`` appended; segments of at most 255 bytes of UTF-8,
    shortened before the extension. The same path again comes out as it went in.

    Raises ``UnsafeNameError`` where nothing is left, more than 3 KiB or more than 255 levels.
    """
    if _PLAIN.fullmatch(raw):
        return raw
    path = _slashes(raw)
    if not path.isascii():
        path = _DROPPED.sub("", path)
    if absolute := _ABSOLUTE.match(path):
        path = path[absolute.end() :]
    path = _REPLACED.sub("_", path)
    if not path.isascii():
        path = unicodedata.normalize("NFC", path)
    safe = "/".join(segment for part in path.split("/") if (segment := _safe_segment(part)))
    if not safe:
        raise UnsafeNameError(f"nothing is left of the name {raw[:200]!r} once it is safe")
    if safe.count("/") >= MAX_LEVELS:
        raise UnsafeNameError(f"the path has more than {MAX_LEVELS} levels: {raw[:200]!r}...")
    if path.endswith("/"):
        safe += "/"
    if len(safe.encode()) > MAX_PATH_BYTES - _SUFFIX_ROOM:
        raise UnsafeNameError(f"the path has more than {MAX_PATH_BYTES - _SUFFIX_ROOM} bytes: {raw[:200]!r}...")
    return safe


def unique_names(paths: Iterable[str]) -> list[str]:
    """``each_unique`` of them, as a list."""
    return list(each_unique(list(paths)))


def each_unique(paths: Sequence[str]) -> Iterable[str]:
    """The same safe paths in the same order, each once: ``name (1).ext`` for the second of a name, and so on.

    Paths are compared as the least discerning file systems do: without case, in NFC. The first of a name keeps
    it; no new name is one that another path has asked for. A file that has the name of a directory is renamed,
    since the files below the directory are not. Takes time in proportion to the paths, whatever they are, and of each
    a few bytes of memory: they are known by digests of 64 bits, so that of a million paths one in ten million
    times one gets a new name without need. Where none is to be renamed, ``paths`` itself is
    mostly the answer.
    """
    directories: set[int] = set()
    keys = array("Q")
    last = ""
    for path in paths:
        key = _key(path)
        keys.append(_digest(key))
        directory = key if path.endswith("/") else _parent(key)
        if directory == last:
            continue
        last = directory
        while directory and (digest := _digest(directory)) not in directories:
            directories.add(digest)
            directory = _parent(directory)
    asked = _sorted(keys)
    if not any(map(eq, asked, islice(asked, 1, None))) and not any(_holds(asked, digest) for digest in directories):
        return paths
    return _renamed(paths, keys, asked, directories)


def _renamed(paths: Sequence[str], keys: "array[int]", asked: "array[int]", directories: Set[int]) -> Iterator[str]:
    """The paths, those of them renamed that have to be. ``keys`` are their digests, ``asked`` the same in order."""
    taken = bytearray(len(asked))  # whether the name that is asked for is given to somebody
    new_names: set[int] = set()
    # A candidate that was taken once stays so: each series of numbers goes on where it was left.
    series: dict[tuple[str, str], Iterator[int]] = {}
    for path, own in zip(paths, keys, strict=True):
        place = bisect_left(asked, own)
        if not taken[place] and (own not in directories or path.endswith("/")):
            taken[place] = True
            yield path
            continue
        before, after = _around_number(path)
        numbers = series.setdefault((_key(before), _key(after)), count(1))
        for candidate in (f"{before} ({number}){after}" for number in numbers):
            new = _digest(_key(candidate))
            if not (_holds(asked, new) or new in new_names or new in directories):
                new_names.add(new)
                yield candidate
                break


def _holds(asked: "array[int]", digest: int) -> bool:
    place = bisect_left(asked, digest)
    return place < len(asked) and asked[place] == digest


def _sorted(digests: "array[int]") -> "array[int]":
    """The same in order, sorted in 256 portions: as Python's objects all of them would take 40 bytes each."""
    if len(digests) < _SORTED_AT_ONCE:
        return array("Q", sorted(digests))
    portions = [array("Q") for _ in range(256)]
    for digest in digests:
        portions[digest >> 56].append(digest)
    return array("Q", chain.from_iterable(map(sorted, portions)))


def _slashes(path: str) -> str:
    return path.replace("\\", "/")


def _safe_segment(segment: str) -> str:
    segment = _unreserve(segment.rstrip(". "))
    if len(segment) * 4 <= MAX_SEGMENT_BYTES:
        return segment
    stem, extension = _split(segment)
    # Shortened, a name can become a reserved one: "CON", many spaces, and more.
    return _unreserve(_shorten(stem, MAX_SEGMENT_BYTES - len(extension.encode())) + extension)


def _unreserve(segment: str) -> str:
    # The regular expression is slow, and hundred thousands of segments are none of its business.
    reserved = _RESERVED.match(segment) if segment[:3].upper() in _RESERVED_STARTS else None
    return f"{reserved[0]}_{segment[reserved.end() :]}" if reserved else segment


def _split(segment: str) -> tuple[str, str]:
    """Stem and file extension, the latter empty where there is none."""
    stem, _, tail = segment.rpartition(".")
    if not tail or not stem.strip(".") or not (tail.isalnum() or not any(map(str.isspace, tail))):
        return segment, ""
    extension = f".{tail}"
    if stem[-4:].lower() == ".tar" and stem[:-4].strip("."):
        stem, extension = stem[:-4], stem[-4:] + extension
    if len(extension) * 4 > _MAX_EXTENSION_BYTES < len(extension.encode(errors="replace")):
        return segment, ""
    return stem, extension


def _shorten(text: str, limit: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore").rstrip(". ")


def _around_number(path: str) -> tuple[str, str]:
    """What comes before and after the number of a renamed path, short enough for any number."""
    directory, slash, last = path.rstrip("/").rpartition("/")
    stem, after = (last, "/") if path.endswith("/") else _split(last)
    stem = _shorten(stem, MAX_SEGMENT_BYTES - _SUFFIX_ROOM - len(after.encode()))
    return directory + slash + stem, after


def _key(path: str) -> str:
    """What two paths have in common that some file system takes for the same."""
    path = path.rstrip("/")
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _digest(key: str) -> int:
    # SipHash with a secret of the process's: nobody finds paths that share one.
    return hash(key) & 0xFFFF_FFFF_FFFF_FFFF


def _parent(key: str) -> str:
    return key.rpartition("/")[0]
