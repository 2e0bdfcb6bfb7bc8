"""What ``archiver doctor`` looks at: one check after the other, each with its verdict and how to mend it."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from archiver.archive.key import archive_key
from archiver.aws.clients import BRIEF, new_client
from archiver.aws.failures import refused_by
from archiver.aws.queues import MAX_MESSAGE_BYTES, Queue, dead_letter_url, open_queue
from archiver.aws.topics import topic_region
from archiver.cli.check import Check
from archiver.cli.crew_checks import crew_queue
from archiver.cli.session import brief_client
from archiver.errors import ArchiverError, QueueUnavailable
from archiver.settings import Settings

#: A pause of a third of it (a long GC, a slow network) loses the message to another worker.
SHORT_VISIBILITY_SECONDS = 30
#: What the queue's maxReceiveCount is to leave for hand-backs, as a multiple of MAX_ATTEMPTS.
RECEIVES_PER_ATTEMPT = 4


def check_everything(settings: Settings) -> Iterator[Check]:
    """Every check in turn. Writes nothing but a multipart upload that it aborts at once."""
    yield Check("settings", "ok", f"{len(settings.model_fields_set)} set, the rest have their defaults")
    yield from _guarded("credentials", lambda: _credentials(settings), settings)
    yield from _guarded("source queue", lambda: _source_queue(settings), settings)
    yield from _guarded("destination queue", lambda: _destination_queue(settings), settings)
    yield from _guarded("crew queue", lambda: crew_queue(settings), settings)
    yield from _guarded("destination topic", lambda: _destination_topic(settings), settings)
    s3 = brief_client("s3", settings)
    yield from _guarded("source bucket", lambda: _source_bucket(s3, settings.s3_source_bucket), settings)
    yield from _guarded("destination bucket", lambda: _destination_bucket(s3, settings), settings)
    yield from _guarded("unfinished uploads", lambda: _unfinished(s3, settings), settings)
    yield lifecycle(s3, settings.s3_destination_bucket)
    yield _links(settings)


def _guarded(name: str, check: Callable[[], Iterator[Check]], settings: Settings) -> Iterator[Check]:
    """The check's own verdicts; what AWS refuses on the way is one, too, and ends the check."""
    try:
        yield from check()
    except ClientError as error:
        mend = (
            f"allow {error.operation_name} in the role's policy"
            if _is_denied(error)
            else "create it, or mend the setting"
        )
        yield Check(name, "wrong", f"{_target(name, settings)}: {error}", mend)
    except ArchiverError as error:
        yield Check(name, "wrong", error.message, "create it, mend the setting, or allow the role to see it")
    except (BotoCoreError, ValueError) as error:
        yield Check(
            name, "wrong", str(error), "set AWS_DEFAULT_REGION, credentials and AWS_ENDPOINT_URL, check network"
        )


def _target(name: str, settings: Settings) -> str:
    setting = {
        "destination topic": "sns_destination_topic",
        "source bucket": "s3_source_bucket",
        "destination bucket": "s3_destination_bucket",
        "unfinished uploads": "s3_destination_bucket",
    }.get(name)
    return f"{setting.upper()}={getattr(settings, setting)!r}" if setting else name


def _credentials(settings: Settings) -> Iterator[Check]:
    client = brief_client("sts", settings)
    try:
        identity = client.get_caller_identity()
    except BotoCoreError as error:
        mend = "give the role or the environment credentials, and the network a way to STS"
        yield Check("credentials", "wrong", str(error), mend)
    else:
        yield Check("credentials", "ok", f"{identity['Arn']}, region {client.meta.region_name}")


def _source_queue(settings: Settings) -> Iterator[Check]:
    queue = open_queue(
        settings.sqs_source_queue, timeouts=BRIEF, region=settings.aws_region, setting="SQS_SOURCE_QUEUE"
    )
    found = queue.attributes(["All"])
    waiting, running = found["ApproximateNumberOfMessages"], found["ApproximateNumberOfMessagesNotVisible"]
    yield Check("source queue", "ok", f"{queue.name}: {waiting} waiting, {running} in flight")
    yield from _guarded("redrive policy", lambda: redrive(queue, found, settings.max_attempts), settings)
    yield _visibility(settings)


