"""The test harness's own proxy: what it forwards, counts, holds back and breaks."""

import gc
import http.client
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from devtools import faults
from devtools.faults import Answer, Cut, Fault, Flip, Hold, Page, Request, Reset, Slow, on
from devtools.proxy import Proxy, running_proxy, spawned_proxy
from tests.support.object_server import ObjectServer, ask, ask_once, connect, connect_raw

MIB = 1024 * 1024
GONE = (ConnectionError, http.client.RemoteDisconnected)


@pytest.fixture
def upstream() -> Iterator[ObjectServer]:
    with ObjectServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(upstream: ObjectServer) -> Iterator[Proxy]:
    with running_proxy(upstream.url) as running:
        yield running


@pytest.fixture
def client(proxy: Proxy) -> Iterator[http.client.HTTPConnection]:
    with closing(connect(proxy.url)) as connection:
        yield connection


def sdk(service: str, url: str, *, attempts: int = 1) -> Any:
    config = Config(retries={"total_max_attempts": attempts, "mode": "standard"}, max_pool_connections=50)
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, endpoint_url=url, region_name="us-east-1", config=config, **keys)  # type: ignore[call-overload]


# What passes


def test_bodies_pass_unchanged_and_are_counted_both_ways(upstream: ObjectServer, proxy: Proxy, client: Any) -> None:
    body = bytes(range(256)) * 20_000

    assert ask(client, "PUT", "/bucket/key", body) == (200, b"")
    assert ask(client, "GET", "/bucket/key") == (200, body)
    assert ask(client, "HEAD", "/bucket/key") == (200, b"")

    assert upstream.stored["/bucket/key"] == body
    counts = proxy.reset()
    assert counts.requests == {"PutObject": 1, "GetObject": 1, "HeadObject": 1}
    assert (counts.total, counts.bytes_up, counts.bytes_down, counts.bytes_both) == (3, *[len(body)] * 2, 2 * len(body))
    assert proxy.counts().total == proxy.counts().bytes_both == 0
    # over one connection on either side, and with the Host header that the client has signed
    assert upstream.connections == 1
    assert {host for _, _, host in upstream.seen} == {urlsplit(proxy.url).netloc}


@pytest.mark.parametrize("way", ["chunked", "until-close"])
def test_bodies_of_unknown_length_end_where_they_end(
    upstream: ObjectServer, proxy: Proxy, client: Any, way: str
) -> None:
    ask(client, "PUT", "/bucket/key", iter([b"a" * 70_000, b"b", b"c" * 70_000]))

    assert ask(client, "GET", f"/bucket/key?{way}") == (200, b"a" * 70_000 + b"b" + b"c" * 70_000)
    assert ask(client, "GET", "/bucket/key?again")[0] == 200
    assert (proxy.counts().bytes_up, proxy.counts().bytes_down) == (140_001, 2 * 140_001)


