"""The test harness's own proxy: what it forwards, counts, delays and breaks."""

import gc
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from devtools.faults import (
    ACCESS_DENIED,
    INTERNAL_ERROR,
    SLOW_DOWN,
    Answer,
    Cut,
    Delay,
    Fault,
    Request,
    Reset,
    Rule,
    at_random,
    first_of,
    on,
)
from devtools.http1 import Chunked, HeadError, parse_request
from devtools.operations import operation_of
from devtools.proxy import Proxy, running_proxy, spawned_proxy

MIB = 1024 * 1024


class Upstream(ThreadingHTTPServer):
    """Stores what is PUT, returns it to GET, and remembers each request that reached it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.stored: dict[str, bytes] = {}
        self.connections = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, object]:
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that the proxy drops is what the tests want."""


class Handler(BaseHTTPRequestHandler):
    server: Upstream
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _note(self) -> None:
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def do_PUT(self) -> None:
        self._note()
        self.server.stored[self.path] = self._body()
        self.send_response(200)
        self.send_header("ETag", '"e"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_PUT()

    def do_HEAD(self) -> None:
        self._note()
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.stored.get(self.path, b""))))
        self.end_headers()

    def do_GET(self) -> None:
        self._note()
        body = self.server.stored.get(self.path.partition("?")[0], b"")
        self.send_response(200)
        if self.path.endswith("?chunked"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(body), 1000):
                piece = body[at : at + 1000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif self.path.endswith("?until-close"):
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[Proxy]:
    with running_proxy(upstream.url) as running:
        yield running


def connect(url: str) -> http.client.HTTPConnection:
    address = urlsplit(url)
    assert address.hostname is not None
    return http.client.HTTPConnection(address.hostname, address.port, timeout=10)


def connect_raw(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=10)


def s3_client(url: str, *, attempts: int = 1) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}, max_pool_connections=50),
    )


