"""ECS task protection: while jobs run, neither scale-in nor a deployment stops the task.

The task asks the agent on its own host, and the agent asks ECS with the task's role. Protection that nobody renews
ends by itself, so that a worker that hangs does not hold its task for ever. What can't be had costs a log line: the
drain (``drain``) is there as ever. Spot, and a stop by hand, are not held back.

Source: Amazon ECS Developer Guide, task scale-in protection endpoint.
"""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from archiver.logs import get_logger

log = get_logger(__name__)

PATH = "/task-protection/v1/state"
#: What one request asks for, in minutes, and after how many seconds it is asked anew.
EXPIRES_MINUTES = 30
RENEW_SECONDS = 600.0
#: How long the protection outlives the last job, in seconds: ECS limits the requests, and small jobs come in rows.
LINGER_SECONDS = 10.0
#: Between two looks at whether jobs run, and after a request that failed, in seconds.
LOOK_SECONDS = 0.5
RETRY_SECONDS = 30.0
#: What a request may take, in seconds.
TIMEOUT_SECONDS = 3.0


class AgentError(Exception):
    """The agent did not do as asked; the message says why."""


class Protection:
    """The protection of this task. ``busy`` says whether jobs run; ``agent`` is the value of ECS_AGENT_URI."""

    def __init__(self, agent: str, *, busy: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._url = agent.rstrip("/") + PATH
        self._busy = busy
        self._clock = clock
        self._protected = False
        self._due = clock()
        self._idle_since: float | None = None
        self._stopped = threading.Event()
        # The agent is at a link-local address: no proxy leads there.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def look(self) -> None:
        """Ask for protection where jobs run, in good time again, and give it back where none does. Never raises."""
        now = self._clock()
        if self._busy():
            self._idle_since = None
            if now >= self._due:
                self._ask(True)
        elif self._protected:
            self._idle_since = now if self._idle_since is None else self._idle_since
            if now - self._idle_since >= LINGER_SECONDS:
                self._ask(False)

    def run(self) -> None:
        """Look until stopped."""
        while not self._stopped.wait(LOOK_SECONDS):
            self.look()

    def stop(self) -> None:
        """No look begins after this; what is protected is given back."""
        self._stopped.set()
        if self._protected:
            self._ask(False)

    def _ask(self, protected: bool) -> None:
        try:
            self._put({"ProtectionEnabled": True, "ExpiresInMinutes": EXPIRES_MINUTES} if protected else _OFF)
        except (OSError, ValueError, AgentError) as error:
            log.warning("task protection not changed", protected=protected, error=str(error))
            self._due = self._clock() + RETRY_SECONDS
            if not protected:
                self._protected = False  # it ends by itself
            return
        if protected != self._protected:
            log.info("task protection", protected=protected)
        self._protected = protected
        self._due = self._clock() + (RENEW_SECONDS if protected else 0)

    def _put(self, body: dict[str, object]) -> None:
        request = urllib.request.Request(  # noqa: S310 the agent's own address
            self._url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="PUT"
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise AgentError(f"HTTP {error.code}: {error.read()[:500].decode(errors='replace')}") from None
        # A 200 may hold ECS's own refusal, such as of a task that belongs to no service.
        if not isinstance(answer, dict) or "protection" not in answer:
            raise AgentError(json.dumps(answer)[:500])


_OFF: dict[str, object] = {"ProtectionEnabled": False}


def protected(agent: str, *, busy: Callable[[], bool]) -> Protection:
    """A protection with a thread of its own."""
    protection = Protection(agent, busy=busy)
    threading.Thread(target=protection.run, name="task-protection", daemon=True).start()
    return protection
