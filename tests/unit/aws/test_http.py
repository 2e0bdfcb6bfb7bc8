"""One policy for requests: which answers end one, which are asked again, after what pause, and from where on."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError

from archiver.archive.streamed_body import StreamedBody
from archiver.aws.endpoints import Endpoint
from archiver.aws.exchange import ATTEMPTS, Answer, HttpRequest
from archiver.aws.failures import Refused
from archiver.aws.http import S3Http
from archiver.aws.transfer import Transfer

#: What a server does with a transfer.
Script = Callable[[Transfer], None]


class Server:
    """Stands where libcurl is: each transfer ends at once, by the next script or the last one."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.seen: list[Transfer] = []

    def start(self, transfers: Sequence[Transfer]) -> None:
        for transfer in transfers:
            self.seen.append(transfer)
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            script(transfer)
            transfer.ended(transfer)


class Endpoints:
    def __init__(self) -> None:
        self.region = "eu-west-1"

    def of(self, bucket: str) -> Endpoint:
        host = f"{bucket}.s3.{self.region}.amazonaws.com"
        return Endpoint(f"https://{host}/", host, "/", self.region)

    def moved(self, bucket: str, region: str) -> bool:
        moved, self.region = region != self.region, region
        return moved


def answers(status: int, content: bytes = b"", **headers: str) -> Script:
    def script(transfer: Transfer) -> None:
        transfer.status = status
        lines = {"Content-Length": str(len(content))} | {name.replace("_", "-"): text for name, text in headers.items()}
        transfer.lines.extend([b"HTTP/1.1 %d" % status, *(f"{n}: {text}".encode() for n, text in lines.items())])
        if transfer.target is not None and 200 <= status < 300:
            transfer.target[: len(content)] = content
            transfer.received = len(content)
        else:
            transfer.content += content

    return script


def breaks(came: bytes = b"", **headers: str) -> Script:
    def script(transfer: Transfer) -> None:
        answers(206, came, **headers)(transfer)
        transfer.error = "the connection broke"

    return script


def refuses(status: int, code: str = "", **headers: str) -> Script:
    return answers(
        status, f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode() if code else b"", **headers
    )


def http(*scripts: Script) -> tuple[S3Http, Server, list[float]]:
    server: Any = Server(*scripts)
    endpoints: Any = Endpoints()
    pauses: list[float] = []
    keys = Credentials("AKID", "secret")
    return S3Http(server, endpoints=endpoints, credentials=lambda: keys, sleep=pauses.append), server, pauses


def get(**more: Any) -> HttpRequest:
    return HttpRequest("GetObject", "GET", "b", "a key", **more)


def test_a_success_is_its_headers_and_content() -> None:
    client, server, pauses = http(answers(200, b"content", ETag='"e"'))

    answer = client.send(get())

    assert (answer.headers["etag"], answer.content) == ('"e"', b"content")
    assert server.seen[0].url == "https://b.s3.eu-west-1.amazonaws.com/a%20key"
    assert not pauses


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "NoSuchKey"),
        (403, "AccessDenied"),
        (412, "PreconditionFailed"),
        (416, "InvalidRange"),
        (400, "InvalidRequest"),
    ],
)
def test_a_refusal_that_would_be_the_same_is_not_asked_for_again(status: int, code: str) -> None:
    client, server, pauses = http(refuses(status, code))

    with pytest.raises(Refused) as refused:
        client.send(get())

    assert (refused.value.status, refused.value.code, refused.value.message) == (status, code, "m")
    assert (len(server.seen), pauses) == (1, [])


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (429, ""), (500, "InternalError"), (502, ""), (400, "RequestTimeout")]
)
def test_a_busy_server_is_asked_again_after_a_pause(status: int, code: str) -> None:
    client, server, pauses = http(refuses(status, code), answers(200, b"x"))

    assert client.send(get()).content == b"x"

    assert len(server.seen) == 2
    assert len(pauses) == 1


def test_a_success_without_an_etag_has_taken_nothing() -> None:
    client, server, _ = http(answers(200, b"<html>Welcome to the network</html>"), answers(200, b"", ETag='"e"'))

    answer = client.send(HttpRequest("UploadPart", "PUT", "b", "a key", body=b"part"))

    assert answer.headers["etag"] == '"e"'
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    "first",
    [
        b"<Error><Code>AccessDenied</Code></Error>",
        b"<Result><Half>",
        b"<html>Welcome to the network</html>",
        b"",
    ],
)
def test_a_success_that_is_not_the_element_that_was_asked_for_is_none(first: bytes) -> None:
    client, server, pauses = http(answers(200, first), answers(200, b"<Result/>"))

    answer = client.send(HttpRequest("UploadPartCopy", "PUT", "b", "a key", element="Result"))

    assert answer.content == b"<Result/>"
    assert (len(server.seen), len(pauses)) == (2, 1)


