"""The Celery tasks: what becomes of a message whose job succeeds, fails for good, or fails for now."""

import json
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from archiver import wiring
from archiver.archive import pipeline
from archiver.archive.location import Location
from archiver.archive.pointer import Payloads, pointer_to
from archiver.aws.dead_letters import NO_POLICY, DeadLetters
from archiver.aws.letters import Letter
from archiver.errors import (
    ArchiverError,
    AttemptsExhausted,
    Cancelled,
    InvalidPayload,
    MissingSources,
    QueueUnavailable,
    StorageUnavailable,
    TimeLimitExceeded,
    TransientError,
)
from archiver.settings import load_settings
from archiver.worker.attempts import LastAttemptFailed
from archiver.worker.envelope import LETTER_HEADER
from tasks import archive
from tests.support.disturbances import raising
from tests.support.fake_s3 import MIB, FakeS3
from tests.support.jobs import SOURCES, FakeNotifier, files, logged, noise, services
from tests.support.spans import PARENT, Spans, parent_id, span_id, told, trace_id

# Celery is pinned; what it will call task_acks_on_failure_or_timeout one day is no matter.
pytestmark = pytest.mark.filterwarnings(
    "ignore:\\s*The 'task_acks_on_failure_or_timeout' setting:PendingDeprecationWarning"
)

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/input-queue"
ARN = "arn:aws:sqs:eu-west-1:123456789012:input-queue-dlq"
POLICY = json.dumps({"deadLetterTargetArn": ARN, "maxReceiveCount": 50})
LETTER = Letter("m-1", URL, "handle", 3, 1_790_000_000.0, "the body", "c-1")


@dataclass
class Sqs:
    """The source queue and its dead letters."""

    policy: str | None = POLICY
    calls: list[str] = field(default_factory=list)
    letters: list[dict[str, Any]] = field(default_factory=list)
    hidden: threading.Event = field(default_factory=threading.Event)

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {"Attributes": {"RedrivePolicy": self.policy} if self.policy else {}}

    def send_message(self, **arguments: Any) -> dict[str, str]:
        self.calls.append("send")
        self.letters.append(arguments)
        return {"MessageId": "dead"}

    def delete_message(self, **arguments: Any) -> None:
        assert arguments == {"QueueUrl": URL, "ReceiptHandle": "handle"}
        self.calls.append("delete")

    def change_message_visibility(self, **arguments: Any) -> None:
        assert arguments == {"QueueUrl": URL, "ReceiptHandle": "handle", "VisibilityTimeout": 3}
        self.hidden.set()


