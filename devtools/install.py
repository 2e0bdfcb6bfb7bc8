"""Makes a virtual environment match a hash-locked requirements file: ``python -m devtools.install VENV FILE``.

Standard library only, since it runs before anything is installed. The work is uv's, which takes seconds where pip
takes a minute; but uv does not read pip's configuration, and a machine whose packages come from a mirror or a folder
says so there, so it is handed on. ``--project`` adds the checkout itself, editable.
"""

import argparse
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
UV = CHECKOUT / "requirements" / "uv.txt"

#: pip's settings and what uv calls them; pip separates the values of a list with white space, as uv does.
_UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
}
#: Of these uv wants the items separated by commas.
_COMMAS = ("UV_FIND_LINKS",)


def install(folder: Path, requirements: Path, *, project: bool) -> None:
    """Create the environment where it is missing and bring it to exactly ``requirements``."""
    python = folder / "bin" / "python"
    if not _runs(python):
        print(f"{folder}: creating with Python {sys.version.split()[0]}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
    print(f"{folder}: installing {requirements.relative_to(CHECKOUT)}", flush=True)
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", UV)
    environment = {**_from_pip(python), **os.environ, "VIRTUAL_ENV": str(folder.resolve())}
    # pip picks the best version of all its indexes, and hashes guard the choice: uv shall do the same.
    environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    uv = (folder / "bin" / "uv", "pip")
    _run(*uv, "sync", "--quiet", "--require-hashes", requirements, UV, environment=environment)
    if project:
        # By its path: setuptools' own way is a finder, for which each start of Python takes twice its time.
        plain = ("--config-setting", "editable_mode=compat")
        editable = (*uv, "install", "--quiet", "--no-deps", "--no-build-isolation", *plain, "-e", CHECKOUT)
        _run(*editable, environment=environment)


def uv_settings(pip_config: str) -> dict[str, str]:
    """What the lines of ``pip config list`` (``section.name='value'``) mean for uv."""
    settings: dict[str, str] = {}
    for line in pip_config.splitlines():
        key, _, value = line.partition("=")
        name = _UV_NAMES.get(key.rpartition(".")[2])
        words = value.strip().strip("'\"").replace("\\n", " ").split()
        if name and words:
            settings[name] = ("," if name in _COMMAS else " ").join(words)
    return settings


def _from_pip(python: Path) -> Mapping[str, str]:
    answer = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    return uv_settings(answer.stdout)


def _runs(python: Path) -> bool:
    # A copied or moved environment, or one whose interpreter is gone, has a python that does not start.
    try:
        return subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run(*program: str | Path, environment: Mapping[str, str] | None = None) -> None:
    code = subprocess.run(program, env=environment, check=False).returncode
    if code:
        raise SystemExit(f"{' '.join(map(str, program))}: exit code {code}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("venv", type=Path)
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--project", action="store_true", help="also install the checkout, editable")
    options = parser.parse_args()
    install(options.venv, options.requirements.resolve(), project=options.project)