@pytest.mark.parametrize("target", ["/b/k", "/b/k?partNumber=1&uploadId=u"], ids=["PutObject", "UploadPart"])
def test_leave_to_send_a_body_passes_before_the_body(upstream: ObjectServer, proxy: Proxy, target: str) -> None:
    with connect_raw(proxy.url) as raw:
        raw.sendall(f"PUT {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n".encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 100")
        raw.sendall(b"abc")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200")
    assert upstream.stored == {target: b"abc"}


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"], ids=["at once", "with leave"])
def test_a_small_object_reaches_the_server_whole_or_not_at_all(
    upstream: ObjectServer, proxy: Proxy, expect: str
) -> None:
    with connect_raw(proxy.url) as raw:
        raw.sendall(f"PUT /b/torn HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n{expect}\r\n".encode())
        if expect:
            assert raw.recv(1000).startswith(b"HTTP/1.1 100")
        raw.sendall(b"abc")
        while proxy.counts().bytes_up < 3:
            time.sleep(0.01)
    while proxy.reset().peak_in_flight:
        time.sleep(0.01)
    assert ask_once(proxy.url, "PUT", "/b/whole", b"abc") == (200, b"")
    assert upstream.stored == {"/b/whole": b"abc"}
    assert upstream.connections == 1


def test_a_slow_reader_slows_the_server_down_instead_of_filling_memory(upstream: ObjectServer, proxy: Proxy) -> None:
    upstream.stored["/bucket/key"] = bytes(64 * MIB)

    with closing(connect(proxy.url)) as connection:
        connection.request("GET", "/bucket/key")
        response = connection.getresponse()
        passed = -1
        while passed != (passed := proxy.counts().bytes_down):
            time.sleep(0.05)
        assert passed < 32 * MIB
        assert len(response.read()) == 64 * MIB


def test_a_proxy_that_is_shut_refuses_until_it_is_opened_again(proxy: Proxy, client: Any) -> None:
    proxy.set_latency(60_000)
    client.request("GET", "/bucket/key")
    while not proxy.counts().total:
        time.sleep(0.01)
    proxy.shut()
    with pytest.raises(GONE):
        client.getresponse()
    with pytest.raises(ConnectionRefusedError):
        connect_raw(proxy.url)

    proxy.set_latency(0)
    proxy.open()
    assert ask_once(proxy.url, "GET", "/bucket/key") == (200, b"")


def test_nothing_stays_open_however_many_knock_at_the_end(upstream: ObjectServer) -> None:
    def knock(url: str, ended: threading.Event) -> None:
        while not ended.is_set():
            with suppress(OSError), connect_raw(url):
                pass

    for _ in range(5):
        ended = threading.Event()
        with ThreadPoolExecutor(3) as threads:
            with running_proxy(upstream.url) as proxy:
                for _ in range(3):
                    threads.submit(knock, proxy.url, ended)
                ask_once(proxy.url, "GET", "/b/k")
            ended.set()
        # A socket that nobody closed warns here, and a warning is an error.
        gc.collect()


def test_a_proxy_of_its_own_process_counts_and_delays(upstream: ObjectServer) -> None:
    with spawned_proxy(upstream.url, latency=100) as proxy, closing(connect(proxy.url)) as connection:
        started = time.monotonic()
        ask(connection, "PUT", "/bucket/key", b"12345")
        assert time.monotonic() - started >= 0.1
        counts = proxy.reset()
        assert (counts.requests, counts.bytes_up, proxy.counts().total) == ({"PutObject": 1}, 5, 0)
        proxy.set_latency(0)
        assert ask(connection, "GET", "/bucket/key") == (200, b"12345")


def test_only_a_plain_http_server_can_be_proxied() -> None:
    with pytest.raises(ValueError, match="https://example"), running_proxy("https://example.com"):
        pass


# Faults


def test_a_refused_operation_never_reaches_the_server(upstream: ObjectServer, proxy: Proxy) -> None:
    proxy.set_faults(on("UploadPartCopy", faults.ACCESS_DENIED))
    s3 = sdk("s3", proxy.url)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.upload_part_copy(Bucket="b", Key="k", UploadId="u", PartNumber=1, CopySource="b/source")
    s3.upload_part(Bucket="b", Key="k", UploadId="u", PartNumber=2, Body=b"literal")

    assert [path for _, path, _ in upstream.seen] == ["/b/k?uploadId=u&partNumber=2"]
    assert proxy.counts().faults == {"Answer": 1}


def test_an_upload_is_refused_before_its_body_is_asked_for(upstream: ObjectServer, proxy: Proxy) -> None:
    proxy.set_faults(on("PutObject", faults.SLOW_DOWN, times=1))
    sdk("s3", proxy.url, attempts=2).put_object(Bucket="bucket", Key="key", Body=b"x" * 2 * MIB)

    assert len(upstream.seen) == 1
    assert proxy.counts().bytes_up == 2 * MIB


def test_a_body_that_was_on_its_way_is_drained_and_its_connection_lives_on(proxy: Proxy, client: Any) -> None:
    proxy.set_faults(on("PutObject", faults.SLOW_DOWN, times=1))
    status, body = ask(client, "PUT", "/bucket/key", b"x" * MIB)
    assert (status, b"<Code>SlowDown</Code>" in body) == (503, True)
    sock = client.sock
    assert ask(client, "PUT", "/bucket/key", b"y" * MIB) == (200, b"")
    assert client.sock is sock


@pytest.mark.parametrize("fault", [Answer(500, "InternalError", effect=True), Reset(effect=True), Reset(), Page()])
def test_an_answer_may_be_another_one_with_the_effect_or_without(
    upstream: ObjectServer, proxy: Proxy, client: Any, fault: Answer | Reset | Page
) -> None:
    proxy.set_faults(on("PutObject", fault))
    if isinstance(fault, Reset):
        with pytest.raises(ConnectionResetError):
            ask(client, "PUT", "/bucket/key", b"12345")
    else:
        status, body = ask(client, "PUT", "/bucket/key", b"12345")
        assert (status, body[:6]) == (fault.status, b"<?xml " if isinstance(fault, Answer) else b"<html>")
        assert ask(client, "HEAD", "/bucket/key")[0] == 200
    assert bool(upstream.stored) is fault.effect


@pytest.mark.parametrize(("fault", "passed"), [(Cut(), 50_000), (Cut(after=7), 7), (Cut(after=0), 0)])
def test_a_cut_body_ends_early(upstream: ObjectServer, proxy: Proxy, client: Any, fault: Cut, passed: int) -> None:
    upstream.stored |= {"/bucket/key": b"x" * 100_000, "/bucket/short": b"x" * 5}
    proxy.set_faults(on("GetObject", fault))
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(client, "GET", "/bucket/key")
    assert len(caught.value.partial) == proxy.counts().bytes_down == passed
    # and a cut after the body's end cuts nothing
    if passed == 7:
        assert ask_once(proxy.url, "GET", "/bucket/short") == (200, b"x" * 5)


@pytest.mark.parametrize("method", ["HEAD", "PUT"])
def test_a_cut_without_a_body_cuts_the_head(upstream: ObjectServer, proxy: Proxy, method: str) -> None:
    proxy.set_faults(lambda _: Cut())
    with connect_raw(proxy.url) as raw:
        raw.sendall(f"{method} /bucket/key HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".encode())
        got = b"".join(iter(lambda: raw.recv(1000), b""))
    assert (got[:12], b"\r\n\r\n" in got) == (b"HTTP/1.1 200", False)
    assert upstream.seen[0][0] == method


@pytest.mark.parametrize(("fault", "at"), [(Flip(), 500_000), (Flip(at=999_999), 999_999), (Flip(at=0), 0)])
@pytest.mark.parametrize("way", ["", "?chunked"])
def test_one_bit_of_one_body_is_flipped(upstream: ObjectServer, proxy: Proxy, fault: Flip, at: int, way: str) -> None:
    body = upstream.stored["/bucket/key"] = bytes(1_000_000)
    proxy.set_faults(on("GetObject", fault, times=1))
    with closing(connect(proxy.url)) as connection:
        status, got = ask(connection, "GET", f"/bucket/key{way}")
        assert (status, len(got), sum(got)) == (200, 1_000_000, 1)
        assert got.index(1) == at or (way and fault.at is None)
        assert ask(connection, "GET", "/bucket/key") == (200, body)


def test_a_slow_body_takes_its_time(upstream: ObjectServer, proxy: Proxy, client: Any) -> None:
    upstream.stored["/bucket/key"] = bytes(1000)
    proxy.set_faults(on("GetObject", Slow(bytes_per_second=5000)))
    started = time.monotonic()
    assert ask(client, "GET", "/bucket/key") == (200, bytes(1000))
    assert time.monotonic() - started >= 0.2


def test_requests_are_held_together_until_they_are_let_go(proxy: Proxy) -> None:
    released = threading.Event()
    proxy.set_faults(on("HeadObject", Hold(released)))
    s3 = sdk("s3", proxy.url)
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(s3.head_object, Bucket="bucket", Key=str(n)) for n in range(20)]
        while proxy.counts().peak_in_flight < 20:
            time.sleep(0.01)
        assert not any(answer.done() for answer in answers)
        released.set()
        assert all(answer.result() for answer in answers)