@dataclass
class World:
    """A worker's process: S3, SQS and the consumer's queue."""

    s3: FakeS3 = field(default_factory=FakeS3)
    sqs: Sqs = field(default_factory=Sqs)
    notifier: FakeNotifier = field(default_factory=FakeNotifier)
    spans: Spans = field(default_factory=Spans)

    def run(self, task: Any, *arguments: Any, letter: Letter | None = LETTER, **request: Any) -> Any:
        """Call the task as the worker does, with the letter in the headers of its message."""
        headers = {LETTER_HEADER: letter.as_dict()} if letter else {}
        task.push_request(id="task-1", hostname="worker", task=task.name, **headers, **request)
        try:
            return task.run(*arguments)
        finally:
            task.pop_request()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    for name, value in {
        "SQS_SOURCE_QUEUE": URL,
        "S3_DESTINATION_BUCKET": "zip-storage",
        "VISIBILITY_TIMEOUT_SECONDS": "3",
        "AWS_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    letters = DeadLetters()
    made = services(world.s3, notifier=world.notifier, notify_failures=True, tracer=world.spans.tracer)
    monkeypatch.setattr(archive, "_settings", lambda: settings)
    monkeypatch.setattr(archive, "_dead_letters", lambda: letters)
    monkeypatch.setattr(archive, "_client", lambda url: {URL: world.sqs}[url])
    monkeypatch.setattr(wiring, "services", lambda: made)
    monkeypatch.setattr(wiring, "tracer", lambda: world.spans.tracer)
    world.s3.put_object(SOURCES, "a.txt", b"content")
    return world


@pytest.mark.parametrize("as_text", [True, False])
def test_a_job_that_succeeds_answers_its_summary_and_notifies(world: World, as_text: bool) -> None:
    payload = files("a.txt")
    with logged() as lines:
        summary = world.run(archive.build_archive, json.dumps(payload) if as_text else payload)
    assert summary["files"] == 1
    assert [body["request_id"] for body in world.notifier.sent] == ["task-1"]
    # the ack is the channel's
    assert world.sqs.calls == []
    # and each line of the job's has its ids
    assert {"job started", "job done"} <= {line["event"] for line in lines}
    for line in lines:
        ids = [line[name] for name in ("request_id", "sqs_message_id", "correlation_id", "attempt")]
        assert ids == ["task-1", "m-1", "c-1", 3]


def test_a_job_without_a_message_is_a_job_all_the_same(world: World) -> None:
    assert world.run(archive.build_archive, files("a.txt"), letter=None)["files"] == 1
    with pytest.raises(MissingSources):
        world.run(archive.build_archive, files("gone.txt"), letter=None)
    assert world.sqs.calls == []


def test_a_permanent_error_is_dead_lettered_with_its_reason_and_notified(world: World) -> None:
    with logged() as lines, pytest.raises(MissingSources):
        world.run(archive.build_archive, files("gone.txt"))
    assert world.sqs.calls == ["send", "delete"]
    (dead,) = world.sqs.letters
    assert (dead["QueueUrl"], dead["MessageBody"]) == (f"{URL}-dlq", "the body")
    assert dead["MessageAttributes"]["Error-Code"]["StringValue"] == "missing_sources"
    (told,) = world.notifier.sent
    assert (told["status"], told["error"]["code"]) == ("failed", "missing_sources")
    (failed,) = [line for line in lines if line["event"] == "job failed"]
    assert (failed["code"], failed["kind"], failed["log_level"]) == ("missing_sources", "permanent", "warning")
    assert "job done" not in {line["event"] for line in lines}


def test_the_message_stays_until_the_consumer_has_been_told(world: World) -> None:
    world.notifier.down = True
    with pytest.raises(QueueUnavailable):
        world.run(archive.build_archive, files("gone.txt"))
    assert world.sqs.calls == ["send"]

    # when it comes back, and the consumer's queue is there
    world.notifier.down = False
    with pytest.raises(MissingSources):
        world.run(archive.build_archive, files("gone.txt"), letter=replace(LETTER, receive_count=4))
    assert world.sqs.calls == ["send", "send", "delete"]
    assert [body["status"] for body in world.notifier.sent] == ["failed"]


def test_a_cancelled_jobs_message_stays_until_the_consumer_has_been_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(*_: Any, **__: Any) -> None:
        raise Cancelled("The job was cancelled while it ran")

    monkeypatch.setattr(pipeline, "build_archive", cancelled)
    world.notifier.down = True
    with pytest.raises(QueueUnavailable):
        world.run(archive.build_archive, files("a.txt"))
    assert world.sqs.calls == []


def test_a_last_attempt_that_can_not_be_told_comes_back_and_telling_ends_some_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise StorageUnavailable("S3 is away")

    world.notifier.down = True
    monkeypatch.setattr(pipeline, "build_archive", fail)
    with pytest.raises(StorageUnavailable):
        world.run(archive.build_archive, files("a.txt"), letter=replace(LETTER, receive_count=5))
    with pytest.raises(QueueUnavailable):
        world.run(archive.build_archive, files("a.txt"), letter=replace(LETTER, receive_count=6))
    assert world.sqs.calls == ["send", "send"]

    with pytest.raises(AttemptsExhausted):
        world.run(archive.build_archive, files("a.txt"), letter=replace(LETTER, receive_count=10))
    assert world.sqs.calls == ["send", "send", "send", "delete"]


def test_without_a_dead_letter_queue_the_message_stays_and_nobody_is_told(world: World) -> None:
    world.sqs.policy = None
    with logged() as lines, pytest.raises(MissingSources):
        world.run(archive.build_archive, files("gone.txt"))
    assert world.sqs.calls == []
    assert world.notifier.sent == []
    assert NO_POLICY in {line["event"] for line in lines}


def test_a_job_that_its_callers_soft_limit_ends_is_a_permanent_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any, **__: Any) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(pipeline, "build_archive", end)
    with pytest.raises(TimeLimitExceeded, match=r"soft_time_limit=60 \(seconds\)"):
        world.run(archive.build_archive, files("a.txt"), timelimit=[None, 60])
    assert world.sqs.calls == ["send", "delete"]
    assert [body["error"]["code"] for body in world.notifier.sent] == [TimeLimitExceeded.code]


