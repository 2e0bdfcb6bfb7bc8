"""What the settings and the SDK's own environment become."""

import http.server
import subprocess
import sys
from typing import Any

import pytest

from archiver.archive.access import Access
from archiver.archive.location import Location
from archiver.archive.storage import ArchiveObject, SourceObject
from archiver.archive.traffic import Traffic
from archiver.aws.notify import QueueNotifier
from archiver.aws.topics import Notifiers, TopicNotifier
from archiver.settings import Settings
from archiver.wiring import open_services
from archiver.worker.startup import OF_SOME_JOBS
from tests.unit.aws.test_transfers import serving


def settings(bucket: str = "archives", **more: str) -> Settings:
    return Settings.model_validate({"sqs_source_queue": "input", "s3_destination_bucket": bucket, **more})


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.parametrize(
    ("bucket", "start"),
    [
        ("archives", "https://archives.s3.eu-west-1.amazonaws.com/k/a.zip?"),
        ("archives.example.com", "https://s3.eu-west-1.amazonaws.com/archives.example.com/k/a.zip?"),
    ],
)
def test_a_presigned_link_names_the_region_that_ecs_names(bucket: str, start: str) -> None:
    services = open_services(settings(bucket, aws_region="eu-west-1"))

    assert services.link(bucket, "k/a.zip", None).startswith(start)


def test_the_sdks_own_region_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")

    services = open_services(settings(aws_region="eu-west-1"))

    assert ".s3.ap-south-1.amazonaws.com/" in services.link("archives", "k", None)


def test_a_link_to_an_emulator_has_the_bucket_in_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")

    services = open_services(settings(aws_region="eu-west-1"))

    assert services.link("archives", "k", None).startswith("http://127.0.0.1:4566/archives/k?")


def test_the_bucket_of_the_archives_is_no_source() -> None:
    access = open_services(settings(aws_region="eu-west-1", s3_source_bucket="sources")).limits.access

    reserved = ("archiver-hand-backs/", "archiver-checkpoints/", "archiver-crew/")
    assert access == Access(sources="sources", archives="archives", reserved=reserved)


def test_further_buckets_of_archives_are_no_sources_either() -> None:
    services = open_services(settings(aws_region="eu-west-1", allowed_destination_buckets="reports, exports"))

    assert services.destinations.buckets == ("reports", "exports")
    assert services.limits.access.complaint(Location("exports", "a"))


class Listener(http.server.BaseHTTPRequestHandler):
    """Takes copies and completes uploads, and keeps what it heard."""

    protocol_version = "HTTP/1.1"
    server: "Listening"

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.command, self.headers["x-amz-request-payer"], self.headers["Authorization"]))
        root = "CopyPartResult" if self.command == "PUT" else "CompleteMultipartUploadResult"
        answer = f"<{root}><ETag>e</ETag></{root}>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_PUT  # noqa: N815 the standard library's name

    def log_message(self, *_: Any) -> None:
        pass


class Listening(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Listener)
        self.heard: list[tuple[str, str | None, str]] = []


@pytest.mark.parametrize("pays", [True, False])
def test_where_the_requester_pays_every_request_says_so(pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Listening()) as s3:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3.server_address[1]}")
        services = open_services(settings(aws_region="eu-west-1", requester_pays=str(int(pays))))
        uploads = services.archives("archives", Traffic())

        # by the native client, and by botocore's
        part = uploads.copy_part("k", "u", 1, SourceObject("sources", "film", 9 << 20, "etag", 0), 0, 9 << 20)
        uploads.complete(ArchiveObject("k", {}, None), "u", [part], crc32=0, size=9 << 20)

    assert [(method, payer) for method, payer, _ in s3.heard] == [
        ("PUT", "requester" if pays else None),
        ("POST", "requester" if pays else None),
    ]
    assert all(("x-amz-request-payer" in signature) is pays for _, _, signature in s3.heard)


def test_without_a_destination_queue_nobody_is_notified() -> None:
    assert open_services(settings(aws_region="eu-west-1")).notifier is None
    assert isinstance(
        open_services(settings(aws_region="eu-west-1", sqs_destination_queue="output")).notifier, QueueNotifier
    )


def test_a_topic_is_told_alone_or_beside_the_queue() -> None:
    topic = "arn:aws:sns:eu-central-1:123456789012:archives"
    alone = open_services(settings(aws_region="eu-west-1", sns_destination_topic=topic)).notifier
    both = open_services(
        settings(aws_region="eu-west-1", sns_destination_topic=topic, sqs_destination_queue="output")
    ).notifier

    assert isinstance(alone, TopicNotifier)
    assert isinstance(both, Notifiers)


#: What a program loads that has one job, which deflates nothing, notifies nobody and invites nobody.
PLAIN = """
import sys
from archiver.archive.pipeline import build_archive
from archiver.settings import Settings
from archiver.wiring import open_services

named = {"sqs_source_queue": "input", "s3_destination_bucket": "archives", "aws_region": "eu-west-1"}
open_services(Settings.model_validate(named))
print(*sys.modules)
"""


def test_a_job_loads_no_library_that_it_does_not_use() -> None:
    modules = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, check=True, timeout=60)
    loaded_modules = set(modules.stdout.split())
    assert not {"boto3", "s3transfer", "rich", "celery", "kombu", "click"} & loaded_modules
    assert not {*OF_SOME_JOBS, "archiver.archive.checkpoint", "archiver.archive.status"} & loaded_modules
    assert not {"archiver.archive.crew", "archiver.archive.crew_plan", "archiver.aws.queues"} & loaded_modules


def test_the_collector_does_not_look_at_clients() -> None:
    looks = """
import gc
from archiver.aws.clients import new_session

described = new_session().get_component("data_loader").load_data("endpoints")
assert gc.is_tracked(described)
assert not any(one is described for one in gc.get_objects())
"""
    subprocess.run([sys.executable, "-c", PLAIN + looks], stdout=subprocess.DEVNULL, check=True, timeout=60)


def test_there_is_a_crew_where_there_is_a_queue_for_it() -> None:
    alone, together = (
        open_services(settings(aws_region="eu-west-1", **more)).crew for more in ({}, {"sqs_crew_queue": "crew"})
    )

    assert alone is None
    assert together is not None
    assert together.min_weight == 1024**3
