"""Reads whose answer is overdue are asked for a second time: the first whole answer counts, and nothing is lost by it.

The clock is the test's, and the server holds an answer until the test has it go on.
"""

import http.server
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.credentials import Credentials

from archiver.archive.traffic import Traffic
from archiver.aws.endpoints import Endpoint
from archiver.aws.exchange import Answer, HttpRequest
from archiver.aws.http import S3Http
from archiver.aws.stragglers import ANSWERS_A_HEDGE, MOST_BYTES
from archiver.aws.throttle import Throttle
from archiver.aws.transfer import Transfer
from archiver.aws.transfers import Transfers
from tests.support.waiting import LONG_ENOUGH, eventually
from tests.unit.aws.test_transfers import SETTINGS, serving
from tests.unit.aws.test_transfers_faults import free_places

PLACES = 24
ANSWERS = (b"the 1st", b"the 2nd")
FIRST, SECOND = ANSWERS
#: Its last byte never comes.
BROKEN = b"the en"
UNTOUCHED = b"-" * len(FIRST)


class Clock:
    """Stands still until the test moves it on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.is_broken = False

    def __call__(self) -> float:
        if self.is_broken:
            raise RuntimeError("a clock's own fault")
        return self.now


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.asked[self.path] += 1
            server.order.append(self.path)
            number = server.asked[self.path]
            server.connections.add((self.path, number, self.client_address))
        server.on_asked()
        if self.path.startswith("/held"):
            assert server.gate(self.path, number).wait(LONG_ENOUGH)
        status, body = server.answers.get((self.path, number), (200, ANSWERS[number - 1]))
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + (body == BROKEN)))
            self.send_header("ETag", f'"{number}"')
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True
        if body == BROKEN:
            self.close_connection = True
        with server.lock:
            server.answered[self.path] += 1

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.order: list[str] = []
        self.answered: Counter[str] = Counter()
        self.connections: set[Any] = set()
        self.answers: dict[tuple[str, int], tuple[int, bytes]] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        #: What happens while a request is under way.
        self.on_asked: Callable[[], None] = lambda: None
        self._gates: dict[tuple[str, int], threading.Event] = {}

    def handle_error(self, *_: Any) -> None:
        """Whom a client hangs up on has nothing to say."""

    def gate(self, path: str, number: int) -> threading.Event:
        """Set, the request of this number for the path is answered."""
        with self.lock:
            return self._gates.setdefault((path, number), threading.Event())

    def open_all(self) -> None:
        for path, asked in list(self.asked.items()):
            for number in range(1, asked + 1):
                self.gate(path, number).set()


class Site:
    """Transfers to a server that has answered enough reads for so many second requests."""

    def __init__(self, server: Server, throttle: Throttle) -> None:
        self.server = server
        self.throttle = throttle
        self.clock = Clock()
        self.transfers = Transfers(SETTINGS, throttle=throttle, clock=self.clock)

    def start(self, *paths: str, **options: Any) -> "list[Read]":
        reads = [Read(self.server.url + path, **options) for path in paths]
        self.transfers.start([read.transfer for read in reads])
        return reads

    def held(self, *paths: str, **options: Any) -> "list[Read]":
        """Reads that the server has been asked for, and does not answer."""
        reads = self.start(*paths, **options)
        assert eventually(lambda: all(self.server.asked[path] == 1 for path in paths), interval=0.001)
        return reads

    def earn(self, reads: int = ANSWERS_A_HEDGE) -> None:
        """Read so often, quickly, one after the other."""
        for _ in range(reads):
            with self.server.lock:
                self.server.asked["/quick"] = 0
            (read,) = self.start("/quick")
            read.end()

    def turn(self) -> None:
        """Have the lane look at all that there is to do: the second of these begins after the first one's turn."""
        for _ in range(2):
            with self.server.lock:
                self.server.asked["/quick"] = 0
            (read,) = self.start("/quick", target=None)
            read.end()

    def overdue(self) -> None:
        self.clock.now += 1.0

    def asked_twice(self, path: str) -> bool:
        return eventually(lambda: self.server.asked[path] == 2, interval=0.001)


class Read:
    def __init__(self, url: str, **options: Any) -> None:
        self.ends = 0
        self._ended = threading.Event()
        self.room = bytearray(UNTOUCHED)
        fields: dict[str, Any] = {"method": "GET", "target": memoryview(self.room)} | options
        self.transfer = Transfer(url=url, headers=[], ended=self._end, **fields)

    def _end(self, _: Transfer) -> None:
        self.ends += 1
        self._ended.set()

    def end(self) -> Transfer:
        assert self._ended.wait(LONG_ENOUGH)
        return self.transfer


def free(throttle: Throttle) -> int:
    places = free_places(throttle)
    for _ in range(places):
        throttle.leave(0)
    return places


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as server:
        yield server
        server.open_all()


@pytest.fixture
def throttle() -> Throttle:
    return Throttle(PLACES)


@pytest.fixture
def site(server: Server, throttle: Throttle) -> Iterator[Site]:
    site = Site(server, throttle)
    site.earn()
    yield site
    site.clock.is_broken = False
    site.transfers.close()


