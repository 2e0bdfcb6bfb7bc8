"""Runs one command and reports what it cost: ``python -I -S measure.py TIMEOUT COMMAND ...``.

A process of its own, and a small one: on Linux the peak memory of a child starts at its parent's, so that a large
parent would hide the child's own figure. Prints one JSON object; the command's output goes to standard error's file.
"""

import json
import os
import signal
import sys
import time


def main() -> None:
    timeout, command = int(sys.argv[1]), sys.argv[2:]
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.dup2(2, 1)
        os.execv(command[0], command)

    def stop(_signum: int, _frame: object) -> None:
        os.killpg(child, signal.SIGKILL)

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.alarm(timeout)
    _, status, usage = os.wait4(child, 0)
    figures = {
        "exit": os.waitstatus_to_exitcode(status),
        "wall": time.monotonic() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024,
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
