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

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlencode

from devtools.faults import Rule, at_random, no_faults
from devtools.proxy_server import Counts, ProxyServer
from devtools.relay import CONTROL

__all__ = ["Counts", "Proxy", "RemoteProxy", "running_proxy", "spawned_proxy"]

# ---------------------------------------------------------------------------------------------------------------
# In a thread, with rules that may be any callable


class Proxy:
    """A proxy that runs in a thread of this process."""

    def __init__(self, server: ProxyServer, url: str, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self.url = url

    def counts(self) -> Counts:
        """What passed since the start or the last reset."""
        return self._in_loop(reset=False)

    def reset(self) -> Counts:
        """Count from zero, and number requests from 1; returns the counts until now."""
        return self._in_loop(reset=True)

    def set_faults(self, rule: Rule) -> None:
        """Let another rule decide from the next request on."""
        self._server.faults = rule

    def set_latency(self, milliseconds: float) -> None:
        """Add this to each request from the next one on."""
        self._server.latency = milliseconds

    def _in_loop(self, *, reset: bool) -> Counts:
        async def read() -> Counts:
            counts = self._server.tally.counts()
            if reset:
                self._server.tally.reset()
            return counts

        return asyncio.run_coroutine_threadsafe(read(), self._loop).result()


@contextlib.contextmanager
def running_proxy(upstream_url: str, *, latency: float = 0, faults: Rule = no_faults) -> Iterator[Proxy]:
    """Run a proxy in a thread of this process; an exception of the rule is raised again at the end."""
    server = ProxyServer(upstream_url, latency=latency, faults=faults)
    loop = asyncio.new_event_loop()
    listener, url = loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()
    try:
        yield Proxy(server, url, loop)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(listener), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    if server.broken_rule is not None:
        raise server.broken_rule


# ---------------------------------------------------------------------------------------------------------------
# As a process of its own


class RemoteProxy:
    """A proxy in another process, asked over its control path."""

    def __init__(self, url: str) -> None:
        self.url = url

    def counts(self) -> Counts:
        """What passed since the start or the last reset."""
        return self._ask("counts")

    def reset(self) -> Counts:
        """Count from zero; returns the counts until now."""
        return self._ask("reset")

    def set_latency(self, milliseconds: float) -> None:
        """Add this to each request from the next one on."""
        self._ask("latency", ms=milliseconds)

    def _ask(self, what: str, **query: float) -> Counts:
        url = f"{self.url}{CONTROL}{what}?{urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310  # our own http URL
            return Counts(**json.load(response))


@contextlib.contextmanager
def spawned_proxy(upstream_url: str, *, latency: float = 0) -> Iterator[RemoteProxy]:
    """Run a proxy as a process of its own; it ends with the block, or with this process, whatever ends that."""
    command = [sys.executable, "-m", "devtools.proxy", upstream_url, "--latency", str(latency)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError("the proxy did not start")
        try:
            yield RemoteProxy(url)
        finally:
            process.stdin.close()
            process.wait(timeout=30)


async def _serve(server: ProxyServer) -> None:
    listener, url = await server.start()
    print(url, flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Its end of file says that whoever started the proxy is gone.
    threading.Thread(
        target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), name="stdin", daemon=True
    ).start()
    await ended.wait()
    await server.stop(listener)


def main() -> None:
    """Serve until standard input ends: ``python -m devtools.proxy URL [--latency MS] [--fault-share S --seed N]``."""
    parser = argparse.ArgumentParser(prog="python -m devtools.proxy", description="A counting proxy before S3 or SQS.")
    parser.add_argument("upstream", help="URL of the server")
    parser.add_argument("--latency", type=float, default=0, metavar="MS", help="added to each request")
    parser.add_argument("--fault-share", type=float, default=0, metavar="SHARE", help="of all requests, 0 to 1")
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    options = parser.parse_args()
    rule = at_random(options.fault_share, seed=options.seed) if options.fault_share else no_faults
    asyncio.run(_serve(ProxyServer(options.upstream, latency=options.latency, faults=rule)))


if __name__ == "__main__":
    main()
