"""A copy inside S3: what goes over the wire, as botocore would have it, and which answers are a copy."""

import http.server
from collections.abc import Iterator
from email.message import Message
from typing import Any, cast

import pytest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.storage import CopyRefused, SourceObject, UploadedPart
from archiver.archive.traffic import Traffic
from archiver.aws.clients import PATIENT
from archiver.aws.copies import copy_headers, read_copy
from archiver.aws.endpoints import Endpoint, Endpoints
from archiver.aws.exchange import ATTEMPTS
from archiver.aws.http import S3Http
from archiver.aws.multipart import SILENT_SECONDS, S3Uploads
from archiver.aws.signing import EMPTY
from archiver.aws.throttle import Throttle
from archiver.aws.transfers import Transfers
from archiver.errors import SourceChanged, StorageUnavailable
from tests.unit.aws.test_http import Server as ScriptedServer
from tests.unit.aws.test_http import answers
from tests.unit.aws.test_transfers import SETTINGS, serving

COPIED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<CopyPartResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<LastModified>2026-11-26T04:00:00.000Z</LastModified><ETag>&quot;e1&quot;</ETag>"
    b"<ChecksumCRC32>AAAAKg==</ChecksumCRC32></CopyPartResult>"
)
PART = UploadedPart(7, '"e1"', 100, 42)
PAGE = b"<html><body>Welcome to the network</body></html>"
#: Of something on the way that writes as the parser can't read, or as nobody can.
FOREIGN = b'<?xml version="1.0" encoding="Shift_JIS"?><html/>'
UNKNOWN = b'<?xml version="1.0" encoding="x-none"?><html/>'
ACCESS_POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/films"


def error(code: str) -> bytes:
    """What S3 puts into a success that it had begun to answer before it knew, behind what kept the connection."""
    return b'<?xml version="1.0" encoding="UTF-8"?>\n \n \n' + f"<Error><Code>{code}</Code></Error>".encode()


def source(key: str = "film", *, bucket: str = "b", version_id: str | None = None) -> SourceObject:
    return SourceObject(bucket=bucket, key=key, size=10 << 20, etag='"e0"', modified=0, version_id=version_id)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "S3"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, self.headers, body))
        copied = "x-amz-copy-source" in self.headers
        status, answer = 200, b""
        if copied:
            status, answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if not copied:
            self.send_header("ETag", '"e2"')
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


class S3(http.server.ThreadingHTTPServer):
    """Answers copies with one after the other, the last one for ever, and takes every part."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, bytes]] = [(200, COPIED)]
        self.asked: list[tuple[str, Message, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Here:
    """Every bucket is at one URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def of(self, bucket: str) -> Endpoint:
        return Endpoint(f"{self.url}/{bucket}/", self.url.removeprefix("http://"), f"/{bucket}/", "eu-west-1")


def uploads_by(transfers: Any, endpoints: Any, throttle: Throttle, traffic: Traffic) -> S3Uploads:
    no_client: Any = None
    http_client = S3Http(
        transfers,
        endpoints=endpoints,
        credentials=lambda: Credentials("AKID", "secret"),
        common={"x-amz-request-payer": "requester"},
        sleep=lambda _: None,
    )
    return S3Uploads(no_client, http_client, bucket="archives", traffic=traffic, throttle=throttle)


class Site:
    """Uploads to a server of ours, by libcurl."""

    def __init__(self, s3: S3) -> None:
        self.s3 = s3
        self.throttle = Throttle(8)
        self.traffic = Traffic()
        self.transfers = Transfers(SETTINGS, throttle=self.throttle, lanes=1)
        self.uploads = uploads_by(self.transfers, Here(s3.url), self.throttle, self.traffic)

    def copy(self, **more: Any) -> UploadedPart:
        with self.traffic.counting():
            return self.uploads.copy_part("k/a.zip", "u", 7, source(**more), 50, 150)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(S3()) as s3:
        site = Site(s3)
        yield site
        site.transfers.close()


