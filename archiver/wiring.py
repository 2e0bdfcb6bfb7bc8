"""From settings to collaborators: the only place that knows them all."""

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.httpsession import where
from botocore.session import Session
from botocore.utils import get_environ_proxies

from archiver.archive.access import Access
from archiver.archive.build import Options
from archiver.archive.destination import Destinations
from archiver.archive.memory import settle
from archiver.archive.pipeline import Notifier, Services
from archiver.archive.plan import write_worth
from archiver.archive.pointer import Payloads
from archiver.archive.resolve import Limits
from archiver.archive.spans import UNTRACED, Tracer
from archiver.archive.traffic import count_request
from archiver.aws import checkpoints, hand_backs
from archiver.aws.clients import PATIENT, PROMPT, QUICK, new_client, new_session
from archiver.aws.endpoints import Endpoints
from archiver.aws.handles import HttpSettings
from archiver.aws.http import S3Http
from archiver.aws.links import Links
from archiver.aws.multipart import S3Uploads
from archiver.aws.objects import S3Objects
from archiver.aws.payload_reading import fetch_payload
from archiver.aws.throttle import Throttle
from archiver.aws.told import Told
from archiver.aws.transfers import Transfers
from archiver.settings import MIB, Settings, load_settings, zone
from archiver.trace_export import set_up_export
from archiver.tracing import open_tracer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from archiver.archive.crew import Crew
    from archiver.aws.board import StatusBoard

#: Requests of one job at once that read or look: what S3's latency of some 20 ms takes to keep a worker busy.
READS = 128
#: Threads that look at sources; reads need none.
THREADS = 32
#: Memory of a part of photos that goes out while it comes in, in MiB: there are as many parts in flight as memory lets.
STREAM_MIB = 3


