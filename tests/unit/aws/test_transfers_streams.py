"""Transfers whose bytes go straight on: from an answer into an upload, a window of them in memory."""

import gc
import socket
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.credentials import Credentials

from archiver.archive.storage import SourceObject
from archiver.archive.streamed_body import WINDOW, Stream, StreamedBody
from archiver.archive.traffic import Traffic
from archiver.aws.exchange import HttpRequest
from archiver.aws.failures import Refused
from archiver.aws.http import S3Http
from archiver.aws.inlet import Inlet
from archiver.aws.objects import S3Objects
from archiver.aws.throttle import Throttle
from archiver.aws.told import Told
from archiver.aws.transfer import Transfer
from archiver.aws.transfers import Transfers
from archiver.errors import SourceAccessDenied, SourceChanged, StorageUnavailable
from tests.support.jobs import noise
from tests.unit.aws.test_http import Endpoints
from tests.unit.aws.test_transfers import LONG, SETTINGS, Handler, Server, run, serving
from tests.unit.aws.test_transfers_faults import transfers

__all__ = ["transfers"]

MIB = 1024 * 1024
#: libcurl's piece of an answer: https://curl.se/libcurl/c/CURLOPT_WRITEFUNCTION.html (CURL_MAX_WRITE_SIZE)
PIECE = 16 * 1024


class BreakingHandler(Handler):
    """Leaves answers below ``/half`` in the middle, and never answers below ``/silent``, but for what comes before."""

    server: "BreakingServer"

    def do_GET(self) -> None:  # noqa: N802 the standard library's name
        status, body = self.server.answers[self.path]
        if not self.path.startswith(("/half", "/silent")):
            super().do_GET()
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if self.path.startswith("/silent"):
            assert self.server.released.wait(LONG)
        self.close_connection = True

    def do_PUT(self) -> None:  # noqa: N802 the standard library's name
        if self.path != "/refused":
            super().do_PUT()
            return
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = True


class BreakingServer(Server):
    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = BreakingHandler
        self.released = threading.Event()


@pytest.fixture
def server() -> Iterator[BreakingServer]:
    with serving(BreakingServer()) as server:
        yield server
        server.released.set()


@pytest.fixture
def throttle() -> Throttle:
    return Throttle(1)


def opened(transfers: Transfers, *urls: str) -> list[Inlet]:
    """Inlets whose answers have begun, or never will."""
    told = threading.Semaphore(0)
    inlets = []
    for url in urls:
        inlet = Inlet(lambda _: told.release(), transfers.drop)
        inlet.transfer = Transfer("GET", url, [], inlet.ended, sink=inlet, led=True)
        inlets.append(inlet)
    transfers.start([inlet.transfer for inlet in inlets if inlet.transfer])
    for _ in inlets:
        assert told.acquire(timeout=LONG)
    return inlets


def body_of(*pieces: bytes | tuple[Inlet, int]) -> StreamedBody:
    made = [piece if isinstance(piece, bytes) else Stream(piece[0], piece[1]) for piece in pieces]
    return StreamedBody(made, sum(len(piece) if isinstance(piece, bytes) else piece[1] for piece in pieces))