class TestOnTheWire:
    def test_it_has_no_body_and_says_so(self, site: Site) -> None:
        # Given a connection that an upload went by,
        site.uploads.put_part("k/a.zip", "u", 1, b"part", crc32=0)

        # when a part is copied, and another one uploaded,
        assert site.copy() == PART
        site.uploads.put_part("k/a.zip", "u", 2, b"another", crc32=0)

        # then each has its own length, and nothing is announced or cut into chunks.
        assert [body for _, _, body in site.s3.asked] == [b"part", b"", b"another"]
        path, headers, _ = site.s3.asked[1]
        assert path == "/archives/k/a.zip?partNumber=7&uploadId=u"
        assert headers["Content-Length"] == "0"
        assert not {"Expect", "Transfer-Encoding", "Content-Type"} & set(headers.keys())

    def test_its_headers_are_signed_with_the_hash_of_nothing(self, site: Site) -> None:
        site.copy(key="a b", version_id="v.1")

        ((_, headers, _),) = site.s3.asked
        assert headers["x-amz-content-sha256"] == EMPTY
        assert headers["x-amz-copy-source"] == "b/a%20b?versionId=v.1"
        assert headers["x-amz-copy-source-range"] == "bytes=50-149"
        assert headers["x-amz-copy-source-if-match"] == '"e0"'
        assert headers["x-amz-request-payer"] == "requester"
        assert {name.lower() for name in headers} - {"authorization", "content-length"} <= set(
            headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        )


class TestAnAnswer:
    def test_is_counted_once(self, site: Site) -> None:
        site.copy()

        assert (site.traffic.requests, site.traffic.copies, site.traffic.bytes_copied) == (1, 1, 100)

    @pytest.mark.parametrize(
        "first", [error("InternalError"), error("SlowDown"), PAGE, FOREIGN, UNKNOWN, b"", COPIED[:-10]]
    )
    def test_that_is_a_success_by_its_status_alone_is_asked_for_again(self, site: Site, first: bytes) -> None:
        site.s3.answers = [(200, first), (200, COPIED)]

        assert site.copy() == PART
        assert len(site.s3.asked) == site.traffic.requests == 2
        assert site.traffic.copies == 1

    def test_with_an_error_for_ever_is_its_refusal(self, site: Site) -> None:
        site.s3.answers = [(200, error("InternalError"))]

        with pytest.raises(
            StorageUnavailable, match=r"copying s3://b/film into s3://archives/k/a\.zip .*InternalError"
        ):
            site.copy()

        assert len(site.s3.asked) == site.traffic.requests == ATTEMPTS
        assert site.traffic.copies == 0

    @pytest.mark.parametrize(("code", "verdict"), [("AccessDenied", CopyRefused), ("InvalidRange", SourceChanged)])
    def test_with_an_error_means_what_it_means_elsewhere(self, site: Site, code: str, verdict: type[Exception]) -> None:
        site.s3.answers = [(200, error(code))]

        with pytest.raises(verdict, match=code):
            site.copy()

    def test_that_refuses_for_good_is_asked_for_once(self, site: Site) -> None:
        site.s3.answers = [(403, error("AccessDenied"))]

        with pytest.raises(CopyRefused, match="AccessDenied"):
            site.copy()

        assert len(site.s3.asked) == 1

    @pytest.mark.parametrize("status", [200, 400, 503])
    def test_that_asks_for_less_narrows_the_gate(self, site: Site, status: int) -> None:
        site.s3.answers = [(status, error("SlowDown")), (200, COPIED)]

        site.copy()

        assert site.throttle.width < 8

    def test_that_is_somebody_elses_for_ever_is_a_storage_failure(self, site: Site) -> None:
        site.s3.answers = [(200, PAGE)]

        with pytest.raises(StorageUnavailable, match="not what was asked for"):
            site.copy()

    @pytest.mark.parametrize(
        "content",
        [b"<CopyPartResult/>", b"<CopyPartResult><ETag>e</ETag><ChecksumCRC32>x</ChecksumCRC32></CopyPartResult>"],
    )
    def test_without_what_s3_tells_is_a_storage_failure(self, site: Site, content: bytes) -> None:
        site.s3.answers = [(200, content)]

        with pytest.raises(StorageUnavailable, match="not S3's"):
            site.copy()

        assert site.traffic.copies == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (COPIED, ('"e1"', 42)),
        (b"\n \n" + COPIED, ('"e1"', 42)),
        (b'<CopyPartResult><ETag>"e1"</ETag></CopyPartResult>', ('"e1"', None)),
        (b'<s:CopyPartResult xmlns:s="x"><s:ETag>e1</s:ETag><s:ChecksumCRC32/></s:CopyPartResult>', ("e1", None)),
    ],
)
def test_an_answer_tells_etag_and_crc32(content: bytes, told: tuple[str, int | None]) -> None:
    assert read_copy(content) == told