def test_an_error_in_a_success_is_a_failure_of_s3s_in_the_end() -> None:
    client, server, _ = http(answers(200, b"<Error><Code>InternalError</Code><Message>m</Message></Error>"))

    with pytest.raises(Refused) as refused:
        client.send(HttpRequest("UploadPartCopy", "PUT", "b", "a key", element="Result"))

    assert (refused.value.status, str(refused.value)) == (500, "InternalError: m")
    assert len(server.seen) == ATTEMPTS


def test_an_object_that_reads_like_an_error_is_an_object() -> None:
    client, server, _ = http(answers(200, b"<Error><Code>InternalError</Code></Error>"))

    assert client.send(get()).content == b"<Error><Code>InternalError</Code></Error>"
    assert len(server.seen) == 1


def test_what_goes_out_while_it_comes_in_is_sent_once() -> None:
    client, server, pauses = http(refuses(503, "SlowDown"))

    with pytest.raises(Refused):
        client.send(HttpRequest("UploadPart", "PUT", "b", "a key", body=StreamedBody([b"part"], 4)))

    assert (len(server.seen), pauses) == (1, [])


def test_it_is_asked_so_often_and_pauses_grow() -> None:
    client, server, pauses = http(refuses(503, "SlowDown"))

    with pytest.raises(Refused, match="SlowDown"):
        client.send(get())

    assert len(server.seen) == ATTEMPTS
    assert pauses[-1] > pauses[0]
    assert max(pauses) <= 10


def test_no_answer_is_asked_for_again_and_is_an_os_error_in_the_end() -> None:
    client, server, _ = http(breaks())

    with pytest.raises(OSError, match="GetObject failed: the connection broke"):
        client.send(get())

    assert len(server.seen) == ATTEMPTS


def test_a_range_that_breaks_off_goes_on_where_it_was() -> None:
    target = bytearray(10)
    client, server, _ = http(
        breaks(b"0123", ETag='"e"', Content_Range="bytes 100-109/500"),
        answers(206, b"456789", ETag='"e"', Content_Range="bytes 104-109/500"),
    )

    client.send(get(first=100, last=109, etag='"e"', target=memoryview(target)))

    assert target == b"0123456789"
    ranges = [line for transfer in server.seen for line in transfer.headers if line.startswith("range")]
    assert ranges == ["range: bytes=100-109", "range: bytes=104-109"]
    assert all('if-match: "e"' in transfer.headers for transfer in server.seen)


def test_a_range_that_brings_something_each_time_is_never_given_up() -> None:
    size = 3 * ATTEMPTS
    target = bytearray(size)

    def a_byte(transfer: Transfer) -> None:
        done = size - len(transfer.target or b"")
        breaks(b"x", ETag="e", Content_Range=f"bytes {done}-{size - 1}/{size}")(transfer)
        if done == size - 1:
            transfer.error = None

    client, _, _ = http(a_byte)
    client.send(get(first=0, last=size - 1, etag="e", target=memoryview(target)))
    assert target == b"x" * size


def test_a_whole_object_that_breaks_off_is_read_from_its_start() -> None:
    target = bytearray(4)
    client, _, _ = http(breaks(b"ab", ETag="e"), answers(200, b"abcd", ETag="e"))

    client.send(get(etag="e", target=memoryview(target)))

    assert target == b"abcd"


@pytest.mark.parametrize(
    "foreign",
    [
        answers(200, b"page", ETag="other"),
        answers(200, b"page"),
        answers(200, b"pag", ETag="e", Content_Range="bytes 0-3/9"),
        answers(206, b"page", ETag="e", Content_Range="bytes 5-8/9"),
        answers(200, b"page", ETag="e"),
    ],
    ids=["other etag", "no etag", "too short", "other range", "no range"],
)
def test_an_answer_that_is_not_what_was_asked_for_is_asked_again(foreign: Script) -> None:
    target = bytearray(4)
    client, server, _ = http(foreign, answers(206, b"good", ETag="e", Content_Range="bytes 0-3/9"))

    client.send(get(first=0, last=3, etag="e", target=memoryview(target)))

    assert target == b"good"
    assert len(server.seen) == 2


