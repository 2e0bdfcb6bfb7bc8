"""HTTP by libcurl: few threads drive all transfers of a process, and the bytes move outside the interpreter's lock.

A transfer is handed over whole and its end is a callback; what it costs in Python is a few calls, whatever its size.
Each thread has a lane of its own, with its connections; what belongs together goes by one lane, and needs no locks.
Connections are kept and used again. Source: https://curl.se/libcurl/c/libcurl-multi.html
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence

from archiver.aws.handles import HttpSettings
from archiver.aws.lane import Lane
from archiver.aws.throttle import Throttle
from archiver.aws.transfer import Transfer

#: Threads that move bytes, where there are as many cores: one fills a core. More than two would wait for the
#: interpreter's lock most of the time.
LANES = min(2, os.cpu_count() or 1)


class Transfers:
    """All transfers of one process; a forked child begins anew. Nothing is opened before the first one."""

    def __init__(
        self,
        settings: HttpSettings,
        *,
        throttle: Throttle,
        lanes: int = LANES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._throttle = throttle
        self._clock = clock
        self._lock = threading.Lock()
        self._lanes: list[Lane | None] = [None] * lanes
        self._last = -1
        self._inherited: list[Lane | None] = []
        forked = weakref.WeakMethod(self._forked)
        os.register_at_fork(after_in_child=lambda: (method := forked()) and method())

    def _forked(self) -> None:
        # Their threads are the parent's, and so are the connections: to let go of them would say goodbye on them.
        self._inherited += self._lanes
        self._lanes = [None] * len(self._lanes)
        self._lock = threading.Lock()

    def lane(self) -> int:
        """The lane for what comes next: one after the other."""
        with self._lock:
            self._last = (self._last + 1) % len(self._lanes)
            return self._last

    def start(self, transfers: Sequence[Transfer]) -> None:
        """Begin transfers, all of one lane, as soon as the throttle lets them.

        In the lane's order, what writes and what is early first; led ones at once.
        """
        if not transfers:
            return
        number = transfers[0].lane
        with self._lock:
            lane = self._lanes[number]
            if lane is None or not lane.take(transfers):
                lane = self._lanes[number] = Lane(self._settings, self._throttle, self._clock)
                lane.take(transfers)

    def drop(self, transfer: Transfer) -> None:
        """Hang up on a transfer, which then ends with an error, unless it has ended."""
        with self._lock:
            lane = self._lanes[transfer.lane]
            if lane is not None:
                lane.drop(transfer)

    def slow_down(self) -> None:
        """An answer asked for less in a way that its status does not tell."""
        self._throttle.slow_down()

    def close(self) -> None:
        """End what is under way, with an error."""
        with self._lock:
            for number, lane in enumerate(self._lanes):
                if lane is not None:
                    lane.close()
                    self._lanes[number] = None