class Sent(Exception):
    """The request that botocore would have sent."""


def sent_by_botocore(client: Any, operation: str, **parameters: Any) -> Any:
    """The request that a method of botocore's client would send."""

    def stop(request: Any, **_: Any) -> None:
        raise Sent(request)

    event = f"before-send.s3.{client.meta.method_to_api_mapping[operation]}"
    client.meta.events.register_first(event, stop, unique_id=event)
    with pytest.raises(Sent) as sent:
        getattr(client, operation)(Bucket="archives", **parameters)
    return sent.value.args[0]


def copied_by_botocore(client: Any, key: str, origin: SourceObject) -> tuple[str, str, dict[str, str]]:
    copied = {"Bucket": origin.bucket, "Key": origin.key}
    request = sent_by_botocore(
        client,
        "upload_part_copy",
        Key=key,
        UploadId="u/+=",
        PartNumber=7,
        CopySource=copied | ({"VersionId": origin.version_id} if origin.version_id else {}),
        CopySourceRange="bytes=50-149",
        CopySourceIfMatch=origin.etag,
    )
    fields = {
        name.lower(): text.decode() if isinstance(text, bytes) else text for name, text in request.headers.items()
    }
    return *parts_of(request.url), fields


def parts_of(url: str) -> tuple[str, str]:
    path, _, query = url.partition("://")[2].partition("/")[2].partition("?")
    return path, "&".join(sorted(query.split("&")))


def sent_here(client: Any, key: str, origin: SourceObject) -> tuple[str, str, dict[str, str]]:
    server = ScriptedServer(answers(200, COPIED))
    uploads = uploads_by(server, Endpoints(client, lambda _region, _config: client), Throttle(8), Traffic())
    uploads.copy_part(key, "u/+=", 7, origin, 50, 150)
    (transfer,) = server.seen
    return *parts_of(transfer.url), dict(cast("tuple[str, str]", line.split(": ", 1)) for line in transfer.headers)


@pytest.fixture(scope="module")
def client() -> Any:
    """A client of botocore's, which reads no settings of this machine."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
        return Session().create_client(
            "s3",
            region_name="eu-west-1",
            endpoint_url="http://127.0.0.1:1",
            aws_access_key_id="AKID",
            aws_secret_access_key="secret",
            config=Config(signature_version="s3v4"),
        )


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40) | st.sampled_from(
    ["%41", "a+b", "a b", "ü/文件", "a?b=c", "a?versionId=v", "a/../b", "./a//b", "/a", "~a", "a:b@c", "a&b;c#d"]
)


@given(
    key=keys,
    origin=keys,
    bucket=st.sampled_from(["b", "b.c", ACCESS_POINT]),
    version=st.none() | st.just("3sL4kq.-_~J"),
)
def test_it_is_asked_for_as_botocore_asks(client: Any, key: str, origin: str, bucket: str, version: str | None) -> None:
    copied = source(origin, bucket=bucket, version_id=version)

    path, query, headers = sent_here(client, key, copied)
    its_path, its_query, its_headers = copied_by_botocore(client, key, copied)

    assert (path, query) == (its_path, its_query)
    ours = {name: text for name, text in headers.items() if name.startswith("x-amz-copy")}
    assert ours == {name: text for name, text in its_headers.items() if name.startswith("x-amz-copy")}
    assert len(ours) == 3


def test_s3_may_be_silent_for_as_long_as_a_copy_takes() -> None:
    server = ScriptedServer(answers(200, COPIED))
    uploads = uploads_by(server, Here("http://127.0.0.1:1"), Throttle(8), Traffic())

    uploads.copy_part("k", "u", 1, source(), 0, 100)

    assert [transfer.silent_seconds for transfer in server.seen] == [SILENT_SECONDS]
    assert PATIENT.read < SILENT_SECONDS


def test_a_version_that_is_none_breaks_no_header() -> None:
    headers = copy_headers(source(version_id="v\r\nx-amz-acl: public-read&x=1"), 0, 1)
    assert headers["x-amz-copy-source"] == "b/film?versionId=v%0D%0Ax-amz-acl%3A%20public-read%26x%3D1"