def test_what_comes_in_goes_out(server: BreakingServer, transfers: Transfers, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [noise(9 * MIB + 1), noise(3 * MIB, seed=1), b"short"]
    for number, content in enumerate(contents):
        server.answers[f"/{number}"] = (200, content)
    waiting = []
    offer = Inlet.offer

    def noted(self: Inlet, chunk: bytes, go_on: Any) -> bool:
        taken = offer(self, chunk, go_on)
        waiting.append(self._waiting)
        return taken

    monkeypatch.setattr(Inlet, "offer", noted)
    inlets = opened(transfers, *[f"{server.url}/{number}" for number in range(3)])
    assert [inlet.headers["content-length"] for inlet in inlets] == [str(len(content)) for content in contents]
    pieces = [(inlet, len(content)) for inlet, content in zip(inlets, contents, strict=True)]

    (put,) = run(
        transfers,
        f"{server.url}/part",
        method="PUT",
        body=body_of(b"head", pieces[0], b"between", *pieces[1:], b"tail"),
        led=True,
    )

    assert (put.status, put.error) == (200, None)
    sent = [body for method, path, _, body in server.asked if (method, path) == ("PUT", "/part")]
    assert sent == [b"head" + contents[0] + b"between" + contents[1] + contents[2] + b"tail"]
    assert max(waiting) < WINDOW + PIECE
    assert [inlet.taken for inlet in inlets] == [len(content) for content in contents]


def test_a_stream_that_breaks_off_ends_the_upload(server: BreakingServer, transfers: Transfers) -> None:
    server.answers["/half"] = (200, noise(4 * MIB))
    (inlet,) = opened(transfers, f"{server.url}/half")
    (put,) = run(transfers, f"{server.url}/part", method="PUT", body=body_of(b"head", (inlet, 4 * MIB)), led=True)
    assert put.error is not None
    assert "broke off" in put.error
    server.answers["/a"] = (200, b"others go on")
    assert bytes(run(transfers, f"{server.url}/a")[0].content) == b"others go on"


def test_an_upload_that_is_refused_in_the_middle_leaves_nothing_waiting(
    server: BreakingServer, transfers: Transfers, throttle: Throttle
) -> None:
    server.answers["/a"] = (200, noise(9 * MIB))
    (inlet,) = opened(transfers, f"{server.url}/a")
    (put,) = run(transfers, f"{server.url}/refused", method="PUT", body=body_of((inlet, 9 * MIB)), led=True)
    assert put.status == 503 or put.error is not None
    inlet.close()
    inlet.close()  # once more does nothing
    server.answers["/b"] = (200, b"others go on")
    assert bytes(run(transfers, f"{server.url}/b")[0].content) == b"others go on"
    assert throttle.try_enter()  # the led ones held no place that they could give back
    assert not throttle.try_enter()


def test_what_nobody_takes_is_hung_up_on(server: BreakingServer, transfers: Transfers) -> None:
    server.answers["/silent"] = (200, noise(2 * MIB))
    (inlet,) = opened(transfers, f"{server.url}/silent")
    ended = threading.Event()
    transfer = inlet.transfer
    assert transfer is not None

    def end(transfer: Transfer) -> None:
        inlet.ended(transfer)
        ended.set()

    transfer.ended = end
    inlet.close()
    assert ended.wait(LONG)
    assert transfer.error == "dropped"
    assert not inlet._chunks


def test_what_has_come_and_nobody_takes_is_let_go_of(server: BreakingServer, transfers: Transfers) -> None:
    server.answers["/a"] = (200, noise(WINDOW // 2))
    ended = threading.Event()
    inlet = Inlet(lambda _: None, transfers.drop)

    def end(transfer: Transfer) -> None:
        inlet.ended(transfer)
        ended.set()

    transfers.start([Transfer("GET", f"{server.url}/a", [], end, sink=inlet, led=True)])
    assert ended.wait(LONG)
    assert inlet._chunks
    inlet.close()
    assert not inlet._chunks


def test_what_is_over_needs_no_collector(server: BreakingServer, transfers: Transfers) -> None:
    server.answers["/a"] = (200, noise(MIB))
    gone = []
    gc.disable()
    try:
        for _ in range(3):
            (inlet,) = opened(transfers, f"{server.url}/a")
            run(transfers, f"{server.url}/part", method="PUT", body=body_of((inlet, MIB)), led=True)
            inlet.close()
            gone.append(weakref.ref(inlet))
            del inlet
        # libcurl's handle may have the last one.
        assert [one() for one in gone[:2]] == [None, None]
    finally:
        gc.enable()


def test_led_transfers_need_no_place(server: BreakingServer, transfers: Transfers, throttle: Throttle) -> None:
    server.answers["/a"] = (200, noise(3 * MIB))
    with throttle.slot():
        inlets = opened(transfers, f"{server.url}/a", f"{server.url}/a")
        (put,) = run(
            transfers,
            f"{server.url}/part",
            method="PUT",
            body=body_of(*[(inlet, 3 * MIB) for inlet in inlets]),
            led=True,
        )
    assert put.status == 200


def test_led_transfers_go_before_those_that_wait_for_a_place(
    server: BreakingServer, transfers: Transfers, throttle: Throttle
) -> None:
    server.answers["/a"] = (200, noise(3 * MIB))
    others = threading.Semaphore(0)
    with throttle.slot():
        # Others have asked first, and can't begin before the one place is given back,
        transfers.start([Transfer("GET", f"{server.url}/other", [], lambda _: others.release())])
        (inlet,) = opened(transfers, f"{server.url}/a")
        transfers.start([Transfer("PUT", f"{server.url}/other", [], lambda _: others.release(), body=b"part")])
        (put,) = run(transfers, f"{server.url}/part", method="PUT", body=body_of((inlet, 3 * MIB)), led=True)
        assert put.status == 200
        assert not others.acquire(blocking=False)
    # and do then.
    assert others.acquire(timeout=LONG)
    assert others.acquire(timeout=LONG)


def test_the_end_of_what_comes_in_wakes_what_goes_out(server: BreakingServer) -> None:
    # libcurl's look at slow transfers, once a second, would wake it otherwise.
    transfers = Transfers(replace(SETTINGS, connect_seconds=600, silent_seconds=0), throttle=Throttle(1))
    server.answers["/a"] = (200, noise(MIB + 1))
    for _ in range(3):
        (inlet,) = opened(transfers, f"{server.url}/a")
        (put,) = run(transfers, f"{server.url}/part", method="PUT", body=body_of((inlet, MIB + 1)), led=True)
        assert put.status == 200
    transfers.close()


def test_an_upload_that_ends_as_its_stream_goes_on_ends_alone(transfers: Transfers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as source, socket.create_server(("127.0.0.1", 0)) as sink:
        told = threading.Event()
        inlet = Inlet(lambda _: told.set(), transfers.drop)
        port = source.getsockname()[1]
        inlet.transfer = Transfer("GET", f"http://127.0.0.1:{port}/", [], inlet.ended, sink=inlet, led=True)
        transfers.start([inlet.transfer])
        incoming, _ = source.accept()
        incoming.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nfirst")
        assert told.wait(LONG)
        # Given an upload that waits for more to come in,
        over = threading.Event()
        url = f"http://127.0.0.1:{sink.getsockname()[1]}/"
        put = Transfer("PUT", url, [], lambda _: over.set(), body=body_of(b"head", (inlet, 1_000_000)), led=True)
        transfers.start([put])
        outgoing, _ = sink.accept()
        while not outgoing.recv(MIB).endswith(b"head"):
            pass

        # when that comes in the same moment as a refusal that hangs up,
        busy, go_on = threading.Event(), threading.Event()

        def keep(_: Transfer) -> None:
            busy.set()
            assert go_on.wait(LONG)

        transfers.start([Transfer("GET", "nothing://", [], keep, led=True)])
        assert busy.wait(LONG)
        incoming.sendall(bytes(400_000))
        outgoing.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        outgoing.close()
        go_on.set()

        # then only the upload ends.
        assert over.wait(LONG)
        assert put.status == 403 or put.error is not None
        over.clear()
        get = inlet.transfer
        get.ended = lambda _: over.set()
        inlet.close()
        assert over.wait(LONG)
        incoming.close()
    assert get.error == "dropped"


def test_led_transfers_slow_the_others_down() -> None:
    throttle = Throttle(8)
    transfers = Transfers(SETTINGS, throttle=throttle)
    with serving(BreakingServer()) as server:
        server.answers["/busy"] = (503, b"")
        (inlet,) = opened(transfers, f"{server.url}/busy")
        assert not inlet.headers
        transfers.close()
    assert throttle.width == 4


class Answering:
    """Stands where libcurl is: answers by key, with these headers before anything else, or refuses."""

    def __init__(self, **answers: int | dict[str, str]) -> None:
        self.answers = answers
        self.started: list[Transfer] = []
        self.dropped: list[Transfer] = []
        self.next_lane = 0

    def lane(self) -> int:
        return self.next_lane

    def start(self, transfers: list[Transfer]) -> None:
        for transfer in transfers:
            answer = self.answers[transfer.url.rpartition("/")[2]]
            self.started.append(transfer)
            assert transfer.led
            if isinstance(answer, int):
                transfer.status = answer
                transfer.lines.append(b"HTTP/1.1 %d No" % answer)
                transfer.ended(transfer)
                continue
            transfer.lines.extend([b"HTTP/1.1 200 OK", *(f"{name}: {text}".encode() for name, text in answer.items())])
            if transfer.sink is None:
                transfer.status = 200
                transfer.ended(transfer)
            else:
                transfer.sink.begins(transfer)

    def drop(self, transfer: Transfer) -> None:
        self.dropped.append(transfer)

    def slow_down(self) -> None:
        pass


def http_of(answering: Answering) -> S3Http:
    return S3Http(
        answering,  # type: ignore[arg-type]
        endpoints=Endpoints(),  # type: ignore[arg-type]
        credentials=lambda: Credentials("k", "s"),
    )


def open_all(answering: Answering, *keys: str) -> list[Inlet | Exception]:
    return http_of(answering).open_all([HttpRequest("GetObject", "GET", "bucket", key, etag='"1"') for key in keys])


def test_objects_are_opened_together() -> None:
    inlets = open_all(Answering(a={"ETag": '"1"'}, b={"ETag": '"1"'}), "a", "b")
    assert [isinstance(inlet, Inlet) and inlet.headers["etag"] for inlet in inlets] == ['"1"', '"1"']


def test_what_is_opened_together_goes_out_by_the_same_lane(throttle: Throttle) -> None:
    answering = Answering(a={"ETag": '"1"'}, b={"ETag": '"1"'}, part={"ETag": '"2"'})
    answering.next_lane = 1
    http = http_of(answering)
    objects = S3Objects(None, http, traffic=Traffic(), throttle=throttle)  # type: ignore[arg-type]  # for rare calls
    with objects.opened([SourceObject("bucket", key, 9, '"1"', 0) for key in "ab"]) as arriving:
        # when what was opened meanwhile has another lane
        answering.next_lane = 0
        body = StreamedBody([b"header", *(Stream(content, 9) for content in arriving)], 24)
        http.send(HttpRequest("UploadPart", "PUT", "bucket", "part", body=body))
    assert [transfer.lane for transfer in answering.started] == [1, 1, 1]


@pytest.mark.parametrize("answer", [404, 503, {"ETag": '"2"'}, {"X-Other": "page"}])
def test_what_is_not_the_object_is_an_error_in_its_place(answer: int | dict[str, str]) -> None:
    answering = Answering(a={"ETag": '"1"'}, b=answer)
    first, second = open_all(answering, "a", "b")
    assert isinstance(first, Inlet)
    assert isinstance(second, Refused | ConnectionError)
    assert [transfer.url[-1] for transfer in answering.dropped] == ([] if isinstance(answer, int) else ["b"])


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (403, SourceAccessDenied),
        (404, SourceChanged),
        (503, StorageUnavailable),
        ({"ETag": '"1"', "x-amz-checksum-crc32": "abc"}, StorageUnavailable),
    ],
    ids=["denied", "gone", "slow down", "senseless checksum"],
)
def test_where_one_fails_it_is_named_and_all_are_let_go(
    answer: int | dict[str, str], raised: type[Exception], throttle: Throttle
) -> None:
    answering = Answering(a={"ETag": '"1"'}, b=answer, c={"ETag": '"1"'})
    objects = S3Objects(
        None,  # type: ignore[arg-type]  # for rare calls
        http_of(answering),
        traffic=Traffic(),
        throttle=throttle,
    )
    sources = [SourceObject("bucket", key, 9, '"1"', 0) for key in "abc"]
    with pytest.raises(raised, match="s3://bucket/b"), objects.opened(sources):
        pytest.fail("one is not there")
    assert [transfer.url[-1] for transfer in answering.dropped] == (["a", "c"] if isinstance(answer, int) else [*"abc"])
    assert throttle.try_enter()


def test_what_a_bucket_tells_is_known_to_the_next_job_from_its_start(throttle: Throttle) -> None:
    told = Told()
    source = SourceObject("bucket", "a", 9, '"1"', 0)

    def job(headers: dict[str, str]) -> tuple[bool, bool]:
        """Whether a job takes a CRC32 for told before and after its first object."""
        http = http_of(Answering(a={"ETag": '"1"', **headers}))
        objects = S3Objects(
            None,  # type: ignore[arg-type]  # for rare calls
            http,
            traffic=Traffic(),
            throttle=throttle,
            told=told,
        )
        before = objects.tells_crc32("bucket")
        with objects.opened([source]):
            return before, objects.tells_crc32("bucket")

    checksum = {"x-amz-checksum-crc32": "AAAAAA=="}
    assert [job(checksum), job({}), job(checksum)] == [(False, True), (True, False), (False, True)]
