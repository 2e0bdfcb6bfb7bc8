"""Every setting, its default and its bounds; the sole reader of the environment.

A variable of the environment has a field's name in upper case. An empty one counts as unset. AWS's own
variables (``AWS_ENDPOINT_URL``, ``AWS_DEFAULT_REGION``, credentials, ...) are the SDK's and are not read here, but for
``AWS_REGION``, which it ignores.
"""

import re
from datetime import UTC, tzinfo
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from archiver.complaints import reason
from archiver.errors import SettingsError
from archiver.text import cut

MIB = 1024 * 1024
GIB = 1024 * MIB
#: Longest S3_FILE_PREFIX, in bytes of UTF-8: S3's keys have 1,024, of which 64 digits, a slash, the date, the number of
#: one archive of several and ``.zip`` take 84.
MAX_FILE_PREFIX_BYTES = 940
#: The forms of some settings, for programs and, in ``_FORMS``, for people.
HTTP = r"^https?://"
STATUS_FORM = r"^[A-Za-z0-9!_.*'()/-]{1,200}$"
CREW_FORM = r"^[A-Za-z0-9!_.*'()/-]{1,199}/$"
NAMESPACE_FORM = r"^[A-Za-z0-9._/#-]{1,255}$"
MONITORING_FORM = r"^[A-Za-z0-9_-]{1,20}$"
_FORMS = {
    HTTP: "must begin with http:// or https://",
    STATUS_FORM: "must be 1 to 200 of A-Z a-z 0-9 ! _ . * ' ( ) / -",
    CREW_FORM: "must be 1 to 199 of A-Z a-z 0-9 ! _ . * ' ( ) / - and a slash at the end",
    NAMESPACE_FORM: "must be 1 to 255 of A-Z a-z 0-9 . _ / # -",
    MONITORING_FORM: "must be 1 to 20 of A-Z a-z 0-9 _ -",
}
#: Longest quotation of a bad value in a complaint, in characters, and most complaints: a list may have thousands.
SHOWN_CHARACTERS = 200
SHOWN_COMPLAINTS = 10

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")
_QUEUE_URL = re.compile(r"https?://[^/\s]+/\S+")
# https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
_TOPIC_ARN = re.compile(r"arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, and what was allowed before 2018
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html
_ACCESS_POINT = re.compile(r"arn:aws[a-z-]*:s3:[a-z0-9-]+:\d{12}:accesspoint[/:][a-z0-9-]{3,50}")


def _queue(value: str) -> str:
    if value.startswith("arn:"):
        raise ValueError(f"an ARN; give the queue's URL or its name, {value.rpartition(':')[2]}")
    if "://" in value:
        value = value.rstrip("/")
    if not (_QUEUE_NAME.fullmatch(value) or _QUEUE_URL.fullmatch(value)):
        raise ValueError("neither the name of a queue nor its URL")
    return value


def _topic(value: str) -> str:
    if not _TOPIC_ARN.fullmatch(value):
        raise ValueError("no ARN of an SNS topic, such as arn:aws:sns:eu-central-1:123456789012:archives")
    return value


def _bucket(value: str) -> str:
    if not (_BUCKET.fullmatch(value) or _ACCESS_POINT.fullmatch(value)):
        raise ValueError("no name of a bucket: give the name alone, of an access point its alias or its ARN")
    return value


# What XML 1.0, in which S3 lists keys, does not hold; and what UTF-8 does not encode, as a variable may bring it.
_UNLISTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def _file_prefix(value: str) -> str:
    if "/" in value or _UNLISTABLE.search(value):
        raise ValueError("a file name has no slash and no control character")
    if len(value.encode()) > MAX_FILE_PREFIX_BYTES:
        raise ValueError(f"longer than {MAX_FILE_PREFIX_BYTES} bytes, so that no key of S3's has room for it")
    return value


def zone(name: str) -> tzinfo:
    """The zone of IANA's name; UTC is there on systems without a database of zones, too."""
    return UTC if name == "UTC" else ZoneInfo(name)


def _time_zone(value: str) -> str:
    try:
        zone(value)
        return value
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("no time zone of the IANA database, such as Europe/Berlin") from None


QueueNameOrUrl = Annotated[str, AfterValidator(_queue)]
TopicArn = Annotated[str, AfterValidator(_topic)]
BucketName = Annotated[str, AfterValidator(_bucket)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
FilePrefix = Annotated[str, AfterValidator(_file_prefix)]


class LivenessSettings(BaseSettings):
    """What the health check reads; it works whatever else is set."""

    # Of several models a process uses one, and each takes a while to be built.
    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, extra="ignore", defer_build=True)

    liveness_file: str = Field(
        "/tmp/archiver-alive",  # noqa: S108 the worker and its health check meet there
        description="touched by each poll and ack; the health check reads its age",
    )
    liveness_seconds: int = Field(
        120, ge=1, description="age of the last poll or ack beyond which the worker is unhealthy"
    )


class Settings(LivenessSettings):
    """The configuration of one process, read once at start."""

    # Where from, where to.
    sqs_source_queue: QueueNameOrUrl = Field(description="queue of the payloads, a name or a URL")
    sqs_destination_queue: QueueNameOrUrl | None = Field(
        None, description="queue of the downstream consumer, a name or a URL"
    )
    sns_destination_topic: TopicArn | None = Field(
        None, description="ARN of an SNS topic that every notification is published to as well"
    )
    s3_source_bucket: BucketName | None = Field(None, description="bucket of the sources that name none")
    s3_destination_bucket: BucketName = Field(description="bucket of the archives")
    s3_file_prefix: FilePrefix = Field("download", description="prefix of each archive's file name")
    timezone: TimeZone = Field(
        "UTC", description="zone of the entries' local times, which readers without time zones show; IANA's name"
    )
    archive_base_url: str | None = Field(
        None, description="base of the archives' links (a CloudFront distribution); unset: presigned URLs", pattern=HTTP
    )
    link_expires_seconds: int = Field(604_800, ge=1, le=604_800, description="life of a presigned link")
    requester_pays: bool = Field(False, description="1: this account pays for reading buckets whose requester pays")
    notify_failures: bool = Field(False, description="1: a permanent failure sends a notification, too")

    status_prefix: str | None = Field(
        None,
        description="prefix of status objects in S3_DESTINATION_BUCKET, such as status/; unset: none are written",
        pattern=STATUS_FORM,
    )

    # Where it runs. boto3 knows AWS_DEFAULT_REGION, but not the variable that ECS sets.
    aws_region: str | None = Field(None, description="region where neither AWS_DEFAULT_REGION nor a profile names one")

    ecs_agent_uri: str | None = Field(
        None, description="set by ECS itself: while jobs run the task is protected from scale-in", pattern=HTTP
    )

    # How it talks.
    app_debug: bool = Field(False, description="debug log level")
    dev_mode: bool = Field(False, description="short log lines for people instead of JSON")

    metrics: Literal["off", "emf"] = Field(
        "off", description="emf: a line for each attempt that CloudWatch Logs turns into metrics"
    )
    metrics_namespace: str = Field(
        "Archiver", description="CloudWatch namespace of the metrics", pattern=NAMESPACE_FORM
    )

    # OpenTelemetry's own; the SDK reads these and many more. Here they say whether there are traces at all.
    otel_traces_exporter: str | None = Field(
        None, description="exporters of traces, comma-separated: otlp, none, or another that is installed"
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        description="URL of an OpenTelemetry collector that takes OTLP over HTTP; set, each job is traced",
        pattern=HTTP,
    )
    otel_exporter_otlp_traces_endpoint: str | None = Field(
        None, description="the same for traces alone, with its path (/v1/traces)", pattern=HTTP
    )
    otel_exporter_otlp_protocol: str | None = Field(
        None, description="OTLP's protocol; only http/protobuf is there, and with another one there are no traces"
    )

    # The engine.
    part_size_mib: int = Field(
        8, ge=5, le=1024, description="size of a part that the worker uploads; grows with the archive"
    )
    memory_mib: int = Field(
        88,
        ge=16,
        le=65_536,
        description="memory for the bytes of one job; how many parts are in flight follows from it",
    )
    parts_in_flight: int | None = Field(
        None, ge=2, le=64, description="deprecated, MEMORY_MIB decides: parts held in memory at once by one job"
    )
    read_concurrency: int | None = Field(
        None, ge=1, le=256, description="deprecated: concurrent S3 reads of one job, 128 unless S3 slows them down"
    )
    worker_gib_dollars: float = Field(
        0.002,
        gt=0,
        le=1_000,
        allow_inf_nan=False,
        description="US dollars that a GiB through the worker is worth; where a copy inside S3 is cheaper, S3 copies",
    )
    copy_concurrency: int = Field(16, ge=1, le=256, description="concurrent copies inside S3 of one job")
    rebuilds: int = Field(3, ge=0, le=10, description="how often a build starts over because a source changed")

    # One archive, many workers.
    sqs_crew_queue: QueueNameOrUrl | None = Field(
        None, description="queue by which one job's worker invites the others, a name or a URL; unset: each works alone"
    )
    crew_min_bytes: int = Field(
        GIB, ge=MIB, description="bytes that a job has to read itself, from which on it invites others"
    )
    crew_prefix: str = Field(
        "archiver-crew/",
        description="prefix in S3_DESTINATION_BUCKET of what a job shares with others; no payload may name it",
        pattern=CREW_FORM,
    )

    # The queue.
    worker_concurrency: int = Field(2, ge=1, le=64, description="jobs that one worker runs at once, each in a process")
    visibility_timeout_seconds: int = Field(
        120, ge=3, le=43_200, description="how long a running job's message stays hidden; renewed at a third of it"
    )
    max_attempts: int = Field(
        5, ge=1, le=1_000, description="failed attempts after which a job goes to the dead letters; hand-backs are none"
    )
    backoff_base_seconds: int = Field(
        10, ge=0, le=43_200, description="hidden time after the first failed attempt; doubles"
    )
    backoff_cap_seconds: int = Field(900, ge=0, le=43_200, description="most that a failed message is hidden")
    soft_shutdown_seconds: int = Field(
        90, ge=1, le=7_200, description="what SIGTERM leaves running jobs before they are handed back"
    )
    poll_seconds: int = Field(20, ge=1, le=20, description="SQS long poll")

    # Limits against abuse.
    max_files: int = Field(1_000_000, ge=1, description="entries of one archive")
    max_archive_bytes: int = Field(5 * 1024 * GIB, ge=1, description="size of all sources of one archive")
    max_body_bytes: int = Field(MIB, ge=1, description="size of a message's body")
    payload_buckets: Annotated[tuple[BucketName, ...], NoDecode] = Field(
        (), description="comma-separated; buckets of payloads that messages point at, as the SQS Extended Client does"
    )
    max_payload_bytes: int = Field(64 * MIB, ge=1, description="size of a payload that a message points at")
    allowed_source_buckets: Annotated[tuple[BucketName, ...], NoDecode] = Field(
        (), description="comma-separated; empty: any bucket that the role can read, but for that of the archives"
    )

    allowed_destination_buckets: Annotated[tuple[BucketName, ...], NoDecode] = Field(
        (), description="comma-separated; buckets that a payload's archive.bucket may name beside S3_DESTINATION_BUCKET"
    )
    allowed_destination_prefixes: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma-separated; what a payload's archive.key and archive.prefix begin with; empty: anything"
    )

    # Monitoring (Flower, celery inspect) over SNS and SQS.
    monitoring: bool = Field(False, description="worker and task events and remote control over SNS and SQS")
    monitoring_prefix: str = Field(
        "archiver", description="prefix of the monitoring's topics and queues", pattern=MONITORING_FORM
    )

    @field_validator(
        "allowed_source_buckets",
        "allowed_destination_buckets",
        "allowed_destination_prefixes",
        "payload_buckets",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("sqs_crew_queue")
    @classmethod
    def _crew(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value.endswith(".fifo"):
            raise ValueError("a FIFO queue; what a job shares with others has no order")
        for setting in ("sqs_source_queue", "sqs_destination_queue"):
            other = str(info.data.get(setting))
            if value is not None and value.rpartition("/")[2] == other.rpartition("/")[2]:
                raise ValueError(f"has the name of {setting.upper()}; it is a queue of its own")
        return value

    @field_validator("crew_prefix")
    @classmethod
    def _apart(cls, value: str, info: ValidationInfo) -> str:
        status = info.data.get("status_prefix")
        if status and (status.startswith(value) or value.startswith(status)):
            raise ValueError(f"lies in STATUS_PREFIX, or that in it ({status!r}); what the crew leaves is swept")
        return value

    @property
    def part_size(self) -> int:
        """The least size of an uploaded part, in bytes."""
        return self.part_size_mib * MIB


class BucketSettings(Settings):
    """The settings of a command that works without the source queue."""

    sqs_source_queue: str = Field("", description="queue of the payloads, a name or a URL; not used")


class QueueSettings(Settings):
    """The settings of a command that works without the destination bucket."""

    s3_destination_bucket: str = Field("", description="bucket of the archives; not used")


class SourceSettings(BucketSettings):
    """The settings of a command that works without a queue and writes to no bucket."""

    s3_destination_bucket: str = Field("", description="bucket of the archives; not used")


Model = TypeVar("Model", bound=BaseSettings)


def load_settings() -> Settings:
    """Read the environment.

    Raises ``SettingsError`` with one line that names every variable that is missing or bad, the first ten of them.
    """
    return load(Settings)


def load(model: type[Model]) -> Model:
    """Read what one kind of settings needs of the environment. Raises as ``load_settings`` does."""
    try:
        return model()
    except ValidationError as error:
        complaints = [_complaint(dict(item)) for item in error.errors()]
        more = len(complaints) - SHOWN_COMPLAINTS
        if more > 0:
            complaints[SHOWN_COMPLAINTS:] = [f"and {more} more"]
        raise SettingsError("; ".join(complaints)) from None


def _complaint(item: dict[str, object]) -> str:
    location = item["loc"]
    name = str(location[0] if isinstance(location, tuple) and location else "settings").upper()
    if item["type"] == "missing":
        return f"{name} is not set"
    context = item.get("ctx")
    form = _FORMS.get(context.get("pattern", "")) if isinstance(context, dict) else None
    return f"{name}={cut(repr(item.get('input')), SHOWN_CHARACTERS)}: {form or reason(item)}"