def redrive(queue: Queue, found: dict[str, str], max_attempts: int) -> Iterator[Check]:
    """Where messages that fail go, and whether they get there; ``found`` has the queue's attributes."""
    text = found.get("RedrivePolicy")
    dead_url = dead_letter_url(queue.url, text)
    if text is None or dead_url is None:
        mend = f"aws sqs set-queue-attributes --queue-url {queue.url} --attributes RedrivePolicy=…"
        yield Check("redrive policy", "wrong", "none: bad messages stay on the queue until they expire", mend)
        return
    dead = Queue(queue.client, dead_url)
    letters = dead.attributes(["All"])
    receives = int(json.loads(text)["maxReceiveCount"])
    detail = f"{dead.name} after {receives} receives: {letters['ApproximateNumberOfMessages']} dead letters"
    least = RECEIVES_PER_ATTEMPT * max_attempts
    if receives < least:
        mend = (
            f"raise maxReceiveCount to {least} or more: MAX_ATTEMPTS={max_attempts} counts the failures, and each stop "
            "of a worker is one more receive"
        )
        yield Check("redrive policy", "warning", detail, mend)
    elif int(letters["MessageRetentionPeriod"]) < int(found["MessageRetentionPeriod"]):
        mend = f"raise {dead.name}'s MessageRetentionPeriod: a dead letter's age counts from when it was first sent"
        yield Check("redrive policy", "warning", f"{detail}; it keeps them shorter than the source queue", mend)
    elif (room := int(letters.get("MaximumMessageSize", MAX_MESSAGE_BYTES))) < (
        needed := int(found.get("MaximumMessageSize", MAX_MESSAGE_BYTES))
    ):
        mend = f"raise {dead.name}'s MaximumMessageSize to the source queue's {needed}: larger ones stay where they are"
        yield Check("redrive policy", "warning", f"{detail}; it takes {room} bytes a message", mend)
    else:
        yield Check("redrive policy", "ok", detail)


def _visibility(settings: Settings) -> Check:
    seconds = settings.visibility_timeout_seconds
    detail = f"{seconds} s, renewed every {seconds / 3:.0f} s while a job runs; overrides the queue's own"
    if seconds < SHORT_VISIBILITY_SECONDS:
        mend = f"raise VISIBILITY_TIMEOUT_SECONDS to {SHORT_VISIBILITY_SECONDS} or more: a short pause runs a job twice"
        return Check("visibility timeout", "warning", detail, mend)
    return Check("visibility timeout", "ok", detail)


def _destination_queue(settings: Settings) -> Iterator[Check]:
    queue = settings.sqs_destination_queue
    if queue is None and settings.sns_destination_topic:
        yield Check("destination queue", "ok", "none: the topic alone is told")
        return
    if queue is None:
        mend = "set SQS_DESTINATION_QUEUE, if a consumer waits for archives"
        yield Check("destination queue", "warning", "none: nobody is notified", mend)
        return
    destination = open_queue(queue, timeouts=BRIEF, region=settings.aws_region, setting="SQS_DESTINATION_QUEUE")
    url = destination.url
    try:
        known = destination.attributes(["ApproximateNumberOfMessages", "MaximumMessageSize"])
    except QueueUnavailable as error:
        if "AccessDenied" not in str(error):
            raise
        # The worker only sends; it needs no right to read.
        yield Check("destination queue", "ok", f"{url} exists; its attributes are not ours to read")
        return
    detail = f"{destination.name}: {known['ApproximateNumberOfMessages']} waiting"
    largest = int(known.get("MaximumMessageSize", MAX_MESSAGE_BYTES))
    if largest < MAX_MESSAGE_BYTES:
        # Queues from before SQS took 1 MiB may have kept a smaller limit.
        mend = f"raise MaximumMessageSize to {MAX_MESSAGE_BYTES}: a notification may be as large as a message can be"
        yield Check("destination queue", "warning", f"{detail}; takes {largest} bytes a message", mend)
    else:
        yield Check("destination queue", "ok", detail)


def _destination_topic(settings: Settings) -> Iterator[Check]:
    topic = settings.sns_destination_topic
    if topic is None:
        return
    client = new_client("sns", timeouts=BRIEF, in_region=topic_region(topic))
    try:
        found = client.get_topic_attributes(TopicArn=topic)["Attributes"]
    except ClientError as error:
        if not _is_denied(error):
            raise
        # The worker only publishes; it needs no right to look.
        yield Check("destination topic", "ok", f"{topic}: its attributes are not ours to read")
        return
    subscribed = int(found.get("SubscriptionsConfirmed", 0))
    if subscribed:
        yield Check("destination topic", "ok", f"{topic}: {subscribed} subscription(s)")
    else:
        mend = "subscribe somebody, and confirm the subscription"
        yield Check("destination topic", "warning", f"{topic}: nobody has subscribed", mend)


