"""Where a payload has its archive go, with real workers on a real server."""

import io
import uuid
import zipfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from devtools.localstack import LocalStack
from devtools.proxy import running_proxy
from devtools.stack import Stack
from devtools.worker import Worker, running_worker
from tests.acceptance.conftest import Delivered
from tests.conftest import StackClient, StartWorker
from tests.support.gate import Gate
from tests.support.jobs import noise
from tests.support.waiting import LONG_ENOUGH

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack, pytest.mark.usefixtures("worker")]

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def exports(s3: "S3Client") -> str:
    bucket = f"exports-{uuid.uuid4().hex[:10]}"
    s3.create_bucket(Bucket=bucket)
    return bucket


@pytest.fixture(scope="module")
def settings(exports: str) -> dict[str, str]:
    return {"NOTIFY_FAILURES": "1", "ALLOWED_DESTINATION_BUCKETS": exports, "LINK_EXPIRES_SECONDS": "3600"}


@pytest.fixture(scope="module")
def worker(localstack: LocalStack, stack: Stack, settings: dict[str, str]) -> Iterator[Worker]:
    with running_worker(localstack, stack, settings=settings) as running:
        yield running


def wanted(source: str, **archive: Any) -> dict[str, Any]:
    return {"files": [{"source": source}], "archive": archive}


def test_a_key_of_ones_own_in_another_bucket(
    client: StackClient, s3: "S3Client", exports: str, delivered: Delivered
) -> None:
    # given a source that is large enough for an upload in parts
    film = noise(12 * MIB)
    client.put("film.mp4", film)

    # when everything is asked for
    wish = {"key": "2026/film ü.zip", "bucket": exports, "tags": {"team": "a+b c"}, "storage_class": "STANDARD_IA"}
    request_id = client.send(wanted("film.mp4", **wish) | {"link_expires_seconds": 60})

    # then it is so
    archive = delivered(request_id, {"film.mp4": film}).json["archive"]
    assert (archive["bucket"], archive["key"]) == (exports, "2026/film ü.zip")
    assert parse_qs(urlsplit(archive["url"]).query)["X-Amz-Expires"] == ["60"]
    stored = s3.head_object(Bucket=exports, Key="2026/film ü.zip")
    assert stored["StorageClass"] == "STANDARD_IA"
    tags = s3.get_object_tagging(Bucket=exports, Key="2026/film ü.zip")["TagSet"]
    assert tags == [{"Key": "team", "Value": "a+b c"}]


def test_a_prefix_before_the_generated_key(client: StackClient, delivered: Delivered) -> None:
    client.put("prefixed.txt", b"x")

    request_id = client.send(wanted("prefixed.txt", prefix="team-a/"))

    key = delivered(request_id, {"prefixed.txt": b"x"}).json["archive"]["key"]
    prefix, digest, name = key.split("/")
    assert (prefix, len(digest), name.startswith("download-")) == ("team-a", 64, True)


def test_a_taken_key_is_a_dead_letter_and_overwriting_it_is_not(client: StackClient, delivered: Delivered) -> None:
    # given an archive under a key
    client.put("one.txt", b"1")
    client.put("two.txt", b"2")
    delivered(client.send(wanted("one.txt", key="numbers.zip")), {"one.txt": b"1"})

    # when others want the same key
    refused = client.send(wanted("two.txt", key="numbers.zip"))

    # then they are told so
    failure = client.notification(refused)
    assert (failure.json["status"], failure.json["error"]["code"]) == ("failed", "archive_exists")
    (dead,) = client.dead_letters(1)
    assert dead.attributes["Error-Code"] == "archive_exists"

    # unless they say that it may be overwritten
    delivered(client.send(wanted("two.txt", key="numbers.zip", overwrite=True)), {"two.txt": b"2"})


@pytest.mark.parametrize(
    ("archive", "code"),
    [({"bucket": "not-allowed"}, "limit_exceeded"), ({"key": "a\u0001b"}, "invalid_payload")],
)
def test_what_is_not_granted_is_a_dead_letter(client: StackClient, archive: dict[str, str], code: str) -> None:
    request_id = client.send(wanted("one.txt", **archive))

    assert client.notification(request_id).json["error"]["code"] == code
    (dead,) = client.dead_letters(1)
    assert dead.attributes["Error-Code"] == code


@pytest.mark.parametrize(
    ("slow", "size"),
    [("PutObject", 4 * MIB), ("UploadPartCopy", 24 * MIB), ("CompleteMultipartUpload", 24 * MIB)],
)
def test_two_requests_for_one_key_at_once(
    slow: str,
    size: int,
    gate: Gate,
    s3: "S3Client",
    sqs: "SQSClient",
    localstack: LocalStack,
    make_stack: Callable[..., Stack],
    start_worker: StartWorker,
) -> None:
    # given two workers, of which the first stops in the middle of its job, and two sources
    stack = make_stack()
    client = StackClient(s3, sqs, stack)
    bodies = {f"race-{n}.bin": noise(size + n, seed=n) for n in (1, 2)}
    for key, body in bodies.items():
        client.put(key, body)
    gate.operation = slow

    with running_proxy(localstack.url, faults=gate) as proxy:
        first = start_worker(on=stack, endpoint=proxy.url, NOTIFY_FAILURES="1")
        loser = client.send(wanted("race-1.bin", key="race.zip"))
        assert gate.reached.wait(LONG_ENOUGH)
        # when both have an archive of their own for one key, and the second one is done with it
        second = start_worker(on=stack, NOTIFY_FAILURES="1")
        winner = client.send(wanted("race-2.bin", key="race.zip"))
        won = client.notification(winner).json
        gate.opened.set()
        lost = client.notification(loser).json

        # then the key has the second's, whole, and the first is told that it is taken
        assert (won["status"], lost["status"], lost["error"]["code"]) == ("succeeded", "failed", "archive_exists")
        (dead,) = client.dead_letters(1)
        assert (dead.attributes["Request-Id"], dead.attributes["Error-Code"]) == (loser, "archive_exists")
        archive = s3.get_object(Bucket=stack.archive_bucket, Key="race.zip")
        assert archive["ETag"].strip('"') == won["archive"]["etag"]
        with zipfile.ZipFile(io.BytesIO(archive["Body"].read())) as opened:
            assert {name: opened.read(name) for name in opened.namelist()} == {"race-2.bin": bodies["race-2.bin"]}

        # and neither took up the other's upload, or has left one
        assert "upload resumed" not in first.output() + second.output()
        assert s3.list_multipart_uploads(Bucket=stack.archive_bucket).get("Uploads", []) == []
