"""The peers' Python environment, made on first use and again when its locked requirements change."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.process import ROOT

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
FOLDER = ROOT / ".bench-venv"


def peers_python() -> Path:
    """The interpreter that has the peers' libraries; installs them, hashes checked, where they are not yet."""
    python = FOLDER / "bin" / "python"
    stamp = FOLDER / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not python.exists() or not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing the peers into {FOLDER.name}", file=sys.stderr)
        venv.create(FOLDER, clear=True, with_pip=True)
        (FOLDER / ".gitignore").write_text("*\n")
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*install, "--requirement", str(REQUIREMENTS)], check=True)
        stamp.write_text(wanted)
    return python


def versions(python: Path) -> str:
    """The peers' libraries, in a line."""
    names = ("boto3", "smart-open", "stream-zip", "zipstream-ng")
    program = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    got = subprocess.run([python, "-c", program, *names], check=True, capture_output=True, text=True).stdout.split()
    return ", ".join(f"{name} {number}" for name, number in zip(names, got, strict=True))
