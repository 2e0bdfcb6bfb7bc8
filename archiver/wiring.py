"""From settings to collaborators: the only place that knows them all."""

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from archiver.archive.access import Access
from archiver.archive.build import Options
from archiver.archive.pipeline import Services
from archiver.archive.resolve import Limits
from archiver.aws.clients import PATIENT, SLOW, Timeouts, new_client, new_session
from archiver.aws.lean import LeanRequests
from archiver.aws.links import Links
from archiver.aws.multipart import S3Uploads
from archiver.aws.notify import QueueNotifier
from archiver.aws.objects import S3Objects
from archiver.aws.queues import open_queue
from archiver.aws.throttle import Throttle
from archiver.settings import Settings, load_settings, zone

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def open_services(settings: Settings) -> Services:
    """The clients and settings that jobs work with. Makes no request."""
    session = new_session(settings.aws_region)
    width = settings.read_concurrency + settings.copy_concurrency + settings.parts_in_flight
    client = _s3_client(session, PATIENT, connections=width)
    slow = _s3_client(session, SLOW, connections=width)
    throttle = Throttle(width)
    throttle.watch(client)
    throttle.watch(slow)
    lean = _lean_requests(session, client, width)
    bucket = settings.s3_destination_bucket
    return Services(
        sources=lambda traffic: S3Objects(client, traffic=traffic, throttle=throttle, lean=lean),
        archives=lambda traffic: S3Uploads(client, slow, bucket=bucket, traffic=traffic, throttle=throttle),
        link=Links(
            _signing_client(session, client, bucket),
            bucket=bucket,
            base_url=settings.archive_base_url,
            expires=settings.link_expires_seconds,
        ).url,
        notifier=_notifier(settings),
        options=Options(
            part_size=settings.part_size,
            parts_in_flight=settings.parts_in_flight,
            read_concurrency=settings.read_concurrency,
            copy_concurrency=settings.copy_concurrency,
            zone=zone(settings.timezone),
        ),
        limits=Limits(
            settings.max_files,
            settings.max_archive_bytes,
            Access(settings.allowed_source_buckets, sources=settings.s3_source_bucket, archives=bucket),
        ),
        source_bucket=settings.s3_source_bucket,
        file_prefix=settings.s3_file_prefix,
        rebuilds=settings.rebuilds,
        notify_failures=settings.notify_failures,
    )


@cache
def services() -> Services:
    """This process's services, opened at the first call: after the fork, where there is one."""
    return open_services(load_settings())


def _notifier(settings: Settings) -> QueueNotifier | None:
    queue = settings.sqs_destination_queue
    if queue is None:
        return None
    return QueueNotifier(
        open_queue(queue, timeouts=PATIENT, region=settings.aws_region, setting="SQS_DESTINATION_QUEUE")
    )


def _signing_client(session: boto3.Session, client: "S3Client", bucket: str) -> "S3Client":
    """What presigns links: for AWS with the region in the host, where boto3 would name S3's global endpoint.

    That one redirects to the region while a bucket is new, and a redirect's host is not the one that was signed. A
    bucket's dots don't fit S3's certificate, so such a bucket goes into the path.
    """
    if ".amazonaws.com" not in client.meta.endpoint_url:
        return client
    style = Config(s3={"addressing_style": "path" if "." in bucket else "virtual"})
    regional: S3Client = new_client("s3", timeouts=PATIENT, session=session, config=style)
    return regional


def _lean_requests(session: boto3.Session, client: "S3Client", connections: int) -> LeanRequests | None:
    credentials = session.get_credentials()
    if credentials is None:
        return None
    http = URLLib3Session(
        # As botocore resolves it for its own clients.
        verify=session._session.get_config_variable("ca_bundle") or True,
        proxies=get_environ_proxies(client.meta.endpoint_url),
        timeout=(PATIENT.connect, PATIENT.read),  # type: ignore[arg-type]  # a pair is fine, the stubs don't know
        max_pool_connections=connections,
    )
    return LeanRequests(client, credentials=credentials, session=http)


def _s3_client(session: boto3.Session, timeouts: Timeouts, *, connections: int) -> "S3Client":
    config = Config(
        max_pool_connections=connections,
        tcp_keepalive=True,
        # The engine gives each part's CRC32 itself, and S3 checks it; a second hash for the signature adds nothing.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": False},
    )
    client: S3Client = new_client("s3", timeouts=timeouts, session=session, config=config)
    return client
