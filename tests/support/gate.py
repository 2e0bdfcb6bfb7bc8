"""A rule of the proxy that holds requests back until a test lets them go."""

import threading

from devtools.faults import Fault, Hold, Request


class Gate:
    """Holds the requests of an operation back, from its ``first`` on, until it is opened; all others pass.

    It waits in none of the proxy's own steps: a server may hold a lock until it has the whole of another request
    (LocalStack writes a part so), and other workers would wait for that.
    """

    def __init__(self, operation: str | None = None, first: int = 1) -> None:
        self.operation = operation
        self.first = first
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, request: Request) -> Fault | None:
        if request.operation != self.operation or request.number < self.first or self.opened.is_set():
            return None
        self.reached.set()
        return Hold(self.opened)
