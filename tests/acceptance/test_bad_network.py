"""A real worker behind a proxy that flips bits of what S3 sends, or answers in the place of SQS."""

import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from boto3.s3.transfer import TransferConfig

from devtools.faults import Flip, Page, Request, at_random, on, where
from devtools.localstack import LocalStack
from devtools.proxy import Proxy, running_proxy
from tests.conftest import StackClient, StartWorker
from tests.support.jobs import noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.messages import Message

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack]
MIB = 1024 * 1024


@pytest.fixture
def proxy(localstack: LocalStack) -> "Iterator[Proxy]":
    with running_proxy(localstack.url) as proxy:
        yield proxy


def archived(client: StackClient, notification: "Message") -> dict[str, bytes]:
    """The archive's entries, each of which has the CRC32 that its records say."""
    assert notification.json["status"] == "succeeded", notification.body
    archive = notification.json["archive"]
    body = client.s3.get_object(Bucket=archive["bucket"], Key=archive["key"])["Body"].read()
    with zipfile.ZipFile(io.BytesIO(body)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


def asks_for_a_range(request: Request) -> bool:
    return request.operation == "GetObject" and "range" in request.headers


class TestFlippedBits:
    @pytest.mark.parametrize("checksum", ["full", "composite"])
    def test_one_in_a_range_of_a_large_object_is_mended_at_once(
        self, proxy: Proxy, client: StackClient, start_worker: StartWorker, checksum: str
    ) -> None:
        # given a large object, copied but for its head, and one flipped bit in that head
        content = noise(30 * MIB)
        one_request = TransferConfig(multipart_threshold=(64 if checksum == "full" else 8) * MIB)
        client.s3.upload_fileobj(io.BytesIO(content), client.stack.source_bucket, "film.mp4", Config=one_request)
        proxy.set_faults(where(asks_for_a_range, Flip(), times=1))
        worker = start_worker(endpoint=proxy.url)

        # when it is archived
        request_id = client.send({"files": [{"source": "film.mp4"}]})
        notification = client.notification(request_id)

        # then the archive is right, at the first attempt
        assert archived(client, notification) == {"film.mp4": content}
        assert proxy.counts().faults == {"Flip": 1}
        assert worker.output().count("parts built again") == 1
        assert worker.output().count("sources resolved") == 1

    def test_in_a_fifth_of_all_small_objects_make_no_wrong_archive(
        self, proxy: Proxy, client: StackClient, start_worker: StartWorker
    ) -> None:
        # given small objects, some of them named and some listed, and a bit flipped in every fifth GET
        contents = {f"p{job}/{n}.bin": noise(500 + 9_973 * n, seed=job * 20 + n) for job in range(8) for n in range(12)}
        for key, content in contents.items():
            client.put(key, content)
        proxy.set_faults(at_random(0.2, seed=3, faults=(Flip(),), operation="GetObject"))
        start_worker(endpoint=proxy.url, WORKER_CONCURRENCY="2")

        # when they are archived
        expected: dict[str, dict[str, bytes]] = {}
        for job in range(8):
            keys = [key for key in contents if key.startswith(f"p{job}/")]
            sources = [f"p{job}/"] if job % 2 else keys
            request_id = client.send({"files": [{"source": source} for source in sources]})
            expected[request_id] = {key.partition("/")[2]: contents[key] for key in keys}

        # then no success is a wrong one
        for _ in range(len(expected)):
            notification = client.notification()
            assert archived(client, notification) == expected.pop(notification.json["request_id"])
        assert proxy.counts().faults["Flip"] > 5


#: 200, and nothing that SQS would say.
PAGES = {"a page": Page(), "an empty object": Page(content=b"{}", media_type="application/x-amz-json-1.0")}


@pytest.mark.parametrize("page", PAGES)
class TestAnswersOfOthers:
    def test_are_no_notification(self, proxy: Proxy, client: StackClient, start_worker: StartWorker, page: str) -> None:
        # given a gateway that takes the notification for itself
        client.put("a.txt", b"content")
        proxy.set_faults(on("SendMessage", PAGES[page], times=1))
        worker = start_worker(endpoint=proxy.url)

        # when a job is done
        request_id = client.send({"files": [{"source": "a.txt"}]})

        # then the consumer is told all the same, by the next attempt
        assert archived(client, client.notification(request_id)) == {"a.txt": b"content"}
        assert proxy.counts().faults == {"Page": 1}
        assert worker.wait_for_log("archive found")

    def test_are_no_object(self, proxy: Proxy, client: StackClient, start_worker: StartWorker, page: str) -> None:
        # given objects that S3 has no CRC32 of, one read whole and one by its head, and a gateway that takes two GETs
        contents = {"whole.bin": noise(300_000), "head.bin": noise(11 * MIB)}
        for key, content in contents.items():
            client.s3.put_object(
                Bucket=client.stack.source_bucket, Key=f"p/{key}", Body=content, ChecksumAlgorithm="SHA256"
            )
        proxy.set_faults(on("GetObject", PAGES[page], times=2))
        start_worker(endpoint=proxy.url)

        # when they are archived
        request_id = client.send({"files": [{"source": "p/"}]})

        # then none of the pages is part of the archive
        assert archived(client, client.notification(request_id)) == contents
        assert proxy.counts().faults == {"Page": 2}

    def test_are_no_dead_letter(self, proxy: Proxy, client: StackClient, start_worker: StartWorker, page: str) -> None:
        # given a gateway that takes the dead letter for itself
        proxy.set_faults(on("SendMessage", PAGES[page], times=1))
        start_worker(endpoint=proxy.url)

        # when a message can never succeed
        payload: dict[str, Any] = {"files": [{"source": "missing.txt"}]}
        request_id = client.send(payload)

        # then it is not deleted, but comes again and becomes one
        (letter,) = client.dead_letters(1)
        assert letter.json == payload
        assert letter.attributes["Original-Message-Id"] == request_id
        assert letter.attributes["Error-Code"] == "missing_sources"
        assert proxy.counts().faults == {"Page": 1}