def test_a_foreign_page_for_ever_is_an_os_error() -> None:
    client, _, _ = http(answers(200, b"page", ETag="other"))

    with pytest.raises(OSError, match="not what was asked for"):
        client.send(get(etag="e", target=memoryview(bytearray(4))))


def test_content_that_is_cut_is_none() -> None:
    def cut(transfer: Transfer) -> None:
        answers(200, b"lots", ETag="e")(transfer)
        transfer.is_cut, transfer.error = True, "write error"

    client, server, _ = http(cut)
    assert client.send(get(most=2)).content is None
    assert server.seen[0].most == 2


@pytest.mark.parametrize(
    "refusal",
    [refuses(301, "PermanentRedirect", x_amz_bucket_region="us-west-2"), refuses(400, x_amz_bucket_region="us-west-2")],
)
def test_a_bucket_elsewhere_is_asked_there_at_once(refusal: Script) -> None:
    client, server, pauses = http(refusal, answers(200, b"x"))

    client.send(get())

    assert server.seen[1].url.startswith("https://b.s3.us-west-2.amazonaws.com/")
    assert "us-west-2/s3/aws4_request" in server.seen[1].headers[-1]
    assert not pauses


def test_a_bucket_that_moves_in_a_circle_is_a_refusal() -> None:
    regions = iter(["us-west-2", "eu-west-1"] * 20)

    def circle(transfer: Transfer) -> None:
        refuses(301, "PermanentRedirect", x_amz_bucket_region=next(regions))(transfer)

    client, server, _ = http(circle)
    with pytest.raises(Refused):
        client.send(get())
    assert len(server.seen) < 10


def test_a_clock_that_is_wrong_is_corrected_by_s3s() -> None:
    client, server, _ = http(
        refuses(403, "RequestTimeTooSkewed", Date="Thu, 26 Nov 2037 04:00:00 GMT"), answers(200, b"x")
    )

    client.send(get())

    assert any(line.startswith("x-amz-date: 20371126T0400") for line in server.seen[1].headers)


def test_of_many_each_has_its_outcome_and_only_those_that_failed_are_asked_again() -> None:
    client, server, _ = http(answers(200, b"1"), refuses(503), refuses(404, "NoSuchKey"), answers(200, b"2"))

    first, second, third = client.send_all([get(), get(), get()])

    assert isinstance(first, Answer)
    assert first.content == b"1"
    assert isinstance(second, Answer)
    assert second.content == b"2"
    assert isinstance(third, Refused)
    assert len(server.seen) == 4


def test_common_headers_are_sent_and_signed_with_each_request() -> None:
    server: Any = Server(answers(200))
    endpoints: Any = Endpoints()
    keys = Credentials("AKID", "secret")
    payer = {"x-amz-request-payer": "requester"}

    S3Http(server, endpoints=endpoints, credentials=lambda: keys, common=payer).send(get())

    lines = [line.lower() for line in server.seen[0].headers]
    assert "x-amz-request-payer: requester" in lines
    assert any(line.startswith("authorization:") and "x-amz-request-payer" in line for line in lines)


def test_nothing_asked_is_nothing_answered() -> None:
    client, server, _ = http(answers(200))
    assert client.send_all([]) == []
    assert not server.seen


def test_without_credentials_it_says_so() -> None:
    server: Any = Server(answers(200))
    endpoints: Any = Endpoints()
    with pytest.raises(NoCredentialsError):
        S3Http(server, endpoints=endpoints, credentials=lambda: None).send(get())


@pytest.mark.parametrize("cut", [False, True])
def test_an_answer_without_a_header_that_is_needed_is_asked_for_again(cut: bool) -> None:
    # given an answer that broke off in its headers, or some page of another server's
    def lacks(transfer: Transfer) -> None:
        answers(200, b"" if cut else b"page", ETag='"e"')(transfer)
        transfer.is_cut = cut

    client, server, pauses = http(lacks, answers(200, b"content", ETag='"e"', Last_Modified="now"))

    answer = client.send(get(needs=("content-length", "etag", "last-modified"), most=7))

    assert answer.content == b"content"
    assert answer.failures == len(pauses) == 1
    assert len(server.seen) == 2
