"""Child processes that do not outlive us: their own group, their log in a file, killed with their parent on Linux."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools.patience import Patience

# Runs in the child before it becomes the program: PR_SET_PDEATHSIG (prctl(2)) is the only guard that also works
# when this process is killed with SIGKILL. A preexec_fn would do the same but is unsafe beside threads.
_LAUNCHER = """
import os, signal, sys
parent, program = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
os.execvpe(program[0], program, os.environ)
"""


def spawn(
    program: Sequence[str], *, environment: Mapping[str, str], directory: Path, log: Path
) -> subprocess.Popen[bytes]:
    """Start ``program`` in a process group of its own; standard output and error are appended to ``log``.

    ``environment`` is the whole environment of the program: nothing of this process's leaks in. The child dies with
    the thread that called this.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *program],
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], *, patience: float, first: signal.Signals = signal.SIGTERM) -> int:
    """Ask the process to stop, wait ``patience`` seconds, then kill its group; answer its exit code.

    Whatever is left of the group is killed in any case, and so is everything if the wait is interrupted.
    """
    try:
        if exit_code(process) is None:
            os.kill(process.pid, first)
            wait_until(lambda: exit_code(process) is not None, seconds=patience)
    finally:
        kill_group(process)
    return process.wait()


def exit_code(process: subprocess.Popen[bytes]) -> int | None:
    """How the process has ended (negative: by which signal), None while it runs.

    It keeps its id until ``kill_group``. After ``poll`` or ``wait`` the id may soon be another's, which would be killed
    for what was left of this one's group. Where there is no waitid (macOS before Python 3.13) it is ``poll``.
    """
    if process.returncode is not None or not hasattr(os, "waitid"):
        return process.poll()
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to everything in the process's group; nothing where that was done before."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True, slots=True)
class Program:
    """A running program and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        """Does it run?"""
        return exit_code(self.process) is None

    def output(self) -> str:
        """All that it has said so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def send_signal(self, number: signal.Signals) -> None:
        """A signal to it alone, where it runs."""
        if self.alive():
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> int | None:
        """The exit code (negative: the signal), or None where it still runs after ``seconds``."""
        wait_until(lambda: not self.alive(), seconds=seconds)
        return exit_code(self.process)

    def stop(self, *, patience: float = 60) -> int:
        """SIGTERM, then SIGKILL after ``patience`` seconds; the exit code (negative: the signal)."""
        return stop(self.process, patience=patience)

    def kill(self) -> None:
        """SIGKILL to its whole group."""
        kill_group(self.process)


def wait_until(condition: Callable[[], bool], *, seconds: float, interval: float = 0.05) -> bool:
    """Poll ``condition``; False where it did not hold within ``seconds``."""
    patience = Patience(seconds)
    while not condition():
        if not patience.left():
            return False
        time.sleep(interval)
    return True


def tail(log: Path, *, lines: int = 40) -> str:
    """The end of a log, or a word on its absence."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"({error})"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"
