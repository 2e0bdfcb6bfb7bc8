"""What all connections of a proxy share: the server's address, the counts, the latency and the rule of faults."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from urllib.parse import urlsplit

from devtools import http1
from devtools.faults import Fault, Request, Reset, Rule, no_faults
from devtools.operations import operation_of
from devtools.relay import CONTROL, Link, Upstream


@dataclass(frozen=True, slots=True)
class Counts:
    """What passed since the start or the last reset; bytes are those of bodies, as they went over the wire.

    A request counts when its head arrives; one that met a fault counts as well, and its fault by its kind.
    """

    requests: Mapping[str, int]
    bytes_up: int
    bytes_down: int
    faults: Mapping[str, int]
    peak_in_flight: int

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    @property
    def bytes_both(self) -> int:
        return self.bytes_up + self.bytes_down


class Tally:
    """The mutable form of ``Counts``; touched by the proxy's thread alone."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.bytes_up = 0
        self.bytes_down = 0
        self.in_flight = 0
        self.peak_in_flight = 0

    def counts(self) -> Counts:
        return Counts(
            requests=dict(self.requests),
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            faults=dict(self.faults),
            peak_in_flight=self.peak_in_flight,
        )

    def reset(self) -> None:
        self.requests.clear()
        self.faults.clear()
        self.bytes_up = self.bytes_down = 0
        self.peak_in_flight = self.in_flight


class ProxyServer:
    """The proxy itself, inside one event loop; ``faults`` and ``latency`` may be replaced while it runs."""

    def __init__(self, upstream_url: str, *, latency: float = 0, faults: Rule = no_faults) -> None:
        upstream = urlsplit(upstream_url)
        if upstream.scheme != "http" or not upstream.hostname:
            raise ValueError(f"not a plain http URL: {upstream_url}")
        self.upstream = (upstream.hostname, upstream.port or 80)
        self.latency = latency
        self.faults = faults
        self.tally = Tally()
        self.open: set[Link | Upstream] = set()
        #: The first exception that a rule raised; a test must not pass over it.
        self.broken_rule: Exception | None = None

    async def start(self) -> tuple[asyncio.Server, str]:
        """Listen on a free port of 127.0.0.1; returns the server and its URL."""
        server = await asyncio.get_running_loop().create_server(partial(Link, self), "127.0.0.1", 0, backlog=1024)
        return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def stop(self, server: asyncio.Server) -> None:
        """Stop listening and drop what is open."""
        # A connection that was accepted a moment ago shows up in `open` once its task has run, and would be left open
        # for good if the server were closed by then. So nothing is accepted any more, then the tasks run.
        for listener in server.sockets:
            asyncio.get_running_loop().remove_reader(listener)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
        server.close()
        while self.open:
            for each in list(self.open):
                each.drop()
            await asyncio.sleep(0)
        await server.wait_closed()

    def decide(self, head: http1.RequestHead) -> tuple[Request, Fault | None]:
        """Count a request and ask the rule about it."""
        operation = operation_of(head)
        self.tally.requests[operation] += 1
        request = Request(
            method=head.method,
            path=head.path,
            query=head.query,
            headers=head.headers,
            operation=operation,
            number=self.tally.requests[operation],
        )
        try:
            fault = self.faults(request)
        except Exception as error:  # whatever a test's rule raises is kept for running_proxy to raise again
            self.broken_rule = self.broken_rule or error
            fault = Reset()
        if fault is not None:
            self.tally.faults[type(fault).__name__] += 1
        return request, fault

    def control(self, head: http1.RequestHead) -> bytes:
        """Carry out a request to the proxy itself; returns the counts as JSON, as they were before it."""
        counts = self.tally.counts()
        if head.path == CONTROL + "reset":
            self.tally.reset()
        elif head.path == CONTROL + "latency":
            self.latency = float(head.query["ms"])
        return json.dumps(asdict(counts)).encode()
