"""One lane of transfers: its thread has libcurl move all of them, and begins what waits as the throttle lets it.

Source: https://curl.se/libcurl/c/libcurl-multi.html
"""

import select
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pycurl

from archiver.aws.failures import SLOW_DOWN_STATUSES
from archiver.aws.handles import Handle, HttpSettings
from archiver.aws.stragglers import FLOOR, MOST_BYTES, Stragglers
from archiver.aws.throttle import Throttle
from archiver.aws.transfer import Transfer
from archiver.logs import get_logger

log = get_logger(__name__)

#: Between two looks whether the throttle has a place again, in seconds; only while there is something to begin.
_LOOK_SECONDS = 0.02


class Lane:
    """The thread of a lane, and all that it alone touches."""

    def __init__(self, settings: HttpSettings, throttle: Throttle, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._throttle = throttle
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[Transfer] = deque()
        # Uploads, copies and listings go before reads: they are few, uploads give back memory that reads need, and
        # listings tell what is to be read next.
        self._writes: deque[Transfer] = deque()
        # Those that wait for no place go before both: what waits may wait for the very place that they are led under.
        self._led: deque[Transfer] = deque()
        self._woken = self._closing = self._over = False
        self._alarm, self._bell = socket.socketpair()
        self._alarm.setblocking(False)
        # Not selectors: libcurl has each transfer's socket watched and let go of, and those take longer than it does.
        # macOS has no epoll; poll counts in milliseconds.
        has_epoll = hasattr(select, "epoll")
        self._poll: Any = select.epoll() if has_epoll else select.poll()
        self._second = 1 if has_epoll else 1000
        self._poll.register(self._alarm, select.POLLIN)
        self._watched: set[int] = set()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, settings.connections)
        self._deadline: float | None = None
        # By their easy handles: what these can carry of ours is found more slowly.
        self._running: dict[pycurl.Curl, Handle] = {}
        self._idle: defaultdict[str, list[Handle]] = defaultdict(list)
        # By the handle of an overdue read, that of its second request; when to look for such reads, by the clock; and
        # what that said after the last events.
        self._hedges: dict[Handle, Handle] = {}
        self._stragglers = Stragglers()
        self._look_at = 0.0
        self._now = clock()
        # Paused ones that may go on, and those to be hung up on.
        self._resumed: list[Handle] = []
        self._dropped: list[Transfer] = []
        self._thread = threading.Thread(target=self._run, name="transfers", daemon=True)
        self._thread.start()

    def take(self, transfers: Sequence[Transfer]) -> bool:
        """Take transfers on; False where the lane has ended."""
        with self._lock:
            if self._over:
                return False
            for transfer in transfers:
                waits = transfer.method in ("GET", "HEAD") and not transfer.early
                queue = self._led if transfer.led else self._waiting if waits else self._writes
                queue.append(transfer)
            self._ring()
            return True

    def drop(self, transfer: Transfer) -> None:
        """Hang up on a transfer."""
        with self._lock:
            if not self._over:
                self._dropped.append(transfer)
                self._ring()

    def _ring(self) -> None:
        if not self._woken:
            self._woken = True
            self._bell.send(b"\0")

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            if not self._over:
                self._closing = True
                self._bell.send(b"\0")
        self._thread.join()

    # In the thread.

    def _run(self) -> None:
        reason = "closed"
        try:
            while not self._closing:
                self._turn()
                self._collect()
                self._resume()
                self._begin()
                if self._now >= self._look_at and not self._waiting and not self._writes:
                    self._hedge()
        except Exception as error:
            # Nobody may wait for ever; the next transfer gets a new lane.
            log.exception("transfers ended")
            reason = repr(error)
        finally:
            with self._lock:
                self._over = True
            while self._running:  # the end of one may be that of another
                self._end(next(iter(self._running.values())), reason)
            for transfer in (*self._led, *self._writes, *self._waiting):
                _tell_end(transfer, reason)
            self._multi.close()
            if hasattr(self._poll, "close"):
                self._poll.close()
            self._alarm.close()
            self._bell.close()

    def _turn(self) -> None:
        alarm = self._alarm.fileno()
        patience = self._patience()
        for descriptor, events in self._poll.poll(None if patience is None else patience * self._second):
            if descriptor == alarm:
                with self._lock:
                    self._alarm.recv(64)
                    self._woken = False
                continue
            # An error or a hang-up is for libcurl to find, be it reading or writing.
            mask = (pycurl.CSELECT_IN if events & ~select.POLLOUT else 0) | (
                pycurl.CSELECT_OUT if events & ~select.POLLIN else 0
            )
            self._multi.socket_action(descriptor, mask)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._now = self._clock()

    def _patience(self) -> float | None:
        """Seconds until something is due; None: until something happens."""
        if self._resumed:
            return 0.0
        due = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        if self._writes or self._waiting:
            look = _LOOK_SECONDS
        elif self._running:
            look = max(0.0, self._look_at - self._now)
        else:
            return due
        return look if due is None else min(due, look)

    def may_go_on(self, handle: Handle) -> None:
        """A paused transfer has something to do again; from a callback, in which libcurl can't be told."""
        self._resumed.append(handle)

    def _resume(self) -> None:
        if self._dropped:
            self._hang_up()
        while self._resumed:
            # Going on may bring more of them.
            handles, self._resumed = self._resumed, []
            for handle in handles:
                if handle.curl in self._running:
                    self._go_on(handle)

    def _go_on(self, handle: Handle) -> None:
        try:
            handle.curl.pause(pycurl.PAUSE_CONT)
        except pycurl.error as error:
            code, text = error.args
            if code != pycurl.E_BAD_FUNCTION_ARGUMENT:  # it has no connection yet, so nothing of it rests
                self._end(handle, f"{text} (curl {code})")

    def _hang_up(self) -> None:
        left = []
        with self._lock:
            dropped, self._dropped = set(self._dropped), []
            # A queue that grows meanwhile can't be gone through.
            for queue in (self._led, self._writes, self._waiting):
                found = [transfer for transfer in queue if transfer in dropped]
                for transfer in found:
                    queue.remove(transfer)
                left += found
        for handle in [handle for handle in self._running.values() if handle.transfer in dropped]:
            self._end(handle, "dropped")
        for transfer in left:
            _tell_end(transfer, "dropped")

    def _collect(self) -> None:
        left = 1
        while left:
            left, good, bad = self._multi.info_read()
            # The end of one may have been that of another.
            for curl in good:
                if (handle := self._running.get(curl)) is not None:
                    self._end(handle, None)
            for curl, code, text in bad:
                if (handle := self._running.get(curl)) is not None:
                    self._end(handle, f"{text or 'failed'} (curl {code})")

    def _begin(self) -> None:
        while (transfer := self._next()) is not None:
            self._set_out(transfer)

    def _set_out(self, transfer: Transfer) -> Handle | None:
        try:
            idle = self._idle[transfer.method]
            handle = idle.pop() if idle else Handle(transfer.method, self._settings, self.may_go_on)
            handle.load(transfer)
            self._multi.add_handle(handle.curl)
        except Exception as error:
            # Something of it that libcurl does not take, which is nobody else's fault. Not repr(error), which may
            # have it all, such as a proxy's password.
            if not transfer.led:
                self._throttle.leave(0)
            _tell_end(transfer, f"cannot begin: {type(error).__name__}: {error}")
            return None
        handle.begun = self._now
        self._running[handle.curl] = handle
        return handle

    def _next(self) -> Transfer | None:
        """The transfer to begin now; a place of the throttle is taken for it, where it needs one."""
        if self._led:
            return self._led.popleft()
        queue = self._writes or self._waiting
        return queue.popleft() if queue and self._throttle.try_enter() else None

    def _hedge(self) -> None:
        """Ask a second time for what is overdue, on another connection; what is there first is the answer.

        Nothing else waits: at the end of many reads the slowest hold all up, before it they cost but their places. A
        second request takes a place of its own.
        """
        self._look_at = self._now + FLOOR
        patience = self._stragglers.patience()
        if patience is None or self._throttle.is_narrowed:
            return
        for handle in list(self._running.values()):  # as they began
            if handle.begun + patience > self._now:
                self._look_at = handle.begun + patience
                return
            transfer = handle.transfer
            if transfer is None or not transfer.may_hedge(MOST_BYTES) or not handle.is_silent:
                continue
            # Of both the one before may have been the last.
            if self._stragglers.patience() is None or not self._throttle.try_enter():
                self._look_at = self._now + _LOOK_SECONDS
                return
            self._stragglers.spend()
            log.debug("asked a second time", after=round(self._now - handle.begun, 3))
            hedge = self._set_out(transfer.hedge(partial(self._hedge_ended, handle)))
            if hedge is not None:
                self._hedges[handle] = hedge

    def _hedge_ended(self, handle: Handle, hedge: Transfer) -> None:
        if self._hedges.pop(handle, None) is None:
            return  # the first request has ended, and this one is hung up on
        transfer = handle.transfer
        if transfer is not None and transfer.is_answered_by(hedge):
            self._end(handle, None, hedge)

    def _end(self, handle: Handle, error: str | None, answered_by: Transfer | None = None) -> None:
        """Tell the end of a transfer, and hang up on what else was under way for it."""
        if self._hedges and (hedge := self._hedges.pop(handle, None)) is not None:
            self._end(hedge, "dropped")
        self._multi.remove_handle(handle.curl)
        del self._running[handle.curl]
        transfer = handle.unload()
        error = error and (handle.reason or error)
        self._idle[transfer.method].append(handle)
        if answered_by is not None:
            transfer.take_over(answered_by)
        status = 0 if error else transfer.status
        if not transfer.led:
            self._throttle.leave(status)
            if 200 <= status < 300 and transfer.may_hedge(MOST_BYTES):
                self._stragglers.answered(self._now - handle.begun)
        elif status in SLOW_DOWN_STATUSES:
            self._throttle.slow_down()
        _tell_end(transfer, error)

    def _watch(self, what: int, descriptor: int, *_: object) -> None:
        """libcurl wants to know when a socket is ready."""
        known = descriptor in self._watched
        if what == pycurl.POLL_REMOVE:
            if known:
                self._watched.discard(descriptor)
                self._poll.unregister(descriptor)
            return
        events = (select.POLLIN if what & pycurl.POLL_IN else 0) | (select.POLLOUT if what & pycurl.POLL_OUT else 0)
        if known:
            self._poll.modify(descriptor, events)
        else:
            self._watched.add(descriptor)
            self._poll.register(descriptor, events)

    def _set_timer(self, milliseconds: int) -> None:
        """libcurl wants to be called by then."""
        self._deadline = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def _tell_end(transfer: Transfer, error: str | None) -> None:
    transfer.error = error
    try:
        transfer.ended(transfer)
    except Exception:
        # The others' ends are still to be told.
        log.exception("the end of a transfer was not taken")