def test_what_was_held_is_not_forwarded_for_a_client_that_is_gone(upstream: ObjectServer, proxy: Proxy) -> None:
    released = threading.Event()
    proxy.set_faults(on("PutObject", Hold(released), times=1))
    with connect_raw(proxy.url) as raw:
        raw.sendall(b"PUT /b/gone HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
        while not proxy.counts().total:
            time.sleep(0.01)
    while proxy.reset().peak_in_flight:
        time.sleep(0.01)
    released.set()
    assert ask_once(proxy.url, "PUT", "/b/there", b"abc") == (200, b"")
    assert upstream.stored == {"/b/there": b"abc"}


def test_an_sqs_error_speaks_json(proxy: Proxy) -> None:
    proxy.set_faults(on("SendMessage", Answer(500, "InternalFailure")))
    with pytest.raises(ClientError, match="InternalFailure"):
        sdk("sqs", proxy.url).send_message(QueueUrl=f"{proxy.url}/000000000000/queue", MessageBody="{}")


def test_a_rule_that_raises_fails_the_test_that_wrote_it(upstream: ObjectServer) -> None:
    def rule(_: Request) -> Fault | None:
        raise LookupError("a mistake in the rule")

    with (
        pytest.raises(LookupError, match="a mistake in the rule"),
        running_proxy(upstream.url, faults=rule) as proxy,
        pytest.raises(ConnectionResetError),
    ):
        ask_once(proxy.url, "GET", "/bucket/key")
