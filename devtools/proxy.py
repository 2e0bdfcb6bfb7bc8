"""A proxy in front of an S3 or SQS endpoint that counts, slows down and injects faults.

In a test, where the rule of faults may be any callable::

    with running_proxy(server.url, faults=on("UploadPartCopy", ACCESS_DENIED)) as proxy:
        client = boto3.client("s3", endpoint_url=proxy.url)
        ...
        assert proxy.counts().requests["UploadPart"] == 3

and as a process of its own, where its work must not be the measured program's::

    with spawned_proxy(server.url, latency=20) as proxy: ...

Latency is in milliseconds, added to each request alone: it limits no concurrency.
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Self, TypeVar
from urllib.parse import urlsplit

from devtools.faults import Rule, no_faults
from devtools.link import Counts, Link, Traffic

__all__ = ["Counts", "Proxy", "RemoteProxy", "running_proxy", "spawned_proxy"]

Result = TypeVar("Result")


class Proxy:
    """A proxy on a free port of 127.0.0.1, in a thread of this process; ``running_proxy`` starts and stops it."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._links: dict[asyncio.Task[None], socket.socket] = {}
        self._listener: socket.socket | None = None
        # Bound and never listening, it keeps the port while the proxy refuses connections.
        self._port = _bound(0)
        self.url = f"http://127.0.0.1:{self._port.getsockname()[1]}"

    def counts(self) -> Counts:
        """What passed since the start or the last reset."""
        return self._in_loop(lambda: self._traffic.counts(reset=False))

    def reset(self) -> Counts:
        """Count from zero, and number requests from 1; returns the counts until now."""
        return self._in_loop(lambda: self._traffic.counts(reset=True))

    def set_faults(self, rule: Rule) -> None:
        """Let another rule decide from the next request on."""
        self._traffic.rule = rule

    def set_latency(self, milliseconds: float) -> None:
        """Add this to each request from the next one on."""
        self._traffic.latency = milliseconds

    def open(self) -> None:
        """Take connections, as at the start."""
        self._in_loop(self._listen)

    def shut(self) -> None:
        """Refuse connections, and break those that are there, as a server that is gone does."""
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()

    def __enter__(self) -> Self:
        self._thread.start()
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._port.close()

    def _listen(self) -> None:
        self._listener = _bound(self._port.getsockname()[1])
        self._listener.listen(1024)
        self._loop.add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # a client that is gone again
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            task = self._loop.create_task(Link(self._traffic).serve(accepted))
            self._links[task] = accepted
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        # One that was cancelled before it began has closed nothing.
        self._links.pop(task).close()
        if not task.cancelled():
            self._traffic.broken = self._traffic.broken or task.exception()

    async def _hang_up(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        while self._links:
            for task in self._links:
                task.cancel()
            await asyncio.wait(self._links)
            await asyncio.sleep(0)  # for their transports, which close in the loop's next round

    def _in_loop(self, step: Callable[[], Result]) -> Result:
        async def carry_out() -> Result:
            return step()

        return asyncio.run_coroutine_threadsafe(carry_out(), self._loop).result()


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # said, so that asyncio sets NODELAY
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)
    return bound


@contextlib.contextmanager
def running_proxy(upstream_url: str, *, latency: float = 0, faults: Rule = no_faults) -> Iterator[Proxy]:
    """Run a proxy in a thread of this process; an exception of the rule is raised again at the end."""
    upstream = urlsplit(upstream_url)
    if upstream.scheme != "http" or not upstream.hostname:
        raise ValueError(f"not a plain http URL: {upstream_url}")
    traffic = Traffic((upstream.hostname, upstream.port or 80), latency, faults)
    with Proxy(traffic) as proxy:
        yield proxy
    if traffic.broken is not None:
        raise traffic.broken


class RemoteProxy:
    """A proxy in another process: a line asks, a line answers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = self._answer()

    def counts(self) -> Counts:
        """What passed since the start or the last reset."""
        return self._ask("counts")

    def reset(self) -> Counts:
        """Count from zero; returns the counts until now."""
        return self._ask("reset")

    def set_latency(self, milliseconds: float) -> None:
        """Add this to each request from the next one on."""
        self._ask(f"latency {milliseconds}")

    def _ask(self, what: str) -> Counts:
        assert self._process.stdin is not None
        print(what, file=self._process.stdin, flush=True)
        return Counts(**json.loads(self._answer()))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("the proxy's process has ended")
        return line


@contextlib.contextmanager
def spawned_proxy(upstream_url: str, *, latency: float = 0) -> Iterator[RemoteProxy]:
    """Run a proxy as a process of its own; it ends with the block, or with this process, whatever ends that."""
    command = [sys.executable, "-m", "devtools.proxy", upstream_url, str(latency)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        try:
            yield RemoteProxy(process)
        finally:
            process.stdin.close()
            process.wait(timeout=30)


def main() -> None:
    """``python -m devtools.proxy URL LATENCY``: prints its URL, then the counts for each line that comes."""
    with running_proxy(sys.argv[1], latency=float(sys.argv[2])) as proxy:
        print(proxy.url, flush=True)
        for line in sys.stdin:
            what, _, value = line.strip().partition(" ")
            if what == "latency":
                proxy.set_latency(float(value))
            print(json.dumps(asdict(proxy.reset() if what == "reset" else proxy.counts())), flush=True)


if __name__ == "__main__":
    main()
