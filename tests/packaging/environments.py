"""Environments with the package and with exactly what it asks for: no network, and nothing else of the checkout's."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from devtools.localstack import CHECKOUT

#: What setuptools reads, and what stands beside the package without being of it.
_SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "celeryconfig.py", "archiver", "tasks")
_UV = Path(sys.executable).parent / "uv"
_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment of its own."""

    folder: Path

    def run(self, *command: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, with nothing in the process's environment but ``variables``."""
        return subprocess.run(
            [self.folder / "bin" / command[0], *command[1:]],
            cwd=directory,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(self.folder), **variables},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )


def copy_of_the_checkout(folder: Path) -> Path:
    """The sources of the package: a build leaves files beside them, and would take along what an older one left."""
    folder.mkdir()
    for name in _SOURCES:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CHECKOUT / name, folder / name)
    return folder


def build(sources: Path, *, editable: bool = False) -> Path:
    """The wheel that pip would install, made by the build backend that pyproject.toml names."""
    hook = "build_editable" if editable else "build_wheel"
    wheels = sources.parent / hook
    wheels.mkdir()
    script = f"from setuptools import build_meta; build_meta.{hook}({str(wheels)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=sources, check=True, capture_output=True, timeout=_SECONDS)
    (wheel,) = wheels.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path, *, extras: frozenset[str] = frozenset()) -> Environment:
    """A new environment with the wheel, and with what its metadata asks for as links to the packages of ours."""
    venv.create(folder, with_pip=False, symlinks=True)
    subprocess.run(
        [_UV, "pip", "install", "--quiet", "--offline", "--no-index", "--no-deps", "--no-config", wheel],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "VIRTUAL_ENV": str(folder)},
        check=True,
        capture_output=True,
        timeout=_SECONDS,
    )
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    for found in _wanted(_requirements(wheel), extras):
        for name in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link = packages / name
            if not link.exists():
                link.symlink_to(str(found.locate_file(name)))
        _write_scripts(found, folder)
    return Environment(folder)


def _write_scripts(found: Distribution, folder: Path) -> None:
    for point in found.entry_points.select(group="console_scripts"):
        script = folder / "bin" / point.name
        call = f"from {point.module} import {point.attr}\nraise SystemExit({point.attr}())\n"
        script.write_text(f"#!{folder}/bin/python\n{call}", encoding="utf-8")
        script.chmod(0o755)


def names_in(wheel: Path) -> set[str]:
    """The top level of a wheel, without its metadata."""
    with zipfile.ZipFile(wheel) as opened:
        return {name.partition("/")[0] for name in opened.namelist() if ".dist-info/" not in name}


def _requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(opened.read(name)).get_all("Requires-Dist", [])


def _wanted(requirements: list[str], extras: frozenset[str]) -> Iterator[Distribution]:
    """The distributions of this environment that satisfy the requirements, and theirs."""
    seen: set[tuple[str, str]] = set()
    waiting = [(text, extra) for text in requirements for extra in ("", *extras)]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                found = distribution(name)
                waiting += [(text, wanted) for text in found.requires or ()]
                yield found
