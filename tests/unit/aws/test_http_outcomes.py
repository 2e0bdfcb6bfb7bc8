"""Of many requests each is judged while others are under way, and none is left behind, whatever goes wrong."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from botocore.credentials import Credentials

from archiver.aws.exchange import Answer
from archiver.aws.http import S3Http
from archiver.aws.transfer import Transfer
from archiver.aws.waiter import AT_ONCE
from tests.unit.aws.test_http import Endpoints, Script, answers, get, http, refuses


class Holding:
    """All transfers end at once but the last, which another thread ends, once it may or after seconds."""

    def __init__(self, count: int, script: Script) -> None:
        self.left = count
        self.script = script
        self.may_end = threading.Event()
        self.was_let = False
        self.has_ended = False
        self.dropped: list[Transfer] = []

    def start(self, transfers: Sequence[Transfer]) -> None:
        for transfer in transfers:
            self.left -= 1
            self.script(transfer)
            if self.left:
                transfer.ended(transfer)
            else:
                threading.Thread(target=self.end, args=(transfer,)).start()

    def drop(self, transfer: Transfer) -> None:
        self.dropped.append(transfer)
        self.may_end.set()

    def end(self, transfer: Transfer) -> None:
        self.was_let = self.may_end.wait(10)
        self.has_ended = True
        transfer.ended(transfer)


def sending(transfers: Any, endpoints: Any = None) -> S3Http:
    endpoints = endpoints or Endpoints()
    return S3Http(transfers, endpoints=endpoints, credentials=lambda: Credentials("AKID", "secret"))


def test_an_outcome_is_told_while_others_are_under_way() -> None:
    count = AT_ONCE + 2
    transfers = Holding(count, answers(200, b"x"))
    told = []

    def tell(number: int, outcome: Answer | Exception) -> None:
        assert isinstance(outcome, Answer)
        told.append(number)
        transfers.may_end.set()

    outcomes = sending(transfers).send_all([get() for _ in range(count)], tell)

    assert transfers.was_let, "the first was told before the last had ended"
    assert told == list(range(count))
    assert len(outcomes) == count


def test_what_the_listener_raises_is_raised_once_the_others_are_hung_up_on() -> None:
    count = AT_ONCE + 2
    transfers = Holding(count, answers(200, b"x"))

    def refuse(number: int, _: Answer | Exception) -> None:
        raise LookupError(number)

    with pytest.raises(LookupError):
        sending(transfers).send_all([get() for _ in range(count)], refuse)

    # one that has ended can be dropped, too
    assert len(transfers.dropped) == count
    assert transfers.was_let
    assert transfers.has_ended


def test_what_judging_raises_is_raised_once_nothing_is_under_way() -> None:
    # Given answers that name a region which boto3 makes no client of,
    count = AT_ONCE + 2
    transfers = Holding(count, refuses(301, "PermanentRedirect", x_amz_bucket_region="no region!"))

    class Nowhere(Endpoints):
        def moved(self, bucket: str, region: str) -> bool:
            transfers.may_end.set()
            raise LookupError(bucket, region)

    with pytest.raises(LookupError):
        sending(transfers, Nowhere()).send_all([get() for _ in range(count)])

    # then what they write into is the caller's again.
    assert transfers.has_ended


def test_each_outcome_is_told_once_and_only_when_nothing_is_tried_any_more() -> None:
    client, _, _ = http(answers(200, b"1"), refuses(503), refuses(404, "NoSuchKey"), answers(200, b"2"))
    told: list[tuple[int, Answer | Exception]] = []

    outcomes = client.send_all([get(), get(), get()], lambda number, outcome: told.append((number, outcome)))

    assert [number for number, _ in told] == [0, 2, 1]
    assert [outcome for _, outcome in sorted(told, key=lambda pair: pair[0])] == outcomes