def test_an_answer_that_is_withheld_comes_by_a_second_request(site: Site, throttle: Throttle) -> None:
    (read,) = site.held("/held")
    site.server.gate("/held", 2).set()

    site.overdue()

    transfer = read.end()
    assert (bytes(read.room), transfer.received, bytes(transfer.content)) == (SECOND, len(SECOND), b"")
    assert (transfer.status, transfer.error, transfer.hedged) == (200, None, True)
    assert transfer.answered_headers()["etag"] == '"2"'
    assert free(throttle) == PLACES
    first, second = sorted(each for each in site.server.connections if each[0] == "/held")
    assert first[2] != second[2], "on another connection"
    # and what the first would have said comes to nothing
    site.server.gate("/held", 1).set()
    assert eventually(lambda: site.server.answered["/held"] == 2)
    site.turn()
    assert (bytes(read.room), read.ends) == (SECOND, 1)


def test_the_first_request_stays_under_way_and_may_be_quicker(site: Site, throttle: Throttle) -> None:
    (read,) = site.held("/held")
    site.overdue()
    assert site.asked_twice("/held")

    site.server.gate("/held", 1).set()

    transfer = read.end()
    assert (bytes(read.room), transfer.received, transfer.error) == (FIRST, len(FIRST), None)
    assert transfer.answered_headers()["etag"] == '"1"'
    assert free(throttle) == PLACES
    site.server.gate("/held", 2).set()
    assert eventually(lambda: site.server.answered["/held"] == 2)
    site.turn()
    assert (bytes(read.room), read.ends) == (FIRST, 1)


@pytest.mark.parametrize(
    "answer",
    [(500, b"<Error/>"), (404, b"<Error/>"), (200, b"less"), (200, b"more than that"), (204, b""), (200, BROKEN)],
    ids=["error", "refusal", "short", "long", "empty", "broken"],
)
def test_a_second_answer_that_is_not_whole_is_none(site: Site, throttle: Throttle, answer: tuple[int, bytes]) -> None:
    site.server.answers["/held", 2] = answer
    (read,) = site.held("/held")
    site.server.gate("/held", 2).set()
    site.overdue()
    assert eventually(lambda: site.server.answered["/held"] == 1)
    assert eventually(lambda: free(throttle) == PLACES - 1), "and gives its place back"

    site.server.gate("/held", 1).set()

    transfer = read.end()
    assert (bytes(read.room), transfer.received, transfer.status) == (FIRST, len(FIRST), 200)
    assert (bytes(transfer.content), read.ends) == (b"", 1)
    assert free(throttle) == PLACES


def test_a_first_request_that_breaks_off_is_an_error_at_once(site: Site, throttle: Throttle) -> None:
    site.server.answers["/held", 1] = (200, BROKEN)
    (read,) = site.held("/held")
    site.overdue()
    assert site.asked_twice("/held")

    site.server.gate("/held", 1).set()

    transfer = read.end()
    assert transfer.error is not None
    assert (bytes(read.room), transfer.received) == (BROKEN + UNTOUCHED[:1], len(BROKEN))
    assert free(throttle) == PLACES


def test_both_answers_at_one_moment_are_one_end(site: Site, throttle: Throttle) -> None:
    site.earn(9 * ANSWERS_A_HEDGE)
    paths = [f"/held/{number}" for number in range(10)]
    reads = site.held(*paths)
    site.overdue()
    assert all(site.asked_twice(path) for path in paths)

    site.server.open_all()

    for read in reads:
        transfer = read.end()
        assert bytes(read.room) in ANSWERS
        assert transfer.answered_headers()["etag"] == f'"{ANSWERS.index(bytes(read.room)) + 1}"'
        assert (transfer.error, transfer.received) == (None, len(FIRST))
    assert eventually(lambda: sum(site.server.answered[path] for path in paths) == 20)
    site.turn()
    assert [read.ends for read in reads] == [1] * 10
    assert free(throttle) == PLACES


def test_no_read_is_asked_for_a_third_time(site: Site) -> None:
    site.earn(5 * ANSWERS_A_HEDGE)
    (read,) = site.held("/held")
    for _ in range(3):
        site.overdue()
        assert site.asked_twice("/held")
        site.turn()

    site.server.gate("/held", 1).set()
    read.end()

    assert site.server.asked["/held"] == 2


def test_where_all_answers_are_slow_none_is_asked_for_again(server: Server, throttle: Throttle) -> None:
    # given a server that takes a second for each answer
    site = Site(server, throttle)
    server.on_asked = site.overdue
    site.earn(ANSWERS_A_HEDGE)
    server.on_asked = lambda: None
    (read,) = site.held("/held")

    # when a read takes nearly as long, it is asked for once
    site.clock.now += 0.9
    site.turn()
    assert server.asked["/held"] == 1

    # and again where it takes longer
    site.clock.now += 0.2
    assert site.asked_twice("/held")
    server.open_all()
    read.end()
    site.transfers.close()


