"""Requests to S3 on the native way: signed here, sent by libcurl, retried by one policy that the throttle sees.

For what is asked thousands of times, GET, HEAD and LIST of sources, PUT and copies of parts, and for the completion,
which takes longer than all else. The rest is boto3's.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from botocore.exceptions import NoCredentialsError

from archiver.archive.streamed_body import StreamedBody
from archiver.archive.traffic import count_request
from archiver.aws.elements import root_of
from archiver.aws.endpoints import Endpoint, Endpoints
from archiver.aws.exchange import Answer, Exchange, HttpRequest
from archiver.aws.failures import SLOW_DOWN_STATUSES, Refused, refusal
from archiver.aws.inlet import Inlet
from archiver.aws.signing import EMPTY, UNSIGNED, Signer, Signing, encoded_path, encoded_query
from archiver.aws.transfer import Transfer
from archiver.aws.transfers import Transfers
from archiver.aws.waiter import Waiter

if TYPE_CHECKING:
    from botocore.credentials import Credentials

#: Corrections of a request's way: another region, another clock.
MOST_CORRECTIONS = 3
#: What is said of a success that is not S3's, of an operation.
NOT_ASKED_FOR = "{} failed: the answer is not what was asked for"
#: The longest pause before another attempt, in seconds; the first one is at most a tenth of a second.
MAX_PAUSE = 10.0
#: Answers that another attempt may not get: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_PASSING = frozenset({429, 500, 502, 503, 504})
_PASSING_CODES = frozenset({"RequestTimeout", "InternalError", "ServiceUnavailable"})
#: The status of an error that S3 puts into a success, as boto3 has it: the answer had begun before S3 knew.
_HIDDEN = 500


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
        raises is raised once none of them is; they are hung up on.
        """
        exchanges = [Exchange(request) for request in requests]
        pending = list(range(len(exchanges)))
        while pending:
            self._round(exchanges, pending, on_outcome)
            pending = [number for number in pending if not exchanges[number].is_over()]
            failures = max((exchanges[number].failures for number in pending), default=0)
            if failures:
                longest = min(MAX_PAUSE, 0.1 * 2 ** (failures - 1))
                self._sleep(random.uniform(longest / 4, longest))  # noqa: S311 jitter, not a secret
        return [exchange.outcome for exchange in exchanges if exchange.outcome is not None]

    def _round(
        self,
        exchanges: Sequence[Exchange],
        numbers: Sequence[int],
        on_outcome: Callable[[int, Answer | Exception], None],
    ) -> None:
        """One attempt at the requests of these numbers."""
        waiter = Waiter()
        number_of = dict(zip(self._begun([exchanges[number] for number in numbers], waiter), numbers, strict=True))
        failure: Exception | None = None
        for transfer in waiter.ended():
            if transfer.hedged:
                count_request()  # here, in the context of whoever is asking
            if failure is not None:
                continue
            number = number_of[transfer]
            exchange = exchanges[number]
            try:
                self._judge(exchange)
                if exchange.is_over():
                    assert exchange.outcome is not None
                    on_outcome(number, exchange.outcome)
            except Exception as error:
                # Not yet: the others still write where they were told to. Nobody wants what they bring.
                failure = error
                for other in number_of:
                    self._transfers.drop(other)
        if failure is not None:
            raise failure

    def open_all(self, requests: Sequence[HttpRequest]) -> list[Inlet | Exception]:
        """Ask for objects, whose content comes in as it is taken: S3 has answered for all of them.

        Each is asked once, and none takes a place of the throttle: the caller holds one, and closes what it gets, which
        is for each request, in their order, its content or what failed.
        """
        waiter = Waiter()
        ways: dict[str, _Way] = {}
        exchanges, inlets = [], []
        lane = self._transfers.lane()
        for request in requests:
            exchange, inlet = Exchange(request), Inlet(waiter.one_ended, self._transfers.drop, lane=lane)
            exchange.transfer = inlet.transfer = self._prepared(exchange, ways, inlet.ended, lane=lane, inlet=inlet)
            exchanges.append(exchange)
            inlets.append(inlet)
        count_request(len(inlets))
        self._transfers.start([inlet.transfer for inlet in inlets if inlet.transfer])
        waiter.expect(len(inlets))
        waiter.wait()
        return [self._opened(exchange, inlet) for exchange, inlet in zip(exchanges, inlets, strict=True)]

    def _opened(self, exchange: Exchange, inlet: Inlet) -> Inlet | Exception:
        if not inlet.headers:
            self._judge(exchange)
            exchange.give_up()
            assert isinstance(exchange.outcome, Exception)
            return exchange.outcome
        if exchange.is_of(inlet.headers):
            return inlet
        inlet.close()
        return ConnectionError(NOT_ASKED_FOR.format(exchange.request.operation))

    def _begun(self, exchanges: Sequence[Exchange], waiter: Waiter) -> list[Transfer]:
        """A transfer for each exchange, all under way."""
        ways: dict[str, _Way] = {}
        transfers = []
        # Of short requests most is Python's work, and two threads would wait for each other.
        bodies = (exchange.request.body for exchange in exchanges if exchange.request.body is not None)
        lane = next((body.lane for body in bodies if isinstance(body, StreamedBody)), 0)
        for exchange in exchanges:
            exchange.transfer = self._prepared(exchange, ways, waiter.one_ended, lane=lane)
            transfers.append(exchange.transfer)
        count_request(len(transfers))
        # Not the first of them sooner: they would take the interpreter's lock from what makes the others.
        self._transfers.start(transfers)
        waiter.expect(len(transfers))
        return transfers

    def _prepared(
        self,
        exchange: Exchange,
        ways: dict[str, "_Way"],
        ended: Callable[[Transfer], None],
        *,
        lane: int,
        inlet: Inlet | None = None,
    ) -> Transfer:
        request = exchange.request
        way = ways.get(request.bucket)
        if way is None:
            endpoint = self._endpoints.of(request.bucket)
            way = ways[request.bucket] = _Way(endpoint, self._signer(endpoint.region).now())
        endpoint = way.endpoint
        exchange.region = endpoint.region
        path, query = encoded_path(request.key), encoded_query(request.query)
        headers = {**self._common, **request.headers}
        if request.etag is not None:
            headers["if-match"] = request.etag
        if request.first is not None:
            headers["range"] = f"bytes={request.first + exchange.done}-{request.last}"
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
            early=request.operation == "ListObjectsV2",
            lane=lane,
            target=None if request.target is None else request.target[exchange.done :],
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

    def _judge(self, exchange: Exchange) -> None:
        """Give the exchange its outcome, or leave it to another attempt."""
        transfer, request = exchange.transfer, exchange.request
        assert transfer is not None
        if transfer.error is not None and not transfer.is_cut:
            exchange.failed(f"{request.operation} failed: {transfer.error}", came=exchange.came(transfer))
        elif 200 <= transfer.status < 300:
            self._judge_success(exchange, transfer)
        else:
            self._judge_refusal(exchange, transfer, refusal(transfer.status, bytes(transfer.content)))

    def _judge_success(self, exchange: Exchange, transfer: Transfer) -> None:
        headers, content = transfer.answered_headers(), b"" if transfer.is_cut else bytes(transfer.content)
        element = None if exchange.request.element is None else root_of(content)
        if element == "Error":
            self._judge_refusal(exchange, transfer, refusal(_HIDDEN, content))
        elif element == exchange.request.element and exchange.is_asked_for(transfer, headers):
            exchange.outcome = Answer(headers, None if transfer.is_cut else content, exchange.failures)
        else:
            exchange.failed(NOT_ASKED_FOR.format(exchange.request.operation))

    def _judge_refusal(self, exchange: Exchange, transfer: Transfer, refused: Refused) -> None:
        headers = transfer.answered_headers()
        if refused.slows_down and transfer.status not in SLOW_DOWN_STATUSES:
            # The transfers know the status alone.
            self._transfers.slow_down()
        elsewhere = self._is_elsewhere(exchange, refused, headers)
        if (elsewhere or self._is_skewed(refused, headers)) and exchange.corrections < MOST_CORRECTIONS:
            exchange.corrections += 1
        elif refused.status in _PASSING or refused.slows_down or refused.code in _PASSING_CODES:
            exchange.failed(refused)
        else:
            exchange.outcome = refused

    def _is_elsewhere(self, exchange: Exchange, refused: Refused, headers: Mapping[str, str]) -> bool:
        """Whether S3 says that the bucket is in another region than this request was for.

        Another request may have learned so meanwhile. A HEAD's refusal has no code: it may be a redirect, or a
        signature for another region.
        """
        region = headers.get("x-amz-bucket-region")
        if refused.status not in (301, 307, 400) or region is None or region == exchange.region:
            return False
        self._endpoints.moved(exchange.request.bucket, region)
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
