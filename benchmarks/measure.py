"""Runs one command and reports what it cost: ``python -I -S measure.py TIMEOUT COMMAND ...``.

A process of its own, and a small one: on Linux the peak memory of a child starts at its parent's, so that a large
parent would hide the child's own figure. Prints one JSON object; what the command prints goes to standard error.
"""

import json
import os
import signal
import sys
import time

timeout, command = int(sys.argv[1]), sys.argv[2:]
started = time.monotonic()
child = os.posix_spawn(command[0], command, os.environ, setpgroup=0, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: os.killpg(child, signal.SIGKILL))
signal.alarm(timeout)
_, status, usage = os.wait4(child, 0)
figures = {
    "exit": os.waitstatus_to_exitcode(status),
    "wall": time.monotonic() - started,
    "cpu": usage.ru_utime + usage.ru_stime,
    "peak": usage.ru_maxrss * 1024,
}
print(json.dumps(figures))