def reply(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> tuple[int, bytes]:
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.read()


# What passes


def test_bodies_pass_unchanged_and_are_counted_both_ways(upstream: Upstream, proxy: Proxy) -> None:
    body = bytes(range(256)) * 20_000

    with closing(connect(proxy.url)) as connection:
        assert reply(connection, "PUT", "/bucket/key", body) == (200, b"")
        assert reply(connection, "GET", "/bucket/key") == (200, body)

    assert upstream.stored["/bucket/key"] == body
    counts = proxy.counts()
    assert counts.requests == {"PutObject": 1, "GetObject": 1}
    assert (counts.bytes_up, counts.bytes_down) == (len(body), len(body))
    assert counts.bytes_both == 2 * len(body)
    assert counts.total == 2


def test_the_host_header_stays_the_clients_because_it_is_signed(upstream: Upstream, proxy: Proxy) -> None:
    with closing(connect(proxy.url)) as connection:
        reply(connection, "GET", "/bucket/key")

    [(_, _, headers)] = upstream.seen
    assert headers["host"] == urlsplit(proxy.url).netloc


def test_one_connection_serves_many_requests_on_both_sides(upstream: Upstream, proxy: Proxy) -> None:
    with closing(connect(proxy.url)) as connection:
        for _ in range(20):
            assert reply(connection, "HEAD", "/bucket/key") == (200, b"")
            assert reply(connection, "PUT", "/bucket/key", b"12345") == (200, b"")

    assert upstream.connections == 1
    assert proxy.counts().requests == {"HeadObject": 20, "PutObject": 20}


@pytest.mark.parametrize("way", ["chunked", "until-close"])
def test_a_body_of_unknown_length_ends_where_the_server_ends_it(upstream: Upstream, proxy: Proxy, way: str) -> None:
    upstream.stored["/bucket/key"] = b"0123456789" * 1234

    with closing(connect(proxy.url)) as connection:
        assert reply(connection, "GET", f"/bucket/key?{way}") == (200, b"0123456789" * 1234)
        assert reply(connection, "GET", "/bucket/key?again")[0] == 200

    assert proxy.counts().bytes_down == 2 * 12_340


def test_a_chunked_upload_passes(upstream: Upstream, proxy: Proxy) -> None:
    with closing(connect(proxy.url)) as connection:
        connection.request("PUT", "/bucket/key", iter([b"a" * 70_000, b"b", b"c" * 70_000]), encode_chunked=True)
        assert connection.getresponse().read() == b""

    assert upstream.stored["/bucket/key"] == b"a" * 70_000 + b"b" + b"c" * 70_000
    assert proxy.counts().bytes_up == 140_001


def test_boto3_uploads_through_its_100_continue(upstream: Upstream, proxy: Proxy) -> None:
    client = s3_client(proxy.url)
    body = b"x" * (2 * MIB)

    started = time.monotonic()
    client.put_object(Bucket="bucket", Key="key", Body=body)
    client.put_object(Bucket="bucket", Key="key2", Body=body)

    assert time.monotonic() - started < 2, "each upload waits a second for a 100-continue that does not come"
    assert upstream.stored["/bucket/key"] == body
    assert upstream.connections == 1


def test_a_slow_reader_slows_the_server_down_instead_of_filling_memory(upstream: Upstream, proxy: Proxy) -> None:
    size = 64 * MIB
    upstream.stored["/bucket/key"] = bytes(size)

    with closing(connect(proxy.url)) as connection:
        connection.request("GET", "/bucket/key")
        response = connection.getresponse()
        passed = -1
        while passed != (passed := proxy.counts().bytes_down):
            time.sleep(0.05)
        assert passed < size / 2
        assert len(response.read()) == size


def test_counts_start_over_after_a_reset(proxy: Proxy) -> None:
    with closing(connect(proxy.url)) as connection:
        reply(connection, "PUT", "/bucket/key", b"12345")
        assert proxy.reset().requests == {"PutObject": 1}
        assert proxy.counts().total == 0
        assert proxy.counts().bytes_up == 0
        reply(connection, "GET", "/bucket/key")

    assert proxy.counts().requests == {"GetObject": 1}


def test_an_unreachable_server_looks_like_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with (
            running_proxy(f"http://127.0.0.1:{taken.getsockname()[1]}") as proxy,
            closing(connect(proxy.url)) as connection,
            pytest.raises((ConnectionError, http.client.RemoteDisconnected)),
        ):
            reply(connection, "GET", "/bucket/key")


def test_stopping_drops_what_is_open(upstream: Upstream) -> None:
    with running_proxy(upstream.url, latency=60_000) as proxy:
        connection = connect(proxy.url)
        connection.request("GET", "/bucket/key")
        while not proxy.counts().total:
            time.sleep(0.01)
    with closing(connection), pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        connection.getresponse()


# Latency


def test_latency_is_added_to_each_request_and_limits_no_concurrency(upstream: Upstream) -> None:
    with running_proxy(upstream.url, latency=500) as proxy, ThreadPoolExecutor(20) as pool:
        client = s3_client(proxy.url)
        started = time.monotonic()
        list(pool.map(lambda n: client.head_object(Bucket="bucket", Key=str(n)), range(20)))
        took = time.monotonic() - started

        assert 0.5 <= took < 5, "twenty requests wait together, not in turn"
        assert proxy.counts().peak_in_flight == 20

        proxy.set_latency(0)
        started = time.monotonic()
        client.head_object(Bucket="bucket", Key="key")
        assert time.monotonic() - started < 0.5


# Faults


def test_a_refused_operation_never_reaches_the_server(upstream: Upstream) -> None:
    with running_proxy(upstream.url, faults=on("UploadPartCopy", ACCESS_DENIED)) as proxy:
        client = s3_client(proxy.url)
        with pytest.raises(ClientError) as caught:
            client.upload_part_copy(Bucket="b", Key="k", UploadId="u", PartNumber=1, CopySource="b/source")
        client.upload_part(Bucket="b", Key="k", UploadId="u", PartNumber=2, Body=b"literal")

        assert caught.value.response["Error"]["Code"] == "AccessDenied"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert [path for _, path, _ in upstream.seen] == ["/b/k?uploadId=u&partNumber=2"]
        assert proxy.counts().faults == {"Answer": 1}


@pytest.mark.parametrize("size", [10, 2 * MIB])
def test_an_upload_is_refused_before_its_body_is_forwarded(upstream: Upstream, size: int) -> None:
    with running_proxy(upstream.url, faults=on("PutObject", SLOW_DOWN, times=1)) as proxy:
        client = s3_client(proxy.url, attempts=2)
        client.put_object(Bucket="bucket", Key="key", Body=b"x" * size)

        assert len(upstream.seen) == 1
        assert proxy.counts().requests == {"PutObject": 2}


def test_a_plain_upload_is_drained_and_its_connection_lives_on(upstream: Upstream) -> None:
    with running_proxy(upstream.url, faults=on("PutObject", SLOW_DOWN, times=1)) as proxy:
        with closing(connect(proxy.url)) as connection:
            status, body = reply(connection, "PUT", "/bucket/key", b"x" * MIB)
            assert (status, b"<Code>SlowDown</Code>" in body) == (503, True)
            sock = connection.sock
            assert reply(connection, "PUT", "/bucket/key", b"y" * MIB) == (200, b"")
            assert connection.sock is sock
        assert upstream.stored == {"/bucket/key": b"y" * MIB}


def test_an_error_inside_a_success_is_one_for_boto3(upstream: Upstream) -> None:
    hidden = Answer(200, "InternalError")
    with running_proxy(upstream.url, faults=on("CompleteMultipartUpload", hidden, times=1)) as proxy:
        client = s3_client(proxy.url, attempts=3)
        client.complete_multipart_upload(Bucket="b", Key="k", UploadId="u", MultipartUpload={"Parts": []})

        assert proxy.counts().requests == {"CompleteMultipartUpload": 2}
        assert len(upstream.seen) == 1


def test_an_effect_without_its_answer(upstream: Upstream) -> None:
    with (
        running_proxy(upstream.url, faults=on("PutObject", Answer(500, "InternalError", effect=True))) as proxy,
        closing(connect(proxy.url)) as connection,
    ):
        status, body = reply(connection, "PUT", "/bucket/key", b"12345")
        assert (status, b"<Code>InternalError</Code>" in body) == (500, True)
        assert upstream.stored == {"/bucket/key": b"12345"}
        assert reply(connection, "HEAD", "/bucket/key")[0] == 200


@pytest.mark.parametrize("effect", [False, True])
def test_a_reset_is_a_tcp_reset_before_or_after_the_effect(upstream: Upstream, effect: bool) -> None:
    with running_proxy(upstream.url, faults=on("PutObject", Reset(effect=effect))) as proxy:
        with closing(connect(proxy.url)) as connection, pytest.raises(ConnectionResetError):
            reply(connection, "PUT", "/bucket/key", b"12345")
        assert bool(upstream.stored) is effect
        assert proxy.counts().faults == {"Reset": 1}


@pytest.mark.parametrize(("fault", "passed"), [(Cut(), 50_000), (Cut(after=7), 7), (Cut(after=0), 0)])
def test_a_cut_body_ends_early(upstream: Upstream, fault: Cut, passed: int) -> None:
    upstream.stored["/bucket/key"] = b"x" * 100_000
    with running_proxy(upstream.url, faults=on("GetObject", fault)) as proxy:
        with closing(connect(proxy.url)) as connection, pytest.raises(http.client.IncompleteRead) as caught:
            reply(connection, "GET", "/bucket/key")
        assert len(caught.value.partial) == passed
        assert proxy.counts().bytes_down == passed


def test_a_cut_after_the_bodys_end_cuts_nothing(upstream: Upstream) -> None:
    upstream.stored["/bucket/key"] = b"12345"
    with (
        running_proxy(upstream.url, faults=on("GetObject", Cut(after=100))) as proxy,
        closing(connect(proxy.url)) as connection,
    ):
        for _ in range(2):
            assert reply(connection, "GET", "/bucket/key") == (200, b"12345")


@pytest.mark.parametrize("method", ["HEAD", "PUT"])
def test_a_cut_without_a_body_cuts_the_head(upstream: Upstream, method: str) -> None:
    with running_proxy(upstream.url, faults=lambda _: Cut()) as proxy, connect_raw(proxy.url) as client:
        client.sendall(f"{method} /bucket/key HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".encode())
        got = b"".join(iter(lambda: client.recv(1000), b""))
        assert got.startswith(b"HTTP/1.1 200")
        assert b"\r\n\r\n" not in got
    assert upstream.seen[0][0] == method


def test_a_delay_holds_one_request_back(upstream: Upstream) -> None:
    with (
        running_proxy(upstream.url, faults=on("GetObject", Delay(500), times=1)) as proxy,
        closing(connect(proxy.url)) as connection,
    ):
        started = time.monotonic()
        reply(connection, "GET", "/bucket/key")
        first = time.monotonic()
        reply(connection, "GET", "/bucket/key")
        assert first - started >= 0.5 > time.monotonic() - first


def test_an_sqs_error_speaks_json(upstream: Upstream) -> None:
    with running_proxy(upstream.url, faults=on("SendMessage", Answer(500, "InternalFailure"))) as proxy:
        client = boto3.client(
            "sqs",
            endpoint_url=proxy.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )
        with pytest.raises(ClientError) as caught:
            client.send_message(QueueUrl=f"{proxy.url}/000000000000/queue", MessageBody="{}")
        assert "InternalFailure" in caught.value.response["Error"]["Code"]
        assert proxy.counts().requests == {"SendMessage": 1}


def test_boto3_gets_everything_right_through_a_fifth_of_faults(upstream: Upstream) -> None:
    rule = at_random(0.2, seed=7)
    with running_proxy(upstream.url, faults=rule) as proxy, ThreadPoolExecutor(8) as pool:
        client = s3_client(proxy.url, attempts=8)
        bodies = {f"key{n}": bytes([n]) * (n * 1000) for n in range(60)}
        list(pool.map(lambda item: client.put_object(Bucket="b", Key=item[0], Body=item[1]), bodies.items()))

        counts = proxy.counts()
        assert {path.removeprefix("/b/"): body for path, body in upstream.stored.items()} == bodies
        assert set(counts.faults) == {"Answer", "Cut", "Reset"}
        assert 0.05 < sum(counts.faults.values()) / counts.total < 0.4


def test_a_rule_may_be_replaced_while_the_proxy_runs(proxy: Proxy) -> None:
    with closing(connect(proxy.url)) as connection:
        assert reply(connection, "GET", "/bucket/key")[0] == 200
        proxy.set_faults(lambda _: INTERNAL_ERROR)
        assert reply(connection, "GET", "/bucket/key")[0] == 500


def test_a_rule_that_raises_fails_the_test_that_wrote_it(upstream: Upstream) -> None:
    def rule(_: Request) -> Fault | None:
        raise LookupError("a mistake in the rule")

    with (
        pytest.raises(LookupError, match="a mistake in the rule"),
        running_proxy(upstream.url, faults=rule) as proxy,
        closing(connect(proxy.url)) as connection,
        pytest.raises(ConnectionResetError),
    ):
        reply(connection, "GET", "/bucket/key")


# Rules


def request(operation: str, number: int = 1) -> Request:
    return Request(method="PUT", path="/b/k", query={}, headers={}, operation=operation, number=number)


@pytest.mark.parametrize(
    ("rule", "struck"),
    [
        (on("UploadPart", INTERNAL_ERROR), [1, 2, 3, 4]),
        (on("UploadPart", INTERNAL_ERROR, times=1), [1]),
        (on("UploadPart", INTERNAL_ERROR, skip=2), [3, 4]),
        (on("UploadPart", INTERNAL_ERROR, skip=1, times=2), [2, 3]),
        (on("PutObject", INTERNAL_ERROR), []),
        (first_of(on("UploadPart", INTERNAL_ERROR, times=1), on("UploadPart", SLOW_DOWN, skip=3)), [1, 4]),
    ],
)
def test_a_rule_strikes_by_operation_and_number(rule: Rule, struck: list[int]) -> None:
    assert [n for n in range(1, 5) if rule(request("UploadPart", n))] == struck


def test_chance_repeats_itself_with_its_seed() -> None:
    def play(seed: int) -> list[Fault | None]:
        rule = at_random(0.2, seed=seed)
        return [rule(request("GetObject")) for _ in range(1000)]

    assert play(1) == play(1) != play(2)
    assert 150 < sum(fault is not None for fault in play(1)) < 250


# Heads and framing


@pytest.mark.parametrize(
    ("line", "headers", "operation"),
    [
        ("GET /b/a/k", "", "GetObject"),
        ("GET /b/k?versionId=1", "", "GetObject"),
        ("GET /b/k?attributes", "", "GetObjectAttributes"),
        ("GET /b/k?uploadId=u&max-parts=9", "", "ListParts"),
        ("HEAD /b/k", "", "HeadObject"),
        ("PUT /b/k", "", "PutObject"),
        ("PUT /b/k", "x-amz-copy-source: b/s\r\n", "CopyObject"),
        ("PUT /b/k?partNumber=1&uploadId=u", "", "UploadPart"),
        ("PUT /b/k?partNumber=1&uploadId=u", "X-Amz-Copy-Source: b/s\r\n", "UploadPartCopy"),
        ("POST /b/k?uploads", "", "CreateMultipartUpload"),
        ("POST /b/k?uploadId=u", "", "CompleteMultipartUpload"),
        ("DELETE /b/k?uploadId=u", "", "AbortMultipartUpload"),
        ("DELETE /b/k", "", "DeleteObject"),
        ("PUT /b/k?tagging", "", "PUT ?tagging"),
        ("GET /b?list-type=2&prefix=p", "", "ListObjectsV2"),
        ("GET /b/?uploads", "", "ListMultipartUploads"),
        ("GET /b", "", "ListObjects"),
        ("HEAD /b", "", "HeadBucket"),
        ("PUT /b", "", "CreateBucket"),
        ("DELETE /b", "", "DeleteBucket"),
        ("POST /b?delete", "", "DeleteObjects"),
        ("PUT /b?lifecycle", "", "PUT ?lifecycle"),
        ("GET /", "", "ListBuckets"),
        ("POST /", "X-Amz-Target: AmazonSQS.ReceiveMessage\r\n", "ReceiveMessage"),
        ("POST /", "", "POST /"),
    ],
)
def test_operations_are_named_as_boto3_names_them(line: str, headers: str, operation: str) -> None:
    assert operation_of(parse_request(f"{line} HTTP/1.1\r\nHost: h\r\n{headers}\r\n".encode())) == operation


@pytest.mark.parametrize("head", [b"nonsense\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_what_is_no_head_is_refused(head: bytes) -> None:
    with pytest.raises(HeadError):
        parse_request(head)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_a_chunked_body_is_measured_however_the_network_cuts_it(step: int) -> None:
    wire = b"5\r\nhello\r\n10;extension=1\r\n" + b"\r\n" * 8 + b"\r\n0\r\nX-Trailer: 1\r\n\r\n"
    after = b"GET /next"
    framing, at = Chunked(), 0
    while not framing.done:
        at += framing.feed((wire + after)[at : at + step])

    assert at == len(wire)
    assert framing.content == 5 + 16


@pytest.mark.parametrize("wire", [b"five\r\n", b"0" * 100_000])
def test_a_bad_chunk_is_refused(wire: bytes) -> None:
    with pytest.raises(HeadError):
        Chunked().feed(wire)


@pytest.mark.parametrize(
    "send", [b"nonsense\r\n\r\n", b"x" * 100_000, b"PUT /b/k HTTP/1.1\r\nContent-Length: ten\r\n\r\n"]
)
def test_nonsense_costs_a_client_its_connection(proxy: Proxy, send: bytes) -> None:
    with connect_raw(proxy.url) as client, suppress(ConnectionResetError):
        client.sendall(send)
        assert client.recv(1) == b""


def test_nothing_stays_open_however_many_knock_at_the_end(upstream: Upstream) -> None:
    for _ in range(5):
        ended = threading.Event()

        def knock(url: str, ended: threading.Event) -> None:
            while not ended.is_set():
                with suppress(OSError), connect_raw(url):
                    pass

        with ThreadPoolExecutor(3) as threads:
            with running_proxy(upstream.url) as proxy:
                for _ in range(3):
                    threads.submit(knock, proxy.url, ended)
                time.sleep(0.02)
            ended.set()
        # A socket that nobody closed warns here, and a warning is an error.
        gc.collect()


# As a process


def test_a_proxy_of_its_own_process_is_asked_over_http(upstream: Upstream) -> None:
    with spawned_proxy(upstream.url, latency=100) as proxy:
        started = time.monotonic()
        with closing(connect(proxy.url)) as connection:
            reply(connection, "PUT", "/bucket/key", b"12345")
        assert time.monotonic() - started >= 0.1

        counts = proxy.reset()
        assert (counts.requests, counts.bytes_up) == ({"PutObject": 1}, 5)
        assert proxy.counts().total == 0

        proxy.set_latency(0)
        with closing(connect(proxy.url)) as connection:
            started = time.monotonic()
            reply(connection, "GET", "/bucket/key")
            assert time.monotonic() - started < 0.1
        assert json.loads(json.dumps(proxy.counts().requests)) == {"GetObject": 1}


def test_only_a_plain_http_server_can_be_proxied() -> None:
    with pytest.raises(ValueError, match="https://example"), running_proxy("https://example.com"):
        pass
