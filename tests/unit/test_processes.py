"""Child processes, ended by whoever started them and nobody else."""

import os
import signal
import sys
from pathlib import Path
from subprocess import Popen

import pytest

from devtools.processes import exit_code, kill_group, spawn, stop
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def started(script: str, tmp_path: Path) -> "Popen[bytes]":
    return spawn([sys.executable, "-c", script], environment={}, directory=tmp_path, log=tmp_path / "log")


def state(pid: int) -> str | None:
    """A letter of proc(5); None where no process has this id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


@pytest.mark.parametrize(
    ("script", "code"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL)]
)
def test_one_that_has_ended_keeps_its_id_until_its_group_is_killed(script: str, code: int, tmp_path: Path) -> None:
    process = started(script, tmp_path)
    assert eventually(lambda: exit_code(process) is not None)

    assert exit_code(process) == code
    assert state(process.pid) == "Z"

    kill_group(process)
    assert state(process.pid) is None
    assert exit_code(process) == code


def test_a_group_is_killed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = started("import time; time.sleep(1000)", tmp_path)
    assert exit_code(process) is None
    kill_group(process)
    assert exit_code(process) == -signal.SIGKILL

    # by now the id may be another's
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _: killed.append(group))
    kill_group(process)
    assert stop(process, patience=1) == -signal.SIGKILL
    assert killed == []


def test_what_is_left_of_a_group_ends_with_it(tmp_path: Path) -> None:
    script = "import subprocess; print(subprocess.Popen(['sleep', '1000']).pid, flush=True)"
    process = started(script, tmp_path)
    assert eventually(lambda: exit_code(process) is not None)
    left = int((tmp_path / "log").read_text())
    assert state(left) not in (None, "Z")

    assert stop(process, patience=1) == 0
    assert eventually(lambda: state(left) in (None, "Z"))
