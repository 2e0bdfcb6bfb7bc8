"""From settings to collaborators: the only place that knows them all."""

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from archiver.archive.build import Options
from archiver.archive.pipeline import Services
from archiver.archive.resolve import Limits
from archiver.aws.lean import LeanRequests
from archiver.aws.links import Links
from archiver.aws.multipart import S3Uploads
from archiver.aws.notify import Notifier
from archiver.aws.objects import S3Objects
from archiver.aws.throttle import Throttle
from archiver.settings import Settings, load_settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

#: Attempts at one request, the first included: botocore's standard mode backs off in between.
ATTEMPTS = 8
CONNECT_TIMEOUT = 5
READ_TIMEOUT = 60
#: Copying a part and completing an upload take S3 a while: seconds without a byte of an answer.
SLOW_READ_TIMEOUT = 900


def open_services(settings: Settings) -> Services:
    """The clients and settings that jobs work with. Makes no request."""
    session = boto3.session.Session()
    if not session.region_name:
        # boto3 reads AWS_DEFAULT_REGION alone; ECS sets AWS_REGION.
        session = boto3.session.Session(region_name=settings.aws_region)
    width = settings.read_concurrency + settings.copy_concurrency + settings.parts_in_flight
    client: S3Client = session.client("s3", config=_s3_config(width, READ_TIMEOUT))
    slow: S3Client = session.client("s3", config=_s3_config(width, SLOW_READ_TIMEOUT))
    throttle = Throttle(width)
    throttle.watch(client)
    throttle.watch(slow)
    lean = _lean_requests(session, client, width, throttle)
    bucket = settings.s3_destination_bucket
    return Services(
        objects=lambda traffic: S3Objects(client, traffic=traffic, throttle=throttle, lean=lean),
        uploads=lambda traffic: S3Uploads(client, slow, bucket=bucket, traffic=traffic, throttle=throttle),
        links=Links(
            _signing_client(session, client, bucket),
            bucket=bucket,
            base_url=settings.archive_base_url,
            expires=settings.link_expires_seconds,
        ),
        notifier=_notifier(session, settings),
        options=Options(
            part_size=settings.part_size,
            parts_in_flight=settings.parts_in_flight,
            read_concurrency=settings.read_concurrency,
            copy_concurrency=settings.copy_concurrency,
        ),
        limits=Limits(settings.max_files, settings.max_archive_bytes, settings.allowed_source_buckets),
        source_bucket=settings.s3_source_bucket,
        file_prefix=settings.s3_file_prefix,
        rebuilds=settings.rebuilds,
        notify_failures=settings.notify_failures,
    )


@cache
def services() -> Services:
    """This process's services, opened at the first call: after the fork, where there is one."""
    return open_services(load_settings())


def _signing_client(session: boto3.session.Session, client: "S3Client", bucket: str) -> "S3Client":
    """What presigns links: for AWS with the region in the host, where boto3 would name S3's global endpoint.

    That one redirects to the region while a bucket is new, and a redirect's host is not the one that was signed. A
    bucket's dots don't fit S3's certificate, so such a bucket goes into the path.
    """
    if ".amazonaws.com" not in client.meta.endpoint_url:
        return client
    style = Config(s3={"addressing_style": "path" if "." in bucket else "virtual"})
    regional: S3Client = session.client("s3", config=Config(signature_version="s3v4").merge(style))
    return regional


def _notifier(session: boto3.session.Session, settings: Settings) -> Notifier | None:
    if settings.sqs_destination_queue is None:
        return None
    client: SQSClient = session.client(
        "sqs",
        config=Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
        ),
    )
    return Notifier(client, queue=settings.sqs_destination_queue)


def _lean_requests(
    session: boto3.session.Session, client: "S3Client", connections: int, throttle: Throttle
) -> LeanRequests | None:
    credentials = session.get_credentials()
    if credentials is None:
        return None
    http = URLLib3Session(
        # As botocore resolves it for its own clients.
        verify=session._session.get_config_variable("ca_bundle") or True,
        proxies=get_environ_proxies(client.meta.endpoint_url),
        timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),  # type: ignore[arg-type]  # a pair is fine, the stubs don't know
        max_pool_connections=connections,
    )
    return LeanRequests(client, credentials=credentials, session=http, throttle=throttle)


def _s3_config(connections: int, read_timeout: int) -> Config:
    return Config(
        signature_version="s3v4",
        max_pool_connections=connections,
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        tcp_keepalive=True,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        # The engine gives each part's CRC32 itself, and S3 checks it; a second hash for the signature adds nothing.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": False},
    )