def ended_after_success(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build succeeds and tells so; then the limit strikes, before the task has returned."""
    build = pipeline.build_archive

    def late(*arguments: Any, **named: Any) -> None:
        build(*arguments, **named)
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(pipeline, "build_archive", late)


def test_a_job_that_has_succeeded_when_its_soft_limit_strikes_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_after_success(world, monkeypatch)
    assert world.run(archive.build_archive, files("a.txt"), timelimit=[None, 60])["files"] == 1
    assert world.sqs.calls == []
    assert {body["status"] for body in world.notifier.sent} == {"succeeded"}


@pytest.mark.parametrize("moment", ["job started", "job done"])
def test_a_soft_limit_that_strikes_around_the_job_is_told_as_one(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    struck: list[str] = []

    def info(event: str, **_: Any) -> None:
        if event == moment and not struck:
            struck.append(event)
            raise SoftTimeLimitExceeded

    monkeypatch.setattr(archive, "log", SimpleNamespace(info=info, warning=info, error=info))
    if moment == "job done":
        assert world.run(archive.build_archive, files("a.txt"))["files"] == 1
        assert world.sqs.calls == []
    else:
        with pytest.raises(TimeLimitExceeded):
            world.run(archive.build_archive, files("a.txt"))
        assert world.sqs.calls == ["send", "delete"]
    assert {body["status"] for body in world.notifier.sent} == {"succeeded" if moment == "job done" else "failed"}


@pytest.mark.parametrize("code", ["time_limit_exceeded", "cancelled", "process_lost"])
def test_what_ends_a_job_after_its_success_does_not_undo_it(world: World, code: str) -> None:
    letter = replace(LETTER, body=json.dumps(files("a.txt")))
    # given a job that has told its success, and lost its process before the message was deleted
    world.run(archive.build_archive, letter.body, letter=letter)

    world.run(archive.refuse_message, code, "ended from outside", letter=letter)

    # then its message is left to the channel's ack, and the consumer hears of success alone
    assert world.sqs.calls == []
    assert [body["status"] for body in world.notifier.sent] == ["succeeded", "succeeded"]


def test_what_ends_a_job_before_its_archive_stands_is_its_end(world: World) -> None:
    letter = replace(LETTER, body=json.dumps(files("a.txt")))
    with pytest.raises(archive.Refused):
        world.run(archive.refuse_message, "time_limit_exceeded", "too long", letter=letter)
    assert world.sqs.calls == ["send", "delete"]
    assert [body["status"] for body in world.notifier.sent] == ["failed"]


@pytest.mark.parametrize(
    ("error", "raised", "kind"),
    [
        (StorageUnavailable("S3 is away"), StorageUnavailable, "transient"),
        (MemoryError(), TransientError, "transient"),
        (ZeroDivisionError("a bug"), ZeroDivisionError, "unexpected"),
    ],
)
def test_an_error_that_may_pass_leaves_the_message(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception], kind: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, "build_archive", fail)
    with logged() as lines, pytest.raises(raised):
        world.run(archive.build_archive, files("a.txt"))
    assert world.sqs.calls == []
    assert world.notifier.sent == []
    (failed,) = [line for line in lines if line["event"] == "job failed"]
    assert (failed["kind"], failed["log_level"]) == (kind, "error" if kind == "unexpected" else "warning")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (StorageUnavailable("S3 is away"), "storage_unavailable", "S3 is away (attempt 5, the last)"),
        (MemoryError(), "transient_error", "The job ran out of memory (attempt 5, the last)"),
        (ZeroDivisionError("a bug"), "unexpected_error", "ZeroDivisionError: a bug (attempt 5, the last)"),
    ],
)
def test_the_last_attempts_error_is_dead_lettered_and_told(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, message: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, "build_archive", fail)
    with pytest.raises(LastAttemptFailed, match="the last"):  # permanent: no monitor tells of a retry
        world.run(archive.build_archive, files("a.txt"), letter=replace(LETTER, receive_count=15, hand_backs=10))
    assert world.sqs.calls == ["send", "delete"]
    reason = {name: value["StringValue"] for name, value in world.sqs.letters[0]["MessageAttributes"].items()}
    assert (reason["Error-Code"], reason["Error-Message"], reason["Attempts"]) == (code, message, "5")
    assert [body["error"]["code"] for body in world.notifier.sent] == [code]


POINTER = pointer_to(Location("payloads", "p-1"))


@pytest.mark.parametrize("code", ["time_limit_exceeded", "cancelled", "process_lost", "message_expired"])
def test_what_ends_a_job_whose_payload_lies_in_s3_is_told_with_its_metadata(
    world: World, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    with_payloads(world, monkeypatch, lambda _: json.dumps(files("a.txt") | {"metadata": {"order": 7}}))
    with pytest.raises(archive.Refused):
        world.run(archive.refuse_message, code, "too long", letter=replace(LETTER, body=POINTER))
    assert [(body["error"]["code"], body["metadata"]) for body in world.notifier.sent] == [(code, {"order": 7})]


def test_a_soft_limit_around_a_job_whose_payload_lies_in_s3_is_told_with_its_metadata(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_payloads(world, monkeypatch, lambda _: json.dumps(files("a.txt") | {"metadata": {"order": 7}}))
    monkeypatch.setattr(archive, "_build", raising_any(SoftTimeLimitExceeded()))
    with pytest.raises(TimeLimitExceeded):
        world.run(archive.build_archive, POINTER)
    assert [body["metadata"] for body in world.notifier.sent] == [{"order": 7}]


def test_a_payload_that_is_gone_is_told_of_without(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: Location) -> str:
        raise InvalidPayload("the payload does not exist")

    with_payloads(world, monkeypatch, gone)
    with pytest.raises(archive.Refused):
        world.run(archive.refuse_message, "process_lost", "died", letter=replace(LETTER, body=POINTER))
    assert [body["metadata"] for body in world.notifier.sent] == [None]
    assert world.sqs.calls == ["send", "delete"]


def test_a_job_whose_payload_lies_in_s3_is_found_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with_payloads(world, monkeypatch, lambda _: json.dumps(files("a.txt")))
    world.run(archive.build_archive, POINTER)
    world.run(archive.refuse_message, "process_lost", "died", letter=replace(LETTER, body=POINTER))
    assert [body["status"] for body in world.notifier.sent] == ["succeeded", "succeeded"]


def with_payloads(world: World, monkeypatch: pytest.MonkeyPatch, fetch: Callable[[Location], str]) -> None:
    payloads = Payloads(("payloads",), fetch)
    made = services(world.s3, notifier=world.notifier, notify_failures=True, payloads=payloads)
    monkeypatch.setattr(wiring, "services", lambda: made)


@pytest.mark.parametrize("end", ["last failure", "exhausted", "process_lost", "time_limit_exceeded", "soft limit"])
@pytest.mark.parametrize("split", [False, True])
def test_a_job_that_is_given_up_leaves_no_upload(
    world: World, monkeypatch: pytest.MonkeyPatch, end: str, split: bool
) -> None:
    # given attempts that have left an upload, of several archives that of the second
    for number in range(2):
        world.s3.put_object(SOURCES, f"{number}.jpg", noise(11 * MIB, seed=number))
    payload = files("0.jpg", "1.jpg") | ({"split": {"max_files": 1}} if split else {})
    letter = replace(LETTER, receive_count=4, body=json.dumps(payload))
    world.s3.before("complete", raising(StorageUnavailable("S3 is away")), skip=int(split))
    with pytest.raises(StorageUnavailable):
        world.run(archive.build_archive, letter.body, letter=letter)
    assert len(world.s3.unfinished()) == 1
    assert world.sqs.calls == []

    # when none follows
    last = replace(letter, receive_count=5)
    if end == "soft limit":
        monkeypatch.setattr(pipeline, "build_archive", raising_any(SoftTimeLimitExceeded()))
    task, arguments = archive.build_archive, [letter.body]
    if end in ("process_lost", "time_limit_exceeded"):
        task, arguments = archive.refuse_message, [end, "ended from outside"]
    with pytest.raises(ArchiverError):
        world.run(task, *arguments, letter=replace(letter, receive_count=6) if end == "exhausted" else last)

    # then it is told, and nothing is left
    assert world.sqs.calls == ["send", "delete"]
    assert [body["status"] for body in world.notifier.sent] == ["failed"]
    assert world.s3.unfinished() == []


def test_an_upload_that_can_not_be_aborted_holds_nothing_up(world: World) -> None:
    world.s3.before("uploads_of", raising(StorageUnavailable("S3 is away")))
    with pytest.raises(AttemptsExhausted):
        world.run(archive.build_archive, files("a.txt"), letter=replace(LETTER, receive_count=6))
    assert world.sqs.calls == ["send", "delete"]


def raising_any(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def test_an_attempt_too_many_is_not_made_unless_nobody_knows(world: World) -> None:
    late = replace(LETTER, receive_count=6)
    with pytest.raises(AttemptsExhausted):
        world.run(archive.build_archive, files("a.txt"), letter=late)
    assert world.sqs.calls == ["send", "delete"]
    assert world.run(archive.build_archive, files("a.txt"), letter=replace(late, hand_backs=None))["files"] == 1
    # a finished archive is found whatever the attempt
    world.sqs.calls.clear()
    assert world.run(archive.build_archive, files("a.txt"), letter=late)["files"] == 1
    assert world.sqs.calls == []
    world.sqs.policy = None
    archive._dead_letters()._known.clear()
    world.s3.put_object(SOURCES, "b.txt", b"content")
    assert world.run(archive.build_archive, files("b.txt"), letter=late)["files"] == 1


def test_a_job_that_is_cancelled_leaves_no_dead_letter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(*_: Any, **__: Any) -> None:
        raise Cancelled("The job was cancelled while it ran")

    monkeypatch.setattr(pipeline, "build_archive", cancelled)
    with pytest.raises(Cancelled):
        world.run(archive.build_archive, files("a.txt"))
    assert world.sqs.calls == ["delete"]
    assert [body["status"] for body in world.notifier.sent] == ["cancelled"]


def test_the_message_is_kept_hidden_while_the_job_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    build = pipeline.build_archive

    def slowly(*arguments: Any, **named: Any) -> Any:
        assert world.sqs.hidden.wait(60)
        return build(*arguments, **named)

    monkeypatch.setattr(pipeline, "build_archive", slowly)
    assert world.run(archive.build_archive, files("a.txt"))["files"] == 1


def test_what_is_no_job_is_dead_lettered_with_the_decoders_reason(world: World) -> None:
    with pytest.raises(archive.Refused) as refused:
        world.run(archive.refuse_message, "unreadable_message", "no JSON")
    assert refused.value.code == "unreadable_message"
    assert world.sqs.calls == ["send", "delete"]
    reason = world.sqs.letters[0]["MessageAttributes"]
    assert reason["Error-Code"]["StringValue"] == "unreadable_message"
    assert reason["Error-Message"]["StringValue"] == "no JSON"


def test_a_refusal_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(archive.Refused("unknown_task", "os.system")))
    assert (error.code, error.message) == ("unknown_task", "os.system")


def test_monitoring_hears_of_progress_and_of_failures(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(archive, "_events", lambda _: lambda kind, **fields: events.append((kind, fields)))
    world.run(archive.build_archive, files("a.txt"))
    kinds = [(kind, fields["step"], fields["attempt"]) for kind, fields in events]
    assert kinds[0] == ("archive-progress", "resolved", 3)
    assert kinds[-1] == ("archive-progress", "completed", 3)
    events.clear()
    with pytest.raises(MissingSources):
        world.run(archive.build_archive, files("gone.txt"))
    assert events[-1] == (
        "archive-failed",
        {"attempt": 3, "code": "missing_sources", "reason": "1 missing source(s): gone.txt", "permanent": True},
    )


def test_an_attempt_is_a_span_below_its_senders_with_its_outcome(world: World) -> None:
    with logged() as lines:
        world.run(archive.build_archive, files("a.txt"), letter=replace(LETTER, trace=PARENT))
    job = world.spans.named("job")
    assert f"00-{trace_id(job)}-{parent_id(job)}-01" == PARENT["traceparent"]
    assert (told(job)["archiver.outcome"], told(job)["archiver.request_id"]) == ("succeeded", "task-1")
    assert told(job)["archiver.attempt"] == 3
    assert {parent_id(span) for span in world.spans.ended[:-1]} == {span_id(job)}
    # and the lines of the whole attempt have the trace
    assert {line["trace_id"] for line in lines} == {trace_id(job)}


@pytest.mark.parametrize(
    ("error", "attempt", "code", "outcome"),
    [
        (MissingSources(["x"]), 1, "missing_sources", "failed"),
        (StorageUnavailable("S3 is away"), 1, "storage_unavailable", "retried"),
        (StorageUnavailable("S3 is away"), 5, "storage_unavailable", "failed"),
        (ZeroDivisionError("a bug"), 1, "unexpected_error", "retried"),
        (Cancelled("enough"), 1, "cancelled", "cancelled"),
    ],
    ids=["permanent", "transient", "last", "unexpected", "cancelled"],
)
def test_a_failed_attempt_is_a_failed_span(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, attempt: int, code: str, outcome: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, "build_archive", fail)
    with pytest.raises(LastAttemptFailed if attempt == 5 else type(error)):
        world.run(archive.build_archive, files("a.txt"), letter=replace(LETTER, receive_count=attempt, trace=PARENT))
    job = world.spans.named("job")
    assert (told(job)["error.type"], told(job)["archiver.outcome"]) == (code, outcome)
    assert not job.status.is_ok
    # and what the consumer is told of it belongs to it
    for notify in (span for span in world.spans.ended if span.name == "notify"):
        assert parent_id(notify) == span_id(job)
    assert ("notify" in world.spans.names) == (outcome != "retried")