def _source_bucket(client: Any, bucket: str | None) -> Iterator[Check]:
    if bucket is None:
        yield Check("source bucket", "ok", "none set: every source must be s3://bucket/key")
        return
    try:
        client.list_objects_v2(Bucket=bucket, MaxKeys=1)
    except ClientError as error:
        if not _is_denied(error):
            raise
        mend = f"allow s3:ListBucket on {bucket}: prefixes need it, and without it a missing object looks denied"
        yield Check("source bucket", "warning", f"{bucket}: can't be listed", mend)
    else:
        yield Check("source bucket", "ok", f"{bucket} can be listed")


def _destination_bucket(client: Any, settings: Settings) -> Iterator[Check]:
    bucket = settings.s3_destination_bucket
    key = _key(settings)
    created = client.create_multipart_upload(
        Bucket=bucket, Key=key, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
    )
    client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=created["UploadId"])
    detail = f"{bucket}: an upload was begun and aborted"
    try:
        client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if _is_denied(error):
            mend = f"allow s3:ListBucket and s3:GetObject on {bucket}: a redelivered job then finds its archive"
            yield Check("destination bucket", "warning", f"{detail}; archives can't be looked at", mend)
            return
    yield Check("destination bucket", "ok", detail)


def _unfinished(client: Any, settings: Settings) -> Iterator[Check]:
    bucket = settings.s3_destination_bucket
    try:
        answer = client.list_multipart_uploads(Bucket=bucket, MaxUploads=1000)
    except ClientError as error:
        if not _is_denied(error):
            raise
        yield _not_resumed(bucket, "uploads", "s3:ListBucketMultipartUploads")
        return
    try:
        client.list_parts(Bucket=bucket, Key=_key(settings), UploadId="doctor")
    except ClientError as error:
        # The right answer is that there is no such upload.
        if _is_denied(error):
            yield _not_resumed(bucket, "parts", "s3:ListMultipartUploadParts")
            return
    more = " or more" if answer.get("IsTruncated") else ""
    yield Check("unfinished uploads", "ok", f"{len(answer.get('Uploads', ()))}{more} in {bucket}")


def _not_resumed(bucket: str, what: str, right: str) -> Check:
    mend = f"allow {right} on {bucket}: a killed job then goes on where it was"
    return Check("unfinished uploads", "warning", f"{what} can't be listed: a killed job starts over", mend)


def _is_denied(error: ClientError) -> bool:
    return refused_by(error).status == 403


def _key(settings: Settings) -> str:
    """Of the form of an archive's key, so that a policy for those covers it, and `archiver sweep` a failed abort."""
    return archive_key("", request_id="doctor", sent_at=time.time(), prefix=settings.s3_file_prefix)


def lifecycle(client: Any, bucket: str) -> Check:
    """Whether a rule of the bucket aborts every unfinished upload after days."""
    mend = f"add a lifecycle rule with AbortIncompleteMultipartUpload to {bucket}, or run `archiver sweep` now and then"
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            return Check("lifecycle rule", "warning", f"can't be read: {error}", mend)
        rules = []
    except BotoCoreError as error:
        return Check("lifecycle rule", "warning", f"can't be read: {error}", mend)
    days = [
        rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
        for rule in rules
        if rule["Status"] == "Enabled" and "AbortIncompleteMultipartUpload" in rule and _for_all(rule)
    ]
    if days:
        return Check("lifecycle rule", "ok", f"unfinished uploads go after {min(days)} day(s)")
    return Check("lifecycle rule", "warning", "none: parts of uploads that nobody finishes cost storage for ever", mend)


def _for_all(rule: Any) -> bool:
    filtered = rule.get("Filter") or {}
    return not rule.get("Prefix") and (not filtered or filtered == {"Prefix": ""})


def _links(settings: Settings) -> Check:
    if settings.archive_base_url:
        return Check("links", "ok", f"below {settings.archive_base_url}")
    mend = "set ARCHIVE_BASE_URL where links must outlive the role's session, or let consumers use bucket and key"
    return Check("links", "warning", "presigned: they end with the worker's credentials", mend)