def test_the_budget_is_for_the_oldest_and_comes_with_more_answers(site: Site) -> None:
    old, young = site.held("/held/old"), site.held("/held/young")
    site.overdue()
    assert site.asked_twice("/held/old")
    site.server.gate("/held/old", 2).set()
    old[0].end()

    site.earn(ANSWERS_A_HEDGE - 1)
    site.overdue()
    site.turn()
    assert site.server.asked["/held/young"] == 1
    site.earn(1)
    site.overdue()

    assert site.asked_twice("/held/young")
    site.server.open_all()
    assert bytes(young[0].end().target or b"") in ANSWERS


@pytest.mark.parametrize(
    "options",
    [
        {"target": memoryview(bytearray(MOST_BYTES + 1))},
        {"target": None},
        {"led": True},
        {"method": "PUT", "target": None, "body": b"part"},
    ],
    ids=["large", "no target", "led", "upload"],
)
def test_what_is_no_small_read_is_asked_for_once(site: Site, options: dict[str, Any]) -> None:
    (read,) = site.held("/held", **options)
    site.overdue()
    site.turn()
    (later,) = site.held("/held/later")
    site.overdue()
    assert site.asked_twice("/held/later"), "and keeps no other from it"

    site.server.open_all()
    later.end()
    read.end()

    assert site.server.asked["/held"] == 1


def test_while_s3_asks_for_less_nothing_is_asked_for_again(site: Site, throttle: Throttle) -> None:
    throttle.slow_down()
    (read,) = site.held("/held")
    site.overdue()
    site.turn()

    site.server.open_all()
    read.end()

    assert throttle.width < PLACES
    assert site.server.asked["/held"] == 1


def test_a_second_request_waits_for_a_place_of_its_own(site: Site, throttle: Throttle) -> None:
    (read,) = site.held("/held")
    taken = free_places(throttle)
    assert taken == PLACES - 1
    site.overdue()
    (led,) = site.start("/quick/led", target=None, led=True)
    led.end()
    assert site.server.asked["/held"] == 1

    for _ in range(taken):
        throttle.leave(0)
    site.overdue()

    assert site.asked_twice("/held")
    site.server.open_all()
    read.end()


def test_what_waits_goes_first(site: Site, throttle: Throttle) -> None:
    taken = free_places(throttle)
    throttle.leave(0)
    (read,) = site.held("/held")
    waiting = site.start("/quick/1", "/quick/2")
    site.overdue()
    throttle.leave(0)
    for each in waiting:
        each.end()
    site.overdue()

    assert site.asked_twice("/held")
    assert site.server.order[-4:] == ["/held", "/quick/1", "/quick/2", "/held"]
    site.server.open_all()
    read.end()
    for _ in range(taken - 2):
        throttle.leave(0)
    assert free(throttle) == PLACES


@pytest.mark.parametrize("way", ["drop", "close", "death"])
def test_an_end_meanwhile_is_that_of_both(site: Site, throttle: Throttle, way: str) -> None:
    (read,) = site.held("/held")
    site.overdue()
    assert site.asked_twice("/held")

    if way == "drop":
        site.transfers.drop(read.transfer)
    elif way == "close":
        site.transfers.close()
    else:
        site.clock.is_broken = True

    transfer = read.end()
    assert (
        transfer.error == {"drop": "dropped", "close": "closed", "death": 'RuntimeError("a clock\'s own fault")'}[way]
    )
    assert free(throttle) == PLACES
    site.clock.is_broken = False
    site.server.open_all()
    assert eventually(lambda: site.server.answered["/held"] == 2)
    site.turn()
    assert (bytes(read.room), read.ends, transfer.received) == (UNTOUCHED, 1, 0)


def test_a_second_request_counts_as_one(site: Site, throttle: Throttle) -> None:
    class Here:
        def of(self, bucket: str) -> Endpoint:
            url = site.server.url
            return Endpoint(f"{url}/{bucket}/", url.removeprefix("http://"), f"/{bucket}/", "eu-west-1")

    endpoints: Any = Here()
    http = S3Http(site.transfers, endpoints=endpoints, credentials=lambda: Credentials("AKID", "secret"))
    traffic = Traffic()
    rooms = [bytearray(UNTOUCHED) for _ in range(2)]
    requests = [
        HttpRequest("GetObject", "GET", bucket, "key", target=memoryview(room))
        for bucket, room in zip(("held", "quick"), rooms, strict=True)
    ]
    site.server.gate("/held/key", 2).set()
    outcomes: list[Answer | Exception] = []

    def read() -> None:
        with traffic.counting():
            outcomes.extend(http.send_all(requests))

    reading = threading.Thread(target=read)
    reading.start()
    assert eventually(lambda: site.server.answered["/quick/key"] == 1 and site.server.asked["/held/key"] == 1)
    site.overdue()
    reading.join(LONG_ENOUGH)

    assert [isinstance(outcome, Answer) for outcome in outcomes] == [True, True]
    assert [bytes(room) for room in rooms] == [SECOND, FIRST]
    assert traffic.requests == 3 == site.server.asked["/held/key"] + site.server.asked["/quick/key"]
    assert free(throttle) == PLACES