def open_services(settings: Settings, *, board: "StatusBoard | None" = None, tracer: Tracer = UNTRACED) -> Services:
    """The clients and settings that jobs work with. Makes no request."""
    session = new_session(settings.aws_region)
    parts_in_flight = settings.parts_in_flight or min(64, max(2, settings.memory_mib // STREAM_MIB))
    reads = settings.read_concurrency or READS
    width = reads + settings.copy_concurrency + parts_in_flight
    client = _s3_client(session, connections=width)
    throttle = Throttle(width)
    throttle.watch(client)
    endpoints = Endpoints(client, lambda region, config: _presigning_client(session, region, config))
    payer = {"x-amz-request-payer": "requester"} if settings.requester_pays else {}
    _send_with(client, payer)
    client.meta.events.register("before-send.s3", _count)
    http = _http(session, client, endpoints, throttle, connections=width, common=payer)
    told = Told()
    bucket = settings.s3_destination_bucket
    reserved = (
        hand_backs.PREFIX,
        checkpoints.PREFIX,
        settings.crew_prefix,
        *filter(None, [settings.status_prefix]),
    )
    services = Services(
        sources=lambda traffic: S3Objects(client, http, traffic=traffic, throttle=throttle, told=told),
        archives=lambda bucket, traffic: S3Uploads(client, http, bucket=bucket, traffic=traffic, throttle=throttle),
        link=Links(
            endpoints.presigning_client,
            bucket=bucket,
            base_url=settings.archive_base_url,
            expires=settings.link_expires_seconds,
        ).url,
        notifier=_notifier(settings, board, tracer),
        options=Options(
            part_size=settings.part_size,
            parts_in_flight=parts_in_flight,
            memory=settings.memory_mib * MIB,
            read_concurrency=min(reads, THREADS),
            copy_concurrency=settings.copy_concurrency,
            write_worth=write_worth(settings.worker_gib_dollars),
            zone=zone(settings.timezone),
        ),
        limits=Limits(
            settings.max_files,
            settings.max_archive_bytes,
            Access(
                settings.allowed_source_buckets,
                sources=settings.s3_source_bucket,
                archives=bucket,
                destinations=settings.allowed_destination_buckets,
                reserved=reserved,
            ),
        ),
        destinations=Destinations(
            bucket,
            settings.allowed_destination_buckets,
            settings.allowed_destination_prefixes,
            settings.link_expires_seconds,
            reserved,
        ),
        source_bucket=settings.s3_source_bucket,
        file_prefix=settings.s3_file_prefix,
        rebuilds=settings.rebuilds,
        notify_failures=settings.notify_failures or board is not None,
        crew=_crew(settings, client, http),
        payloads=Payloads(settings.payload_buckets, partial(fetch_payload, client, most=settings.max_payload_bytes)),
        tracer=tracer,
        checkpoints=checkpoints.S3Checkpoints(client, bucket),
    )
    settle()  # not before: the clients stay as long as the process does, with all of botocore's descriptions
    return services


@cache
def services() -> Services:
    """This process's services, opened at the first call: after the fork, where there is one."""
    return open_services(load_settings(), board=status_board(), tracer=tracer())


@cache
def tracer() -> Tracer:
    """This process's tracer; its export is set up at the first call: after the fork, where there is one."""
    set_up_export(load_settings())
    return open_tracer()


@cache
def status_board() -> "StatusBoard | None":
    """This process's board for the status of its job; None where no status is kept."""
    settings = load_settings()
    if settings.status_prefix is None:
        return None
    from archiver.aws.board import StatusBoard
    from archiver.aws.status import StatusObjects

    client = new_client("s3", timeouts=QUICK, region=settings.aws_region)
    return StatusBoard(StatusObjects(client, settings.s3_destination_bucket, settings.status_prefix))


def _crew(settings: Settings, client: "S3Client", http: S3Http) -> "Crew | None":
    if settings.sqs_crew_queue is None:
        return None
    from archiver.archive.crew import Crew
    from archiver.aws.crew import InvitationQueue, SharedObjects
    from archiver.aws.queues import open_queue

    queue = open_queue(settings.sqs_crew_queue, timeouts=PROMPT, region=settings.aws_region, setting="SQS_CREW_QUEUE")
    objects = SharedObjects(client, http, bucket=settings.s3_destination_bucket, prefix=settings.crew_prefix)
    return Crew(objects, InvitationQueue(queue), min_weight=settings.crew_min_bytes)


def _notifier(settings: Settings, board: "StatusBoard | None", tracer: Tracer) -> Notifier | None:
    if not (settings.sqs_destination_queue or settings.sns_destination_topic or board):
        return None
    # Not every program notifies, and their models take a while to be built.
    from archiver.aws.notify import QueueNotifier, SuccessesOnly
    from archiver.aws.queues import open_queue
    from archiver.aws.topics import Notifiers, TopicNotifier, topic_region

    notifiers: list[Notifier] = []
    if queue := settings.sqs_destination_queue:
        notifiers.append(
            QueueNotifier(
                open_queue(queue, timeouts=PATIENT, region=settings.aws_region, setting="SQS_DESTINATION_QUEUE"),
                tracer=tracer,
            )
        )
    if topic := settings.sns_destination_topic:
        client = new_client("sns", timeouts=PATIENT, in_region=topic_region(topic))
        notifiers.append(TopicNotifier(client, topic, tracer=tracer))
    if board is not None:
        if not settings.notify_failures:
            notifiers = [SuccessesOnly(notifier) for notifier in notifiers]
        notifiers.append(board)
    return Notifiers(notifiers) if len(notifiers) > 1 else notifiers[0]


def _http(
    session: Session,
    client: "S3Client",
    endpoints: Endpoints,
    throttle: Throttle,
    *,
    connections: int,
    common: dict[str, str],
) -> S3Http:
    settings = HttpSettings(
        connect_seconds=PATIENT.connect,
        silent_seconds=PATIENT.read,
        # As botocore resolves it for its own clients.
        certificates=session.get_config_variable("ca_bundle") or where(),
        proxies=get_environ_proxies(client.meta.endpoint_url),
        connections=connections,
    )
    return S3Http(
        Transfers(settings, throttle=throttle), endpoints=endpoints, credentials=session.get_credentials, common=common
    )


def _count(**_: Any) -> None:
    """What botocore calls before each attempt at a request; an answer would be taken for S3's."""
    count_request()


def _send_with(client: "S3Client", headers: dict[str, str]) -> None:
    """Have a client send headers with each request, and sign them."""

    def add(params: dict[str, Any], **_: Any) -> None:
        params["headers"].update(headers)

    client.meta.events.register("before-call.s3", add)


def _presigning_client(session: Session, region: str | None, config: Config) -> "S3Client":
    client: S3Client = new_client("s3", timeouts=PATIENT, session=session, in_region=region, config=config)
    return client


def _s3_client(session: Session, *, connections: int) -> "S3Client":
    config = Config(
        max_pool_connections=connections,
        tcp_keepalive=True,
        # The engine gives each part's CRC32 itself, and S3 checks it; a second hash for the signature adds nothing.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": False},
    )
    client: S3Client = new_client("s3", timeouts=PATIENT, session=session, config=config)
    return client
