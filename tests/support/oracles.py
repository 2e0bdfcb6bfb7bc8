"""Independent readers of ZIP archives: what all of them agree on is what the user's program will see.

Each answers the files of an archive as ``{name: SHA-256 in hex}``; a CRC that does not match, a structure that it
dislikes or a warning that changes its exit code fails the test with the program's own words.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import pytest

Listing = dict[str, str]

#: Names in Chinese or emoji need a UTF-8 locale in unzip, 7z and bsdtar.
ENVIRONMENT = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
JAVA_SOURCE = Path(__file__).with_name("ReadZip.java")
SECONDS = 300


class MissingReader(Exception):
    """A program is not installed."""


def sha256(body: bytes) -> str:
    """The digest as the listings have it."""
    return hashlib.sha256(body).hexdigest()


class Readers:
    """All readers, with a scratch folder for what they extract and for the compiled Java program."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._readers: dict[str, Callable[[Path], Listing]] = {
            "python": _python,
            "unzip": self._unzip,
            "7z": self._seven_zip,
            "bsdtar": self._bsdtar,
            "java, as a stream": lambda archive: self._java("stream", archive),
            "java, as a file": lambda archive: self._java("file", archive),
        }
        self.missing: dict[str, str] = {}

    def read(self, archive: Path) -> dict[str, Listing]:
        """The archive's files by reader. With CI set, a missing program fails the test; else it is left out."""
        listings: dict[str, Listing] = {}
        for name, reader in self._readers.items():
            try:
                listings[name] = reader(archive)
            except MissingReader as error:
                if os.environ.get("CI"):
                    pytest.fail(f"{error}: with CI set, every reader is needed")
                self.missing[name] = str(error)
        return listings

    def read_by(self, reader: str, archive: Path) -> Listing:
        """What one of them finds. Raises ``MissingReader``."""
        return self._readers[reader](archive)

    def check(self, archive: Path, expected: Mapping[str, bytes | str]) -> None:
        """Assert that every reader finds exactly ``expected``: names to bodies, or to their SHA-256 in hex."""
        wanted = {name: body if isinstance(body, str) else sha256(body) for name, body in expected.items()}
        for reader, listing in self.read(archive).items():
            assert listing == wanted, f"{reader} reads something else"

    def _unzip(self, archive: Path) -> Listing:
        _run("unzip", "-tqq", archive)
        return self._extracted(lambda folder: _run("unzip", "-qq", archive, "-d", folder))

    def _seven_zip(self, archive: Path) -> Listing:
        _run("7z", "t", "-bd", archive)
        return self._extracted(lambda folder: _run("7z", "x", "-bd", "-y", f"-o{folder}", archive))

    def _bsdtar(self, archive: Path) -> Listing:
        _run("bsdtar", "-tf", archive)
        return self._extracted(lambda folder: _run("bsdtar", "-xf", archive, "-C", folder))

    def _java(self, mode: str, archive: Path) -> Listing:
        output = _run("java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", self._classes, "ReadZip", mode, archive)
        pairs = [line.split(" ", 1) for line in output.splitlines()]
        return _unique([(name, digest) for digest, name in pairs])

    @cached_property
    def _classes(self) -> Path:
        # javac by way of java, so that one program on PATH is enough; a runtime without a compiler counts as missing.
        folder = self._scratch / "classes"
        try:
            _run("java", "-m", "jdk.compiler/com.sun.tools.javac.Main", "-d", folder, JAVA_SOURCE)
        except AssertionError as error:
            raise MissingReader(f"java is not a JDK ({error})") from error
        return folder

    def _extracted(self, extract: Callable[[Path], object]) -> Listing:
        with tempfile.TemporaryDirectory(dir=self._scratch) as name:
            folder = Path(name)
            extract(folder)
            return {
                path.relative_to(folder).as_posix(): _digest(path) for path in folder.rglob("*") if not path.is_dir()
            }


def _python(archive: Path) -> Listing:
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        files = [entry for entry in opened.infolist() if not entry.is_dir()]
        listing = []
        for entry in files:
            with opened.open(entry) as body:
                listing.append((entry.filename, hashlib.file_digest(body, "sha256").hexdigest()))  # type: ignore[arg-type]  # typeshed wants readinto, which ZipExtFile inherits
        return _unique(listing)


def _digest(path: Path) -> str:
    with path.open("rb") as body:
        return hashlib.file_digest(body, "sha256").hexdigest()


def _unique(pairs: list[tuple[str, str]]) -> Listing:
    listing = dict(pairs)
    assert len(listing) == len(pairs), "a name is there twice"
    return listing


def _run(program: str, *arguments: str | Path) -> str:
    if shutil.which(program) is None:
        raise MissingReader(f"{program} is not installed")
    answer = subprocess.run(
        [program, *arguments], env=ENVIRONMENT, capture_output=True, check=False, timeout=SECONDS, cwd="/"
    )
    output = answer.stdout.decode("utf-8", "replace")
    assert answer.returncode == 0, (
        f"{program} ended with {answer.returncode}: {(output + answer.stderr.decode('utf-8', 'replace'))[-2000:]}"
    )
    return output
