"""The policy for requests at its edges: many at once, pages of strangers, long ways home."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import CredentialRetrievalError

from archiver.archive.location import Location
from archiver.archive.storage import Read, SourceObject
from archiver.archive.traffic import Traffic
from archiver.aws.endpoints import Endpoint
from archiver.aws.exchange import Answer
from archiver.aws.failures import Refused
from archiver.aws.http import S3Http
from archiver.aws.objects import S3Objects
from archiver.aws.throttle import Throttle
from archiver.aws.transfer import Transfer
from archiver.aws.transfers import Transfers
from archiver.errors import StorageUnavailable
from tests.unit.aws.test_http import Endpoints, Server, answers, breaks, get, http, refuses
from tests.unit.aws.test_transfers import SETTINGS, server
from tests.unit.aws.test_transfers import Server as HttpServer

__all__ = ["server"]


def source(size: int = 4) -> SourceObject:
    return SourceObject(bucket="b", key="k", size=size, etag='"e"', modified=0)


def objects(client: S3Http) -> S3Objects:
    unused: Any = None
    return S3Objects(unused, client, traffic=Traffic(), throttle=Throttle(8))


@pytest.mark.parametrize("count", [2, 100])
def test_many_requests_at_once_to_a_bucket_elsewhere_all_find_it(count: int) -> None:
    def at_home(transfer: Transfer) -> None:
        if "us-west-2" in transfer.url:
            answers(200, b"x")(transfer)
        else:
            refuses(301, "PermanentRedirect", x_amz_bucket_region="us-west-2")(transfer)

    client, _, _ = http(at_home)

    outcomes = client.send_all([get() for _ in range(count)])

    assert [outcome.content for outcome in outcomes if isinstance(outcome, Answer)] == [b"x"] * count, outcomes


def test_a_look_is_not_refused_by_a_clock_that_is_mended_meanwhile() -> None:
    def keeps_time(transfer: Transfer) -> None:
        if any(line.startswith("x-amz-date: 20371126T") for line in transfer.headers) and transfer.method == "GET":
            answers(206, b"x", Content_Range="bytes 0-0/1")(transfer)
        elif any(line.startswith("x-amz-date: 20371126T") for line in transfer.headers):
            answers(200, ETag='"e"', Last_Modified="Thu, 26 Nov 2026 04:00:00 GMT")(transfer)
        elif transfer.method == "HEAD":
            refuses(403, Date="Thu, 26 Nov 2037 04:00:00 GMT")(transfer)
        else:
            refuses(403, "RequestTimeTooSkewed", Date="Thu, 26 Nov 2037 04:00:00 GMT")(transfer)

    client, _, _ = http(keeps_time)

    assert objects(client).head(Location("b", "k")).etag == '"e"'


@contextmanager
def sending_to(server: HttpServer, throttle: Throttle) -> Iterator[S3Http]:
    """Requests that libcurl sends to a server of ours."""

    class Here:
        def of(self, bucket: str) -> Endpoint:
            return Endpoint(f"{server.url}/{bucket}/", server.url.removeprefix("http://"), f"/{bucket}/", "eu-west-1")

        def moved(self, _bucket: str, _region: str) -> bool:
            return False

    transfers = Transfers(SETTINGS, throttle=throttle)
    endpoints: Any = Here()
    keys = Credentials("AKID", "secret")
    yield S3Http(transfers, endpoints=endpoints, credentials=lambda: keys, sleep=lambda _: None)
    transfers.close()


def test_an_answer_that_asks_for_less_by_its_code_narrows_the_gate(server: HttpServer) -> None:
    server.answers["/b/a%20key"] = (400, b"<Error><Code>KMS.ThrottlingException</Code></Error>")
    throttle = Throttle(8)

    with sending_to(server, throttle) as client, pytest.raises(Refused, match="ThrottlingException"):
        client.send(get())

    assert throttle.width < 8


@pytest.mark.parametrize("status", [404, 503, 403])
@pytest.mark.parametrize("length", [100, 1_000_000])
def test_a_refusal_with_a_long_page_is_a_refusal(server: HttpServer, status: int, length: int) -> None:
    server.answers["/b/a%20key"] = (status, b"<Error><Code>Why</Code></Error>" + b" " * length)

    with sending_to(server, Throttle(8)) as client, pytest.raises(Refused, match="Why") as refused:
        client.send(get(most=10))

    assert refused.value.status == status


def test_pauses_stay_short_while_a_range_goes_on() -> None:
    size = 40
    target = bytearray(size)

    def a_byte(transfer: Transfer) -> None:
        done = size - len(transfer.target or b"")
        breaks(b"x", ETag="e", Content_Range=f"bytes {done}-{size - 1}/{size}")(transfer)
        if done == size - 1:
            transfer.error = None

    client, _, pauses = http(a_byte)
    client.send(get(first=0, last=size - 1, etag="e", target=memoryview(target)))

    assert max(pauses) <= 0.1, "each attempt's pause is that of a first failure"


def test_keys_that_expire_and_cannot_be_renewed_while_reading_are_a_storage_failure() -> None:
    def gone() -> Credentials:
        raise CredentialRetrievalError(provider="ecs", error_msg="no answer")

    server: Any = Server(answers(200))
    endpoints: Any = Endpoints()
    client = S3Http(server, endpoints=endpoints, credentials=gone)

    with pytest.raises(StorageUnavailable):
        objects(client).read_all([Read(source(), 0, memoryview(bytearray(4)))])


def test_a_date_that_is_none_mends_no_clock() -> None:
    client, _, _ = http(refuses(403, "RequestTimeTooSkewed", Date="yesterday"))

    with pytest.raises(Refused, match="RequestTimeTooSkewed"):
        client.send(get())


def test_an_object_whose_date_is_none_is_a_storage_failure() -> None:
    client, _, _ = http(answers(200, b"x", ETag='"e"', Last_Modified="yesterday"))

    with pytest.raises(StorageUnavailable):
        objects(client).fetch_small(Location("b", "k"), limit=10)


@pytest.mark.parametrize("field", [{"Content_Length": "long"}, {"x_amz_checksum_crc32": "x"}])
def test_headers_that_make_no_sense_are_a_storage_failure(field: dict[str, str]) -> None:
    fields = {"ETag": '"e"', "Last_Modified": "Thu, 26 Nov 2026 04:00:00 GMT"} | field
    client, _, _ = http(answers(200, b"four", **fields))

    with pytest.raises(StorageUnavailable):
        objects(client).head(Location("b", "k"))


def test_nothing_to_read_is_nothing_read() -> None:
    client, _, _ = http(answers(200))
    assert objects(client).read_all([]) == []


@pytest.mark.parametrize("element", ["Key", "Size", "ETag", "LastModified"])
def test_a_listing_that_lacks_something_is_a_storage_failure(element: str) -> None:
    fields = {"Key": "k", "Size": "1", "ETag": '"e"', "LastModified": "2026-11-26T04:00:00.000Z"}
    item = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items() if name != element)
    page = f"<ListBucketResult><Contents>{item}</Contents></ListBucketResult>"
    client, _, _ = http(answers(200, page.encode()))

    with pytest.raises(StorageUnavailable, match=element):
        list(objects(client).below(Location("b", "k/")))
