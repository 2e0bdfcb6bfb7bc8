"""Requests to S3 on the native way: signed here, sent by libcurl, retried by one policy that the throttle sees.

For what is asked thousands of times: GET, HEAD and LIST of sources, PUT and copies of parts. All else is boto3's.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import NoCredentialsError

from archiver.archive.streamed_body import PartBody, StreamedBody
from archiver.archive.traffic import count_request
from archiver.aws.endpoints import Endpoint, Endpoints
from archiver.aws.failures import SLOW_DOWN_STATUSES, Refused, refusal, root_of
from archiver.aws.inlet import Inlet
from archiver.aws.signing import EMPTY, UNSIGNED, Signer, Signing, encoded_path, encoded_query
from archiver.aws.transfer import Transfer
from archiver.aws.transfers import Transfers

if TYPE_CHECKING:
    from botocore.credentials import Credentials

#: Attempts at one request that brought nothing, the first included.
ATTEMPTS = 8
#: Transfers that have ended before the waiting thread looks at them.
AT_ONCE = 256
#: Corrections of a request's way: another region, another clock.
MOST_CORRECTIONS = 3
PARTIAL = 206
#: The longest pause before another attempt, in seconds; the first one is at most a tenth of a second.
MAX_PAUSE = 10.0
#: Answers that another attempt may not get: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_PASSING = frozenset({429, 500, 502, 503, 504})
_PASSING_CODES = frozenset({"RequestTimeout", "InternalError", "ServiceUnavailable"})
#: The status of an error that S3 puts into a success, as boto3 has it: the answer had begun before S3 knew.
_HIDDEN = 500


@dataclass(slots=True, eq=False)
class HttpRequest:
    """One request to a bucket. ``headers`` have names in lower case.

    ``first`` and ``last`` are the range of a GET in bytes, inclusive; one that breaks off goes on where it was, so it
    is pinned by ``etag``, which the answer must have. ``target`` takes the content and must be filled by it; without
    one the answer has it, where it is no longer than ``most`` bytes, and must be the XML ``element``, where one is
    named: a success may hold an error in its place. A checksum in ``headers`` guards the ``body``; one that is streamed
    can be sent once. ``silent_seconds`` without a byte are waited for, None: as many as usual.
    """

    operation: str
    method: str
    bucket: str
    key: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    first: int | None = None
    last: int | None = None
    etag: str | None = None
    target: memoryview | None = None
    most: int | None = None
    element: str | None = None
    body: PartBody | None = None
    silent_seconds: float | None = None


class Answer(NamedTuple):
    """A successful answer: its headers, with names in lower case, and its content where no target took it.

    ``content`` None: it was longer than the request's ``most``, and hung up on.
    """

    headers: Mapping[str, str]
    content: bytes | None


class S3Http:
    """Sends requests and waits for them; safe to share between threads. ``common`` headers go with each of them."""

    def __init__(
        self,
        transfers: Transfers,
        *,
        endpoints: Endpoints,
        credentials: Callable[[], "Credentials | None"],
        common: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transfers = transfers
        self._endpoints = endpoints
        self._credentials = credentials
        self._common = common or {}
        self._sleep = sleep
        self._signers: dict[str, Signer] = {}
        self._skew = 0.0

    def send(self, request: HttpRequest) -> Answer:
        """The answer. Raises ``Refused``, and ``OSError`` where there was none."""
        (outcome,) = self.send_all([request])
        if isinstance(outcome, Answer):
            return outcome
        raise outcome

    def send_all(
        self,
        requests: Sequence[HttpRequest],
        on_outcome: Callable[[int, Answer | Exception], None] = lambda _number, _outcome: None,
    ) -> list[Answer | Exception]:
        """Each request's answer, or what failed, in their order; under way at once as far as the throttle lets them.

        ``on_outcome`` is told each request's number and outcome while others are under way, in this thread. What it
        raises is raised once none of them is.
        """
        states = [_State(request) for request in requests]
        pending = list(range(len(states)))
        while pending:
            self._round(states, pending, on_outcome)
            pending = [number for number in pending if not states[number].is_over()]
            failures = max((states[number].failures for number in pending), default=0)
            if failures:
                longest = min(MAX_PAUSE, 0.1 * 2 ** (failures - 1))
                self._sleep(random.uniform(longest / 4, longest))  # noqa: S311 jitter, not a secret
        return [state.outcome for state in states if state.outcome is not None]

    def _round(
        self, states: Sequence["_State"], numbers: Sequence[int], on_outcome: Callable[[int, Answer | Exception], None]
    ) -> None:
        """One attempt at the requests of these numbers."""
        waiter = _Waiter()
        number_of = dict(zip(self._begun([states[number] for number in numbers], waiter), numbers, strict=True))
        failure: Exception | None = None
        for transfer in waiter.ended():
            if failure is not None:
                continue
            number = number_of[transfer]
            state = states[number]
            try:
                self._judge(state)
                if state.is_over():
                    assert state.outcome is not None
                    on_outcome(number, state.outcome)
            except Exception as error:
                # Not yet: the others still write where they were told to.
                failure = error
        if failure is not None:
            raise failure

    def open_all(self, requests: Sequence[HttpRequest]) -> list[Inlet | Exception]:
        """Ask for objects, whose content comes in as it is taken: S3 has answered for all of them.

        Each is asked once, and none takes a place of the throttle: the caller holds one, and closes what it gets, which
        is for each request, in their order, its content or what failed.
        """
        waiter = _Waiter()
        ways: dict[str, _Way] = {}
        states, inlets = [], []
        lane = self._transfers.lane()
        for request in requests:
            state, inlet = _State(request), Inlet(waiter.one_ended, self._transfers.drop, lane=lane)
            state.transfer = inlet.transfer = self._prepared(state, ways, inlet.ended, lane=lane, inlet=inlet)
            states.append(state)
            inlets.append(inlet)
        count_request(len(inlets))
        self._transfers.start([inlet.transfer for inlet in inlets if inlet.transfer])
        waiter.expect(len(inlets))
        waiter.wait()
        return [self._opened(state, inlet) for state, inlet in zip(states, inlets, strict=True)]

    def _opened(self, state: "_State", inlet: Inlet) -> Inlet | Exception:
        if not inlet.headers:
            self._judge(state)
            state.give_up()
            assert isinstance(state.outcome, Exception)
            return state.outcome
        if _is_of(state, inlet.headers):
            return inlet
        inlet.close()
        return ConnectionError(f"{state.request.operation} failed: the answer is not what was asked for")

    def _begun(self, states: Sequence["_State"], waiter: "_Waiter") -> list[Transfer]:
        """A transfer for each state, all under way."""
        ways: dict[str, _Way] = {}
        transfers = []
        # Of short requests most is Python's work, and two threads would wait for each other.
        bodies = (state.request.body for state in states if state.request.body is not None)
        lane = next((body.lane for body in bodies if isinstance(body, StreamedBody)), 0)
        for state in states:
            state.transfer = self._prepared(state, ways, waiter.one_ended, lane=lane)
            transfers.append(state.transfer)
        count_request(len(transfers))
        # Not the first of them sooner: they would take the interpreter's lock from what makes the others.
        self._transfers.start(transfers)
        waiter.expect(len(transfers))
        return transfers

    def _prepared(
        self,
        state: "_State",
        ways: dict[str, "_Way"],
        ended: Callable[[Transfer], None],
        *,
        lane: int,
        inlet: Inlet | None = None,
    ) -> Transfer:
        request = state.request
        way = ways.get(request.bucket)
        if way is None:
            endpoint = self._endpoints.of(request.bucket)
            way = ways[request.bucket] = _Way(endpoint, self._signer(endpoint.region).now())
        endpoint = way.endpoint
        state.region = endpoint.region
        path, query = encoded_path(request.key), encoded_query(request.query)
        headers = {**self._common, **request.headers}
        if request.etag is not None:
            headers["if-match"] = request.etag
        if request.first is not None:
            headers["range"] = f"bytes={request.first + state.done}-{request.last}"
        lines = way.signing.signed(
            request.method,
            host=endpoint.host,
            path=endpoint.path + path,
            query=query,
            headers=headers,
            body_hash=EMPTY if request.body is None else UNSIGNED,
        )
        return Transfer(
            method=request.method,
            url=f"{endpoint.base}{path}?{query}" if query else endpoint.base + path,
            headers=lines,
            ended=ended,
            sink=inlet,
            led=inlet is not None or isinstance(request.body, StreamedBody),
            lane=lane,
            target=None if request.target is None else request.target[state.done :],
            most=request.most,
            body=request.body,
            silent_seconds=request.silent_seconds,
        )

    def _signer(self, region: str) -> Signer:
        if region not in self._signers:
            credentials = self._credentials()
            if credentials is None:
                raise NoCredentialsError
            self._signers[region] = Signer(credentials, region=region, clock=lambda: time.time() + self._skew)
        return self._signers[region]

    def _judge(self, state: "_State") -> None:
        """Give the state its outcome, or leave it to another attempt."""
        transfer, request = state.transfer, state.request
        assert transfer is not None
        if transfer.is_cut:
            state.outcome = Answer(transfer.answered_headers(), None)
        elif transfer.error is not None:
            # What came of a pinned range is as good as the rest will be.
            state.failed(f"{request.operation} failed: {transfer.error}", came=_came(state, transfer))
        elif 200 <= transfer.status < 300:
            self._judge_success(state, transfer)
        else:
            self._judge_refusal(state, transfer, refusal(transfer.status, bytes(transfer.content)))

    def _judge_success(self, state: "_State", transfer: Transfer) -> None:
        headers, content = transfer.answered_headers(), bytes(transfer.content)
        element = None if state.request.element is None else root_of(content)
        if element == "Error":
            self._judge_refusal(state, transfer, refusal(_HIDDEN, content))
        elif element == state.request.element and _is_asked_for(state, headers):
            state.outcome = Answer(headers, content)
        else:
            state.failed(f"{state.request.operation} failed: the answer is not what was asked for")

    def _judge_refusal(self, state: "_State", transfer: Transfer, refused: Refused) -> None:
        headers = transfer.answered_headers()
        if refused.slows_down and transfer.status not in SLOW_DOWN_STATUSES:
            # The transfers know the status alone.
            self._transfers.slow_down()
        elsewhere = self._is_elsewhere(state, refused, headers)
        if (elsewhere or self._is_skewed(refused, headers)) and state.corrections < MOST_CORRECTIONS:
            state.corrections += 1
        elif refused.status in _PASSING or refused.slows_down or refused.code in _PASSING_CODES:
            state.failed(refused)
        else:
            state.outcome = refused

    def _is_elsewhere(self, state: "_State", refused: Refused, headers: Mapping[str, str]) -> bool:
        """Whether S3 says that the bucket is in another region than this request was for.

        Another request may have learned so meanwhile. A HEAD's refusal has no code: it may be a redirect, or a
        signature for another region.
        """
        region = headers.get("x-amz-bucket-region")
        if refused.status not in (301, 307, 400) or region is None or region == state.region:
            return False
        self._endpoints.moved(state.request.bucket, region)
        return True

    def _is_skewed(self, refused: Refused, headers: Mapping[str, str]) -> bool:
        """Whether our clock is the reason; the answer's date then mends it."""
        if refused.code != "RequestTimeTooSkewed" or "date" not in headers:
            return False
        try:
            self._skew = parsedate_to_datetime(headers["date"]).timestamp() - time.time()
        except (ValueError, OverflowError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Way:
    """How requests to one bucket go that are sent at one moment."""

    endpoint: Endpoint
    signing: Signing


@dataclass(slots=True, eq=False)
class _State:
    """A request between its attempts: bytes done, attempts in a row that brought nothing, corrections of its way.

    ``region`` is what the last attempt was signed for.
    """

    request: HttpRequest
    transfer: Transfer | None = None
    done: int = 0
    failures: int = 0
    corrections: int = 0
    region: str = ""
    reason: Exception | None = None
    outcome: Answer | Exception | None = None

    def failed(self, reason: str | Refused, *, came: int = 0) -> None:
        """An attempt has failed, which brought so many bytes all the same; the last one is the outcome."""
        self.done += came
        self.failures = 1 if came else self.failures + 1
        self.reason = ConnectionError(reason) if isinstance(reason, str) else reason
        if self.failures >= ATTEMPTS:
            self.give_up()

    def is_over(self) -> bool:
        """Whether there is an outcome; what can't be sent again has one after each attempt."""
        if self.outcome is None and isinstance(self.request.body, StreamedBody):
            self.give_up()
        return self.outcome is not None

    def give_up(self) -> None:
        """Let the last failure be the outcome, where there is none."""
        if self.outcome is None:
            self.outcome = self.reason or ConnectionError("another region or clock is to be tried")


def _came(state: _State, transfer: Transfer) -> int:
    request = state.request
    if request.first is None or request.etag is None or transfer.status != PARTIAL:
        return 0
    return transfer.received if _is_of(state, transfer.answered_headers()) else 0


def _is_asked_for(state: _State, headers: Mapping[str, str]) -> bool:
    """Whether the answer is the object, or its range, and not a page that something on the way made.

    What S3 has taken has an ETag.
    """
    transfer, target = state.transfer, state.request.target
    assert transfer is not None
    if state.request.body is not None and "etag" not in headers:
        return False
    if target is not None and transfer.received != len(target) - state.done:
        return False
    return _is_of(state, headers)


def _is_of(state: _State, headers: Mapping[str, str]) -> bool:
    request = state.request
    if request.etag is not None and headers.get("etag", "").strip('"') != request.etag.strip('"'):
        return False
    if request.first is None:
        return True
    return headers.get("content-range", "").startswith(f"bytes {request.first + state.done}-{request.last}/")


class _Waiter:
    """Waits for transfers, and brings those that have ended while others are under way, many at a time.

    To wake up for each would take more than it saves: it takes the interpreter's lock from whoever moves the bytes.
    """

    def __init__(self) -> None:
        self._expected = self._taken = 0
        # Touched by the transfers' thread alone.
        self._count = 0
        self._ended: deque[Transfer] = deque()
        self._woken = threading.Event()

    def expect(self, count: int) -> None:
        """So many more have begun; of them some may have ended."""
        self._expected += count
        if self._count == self._expected:
            self._woken.set()

    def one_ended(self, transfer: Transfer) -> None:
        # Called from one thread alone.
        self._ended.append(transfer)
        self._count += 1
        if (self._count == self._expected or len(self._ended) >= AT_ONCE) and not self._woken.is_set():
            self._woken.set()

    def ended(self) -> Iterator[Transfer]:
        """All that are expected, as they end."""
        while self._taken < self._expected:
            self._woken.wait()
            self._woken.clear()
            while self._ended:
                self._taken += 1
                yield self._ended.popleft()

    def wait(self) -> None:
        """Until all have ended."""
        for _ in self.ended():
            pass
