"""What ``archiver doctor`` looks at on the crew's queue.

It has to be there, since a setting names it. What else is wrong with it costs time and no archive: a warning.
"""

from collections.abc import Iterator, Mapping

from botocore.exceptions import ClientError

from archiver.aws.clients import BRIEF
from archiver.aws.failures import refused_by
from archiver.aws.queues import Queue, dead_letter_url, open_queue
from archiver.cli.check import Check
from archiver.errors import QueueUnavailable
from archiver.settings import Settings

#: How long the queue is to keep a chunk, in seconds: longer than workers are busy with jobs, and not much longer than
#: the job that the chunk is of. What is told to set is the template's four hours.
LEAST_KEPT = 900
MOST_KEPT = 86_400
KEPT = 14_400


def crew_queue(settings: Settings) -> Iterator[Check]:
    """The queue of SQS_CREW_QUEUE; no line where that is unset. Raises ``QueueUnavailable`` where there is none."""
    if settings.sqs_crew_queue is None:
        return
    queue = _open(settings.sqs_crew_queue, settings, "SQS_CREW_QUEUE")
    source = _open(settings.sqs_source_queue, settings, "SQS_SOURCE_QUEUE")
    url = queue.url
    try:
        found = queue.attributes(["All"])
    except QueueUnavailable as error:
        if "AccessDenied" not in str(error):
            raise
        # Sending, receiving and deleting is all that a worker does there.
        yield Check("crew queue", "ok", f"{url} exists; its attributes are not ours to read")
        return
    yield receiving(queue, found, source)
    yield dead_letters(queue, found)
    yield timing(queue, found, settings)
    try:
        payloads = source.attributes(["All"])
    except QueueUnavailable:
        return  # the source queue's own line says so
    yield encryption(queue, found, payloads)


def receiving(queue: Queue, found: Mapping[str, str], source: Queue) -> Check:
    """Whether chunks come, where none wait: one that does would be received once more for nothing."""
    waiting, running = found["ApproximateNumberOfMessages"], found["ApproximateNumberOfMessagesNotVisible"]
    detail = f"{queue.name}: {waiting} chunks waiting, {running} in work"
    if int(waiting):
        return Check("crew queue", "ok", detail)
    try:
        queue.client.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=1, VisibilityTimeout=0, WaitTimeSeconds=0)
    except ClientError as error:
        if not _is_denied(error):
            raise
        if not _is_a_workers(source):
            return Check("crew queue", "ok", f"{detail}; whether a worker may receive shows only its own role")
        mend = (
            f"allow sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility on {queue.name} in the "
            "worker's role"
        )
        return Check("crew queue", "warning", f"{detail}; chunks can't be received, so nobody helps", mend)
    return Check("crew queue", "ok", detail)


def dead_letters(queue: Queue, found: Mapping[str, str]) -> Check:
    """A chunk that nobody brings is built by its job's own worker: as a dead letter it would only raise alarms."""
    dead = dead_letter_url(queue.url, found.get("RedrivePolicy"))
    if dead is None:
        return Check(
            "crew dead letters", "ok", "none, as it should be: a chunk that nobody builds its job builds itself"
        )
    name = dead.rpartition("/")[2]
    mend = f"aws sqs set-queue-attributes --queue-url {queue.url} --attributes RedrivePolicy="
    return Check("crew dead letters", "warning", f"{name} fills with chunks of jobs that have long ended", mend)


def timing(queue: Queue, found: Mapping[str, str], settings: Settings) -> Check:
    """How long a chunk is kept, hidden and held back."""
    kept, delay = int(found["MessageRetentionPeriod"]), int(found.get("DelaySeconds", 0))
    hidden = settings.visibility_timeout_seconds
    change = f"aws sqs set-queue-attributes --queue-url {queue.url} --attributes"
    if kept < max(LEAST_KEPT, hidden):
        detail = f"chunks are kept for {kept} s: they expire before a worker has a slot for them"
        return Check("crew retention", "warning", detail, f"{change} MessageRetentionPeriod={max(KEPT, hidden)}")
    if kept > MOST_KEPT:
        detail = f"chunks are kept for {kept} s: where no worker runs they count as backlog long after their jobs"
        return Check("crew retention", "warning", detail, f"{change} MessageRetentionPeriod={KEPT}")
    if delay:
        detail = f"each chunk is held back for {delay} s, in which its job builds it itself"
        return Check("crew retention", "warning", detail, f"{change} DelaySeconds=0")
    return Check("crew retention", "ok", f"chunks are kept for {kept} s, and hidden for {hidden} s while in work")


def encryption(queue: Queue, found: Mapping[str, str], payloads: Mapping[str, str]) -> Check:
    """Chunks name objects as payloads do, and are to be encrypted as those are."""
    ours, theirs = found.get("KmsMasterKeyId"), payloads.get("KmsMasterKeyId")
    change = f"aws sqs set-queue-attributes --queue-url {queue.url} --attributes"
    if theirs and not ours:
        detail = f"not under {theirs}, which the payloads are encrypted with"
        return Check("crew encryption", "warning", detail, f"{change} KmsMasterKeyId={theirs}")
    if not ours and _by_sqs(payloads) and not _by_sqs(found):
        return Check(
            "crew encryption", "warning", "none, unlike that of payloads", f"{change} SqsManagedSseEnabled=true"
        )
    if ours and ours != theirs:
        return Check("crew encryption", "ok", f"{ours}; the role needs kms:GenerateDataKey and kms:Decrypt on it")
    return Check("crew encryption", "ok", "as that of payloads")


def _open(name: str, settings: Settings, setting: str) -> Queue:
    return open_queue(name, timeouts=BRIEF, region=settings.aws_region, setting=setting)


def _is_a_workers(source: Queue) -> bool:
    """Whether these credentials may do on the source queue what a worker does, and an operator does not."""
    try:
        source.client.change_message_visibility(QueueUrl=source.url, ReceiptHandle="doctor", VisibilityTimeout=0)
    except ClientError as error:
        return not _is_denied(error)
    return True


def _is_denied(error: ClientError) -> bool:
    return refused_by(error).is_denial


def _by_sqs(found: Mapping[str, str]) -> bool:
    return found.get("SqsManagedSseEnabled") == "true"
