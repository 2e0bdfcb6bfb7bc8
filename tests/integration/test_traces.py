"""Traces of real workers, as a collector receives them: from a producer's span to the consumer's, in one piece."""

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from archiver.client import ArchiverClient
from devtools.localstack import LocalStack
from devtools.messages import receive
from devtools.stack import Stack
from tests.conftest import StackClient, StartWorker
from tests.support.collector import Collector, running_collector
from tests.support.log_lines import read_lines
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack

#: Longer than any test: what is exported then was flushed.
NEVER = "3600000"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


def exporting(collector: Collector, **more: str) -> dict[str, Any]:
    """Settings of a worker that exports to a collector, soon."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"} | more


def test_one_trace_from_the_producers_span_to_the_consumers(
    client: StackClient,
    start_worker: StartWorker,
    collector: Collector,
    sqs: "SQSClient",
    sns: Any,
    stack: Stack,
) -> None:
    # given a worker that exports, a topic with a subscriber, and a producer with a span of its own
    topic = sns.create_topic(Name=stack.names.output_queue)["TopicArn"]
    subscribed = sqs.create_queue(QueueName=f"{stack.names.output_queue}-topic")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=subscribed, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    worker = start_worker(**exporting(collector, SNS_DESTINATION_TOPIC=topic, OTEL_EXPORTER_OTLP_HEADERS="x-key=k"))
    client.put("a.txt", b"a" * 1_000)
    client.put("b.bin", b"b" * 6 * 1024 * 1024)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("producer")
    # when it asks for an archive
    with tracer.start_as_current_span("order") as order:
        request_id = ArchiverClient(stack.input_url, sqs=sqs).submit(
            ["a.txt", "b.bin"], compression="auto", correlation_id="c-1"
        )
    trace_id = f"{order.get_span_context().trace_id:032x}"
    notification = client.notification(request_id)
    # then queue and topic each hear of the span that sent to them, and a consumer goes on with the trace
    (published,) = receive(sqs, subscribed, count=1, seconds=LONG_ENOUGH)
    heard = {}
    for message in (notification, published):
        context = TraceContextTextMapPropagator().extract(message.attributes)
        with tracer.start_as_current_span("deliver", context=context) as delivered:
            assert f"{delivered.get_span_context().trace_id:032x}" == trace_id
            heard[f"{delivered.parent.span_id:016x}"] = message  # type: ignore[attr-defined]  # the SDK's span has it
    # and between them lies the job
    assert eventually(lambda: any(span.name == "job" for span in collector.spans(trace_id)))
    spans = collector.spans(trace_id)
    job = collector.named(trace_id, "job")
    assert job.parent_id == f"{order.get_span_context().span_id:016x}"
    assert (job.kind, job.status, job.service) == ("CONSUMER", "UNSET", "archiver")
    steps = {span.name: span for span in spans if span.parent_id == job.span_id}
    assert set(steps) == {"resolve", "deflate", "plan", "parts", "complete", "notify"}
    sends = [span for span in spans if span.parent_id == steps["notify"].span_id]
    assert {span.span_id for span in sends} == set(heard)
    assert {(span.kind, span.attributes["messaging.system"]) for span in sends} == {
        ("PRODUCER", "aws_sqs"),
        ("PRODUCER", "aws.sns"),
    }
    assert len(spans) == 1 + len(steps) + len(sends)
    # and it tells what the message and the attempt were
    told = job.attributes
    assert told["messaging.destination.name"] == stack.names.input_queue
    assert (told["messaging.message.id"], told["messaging.message.conversation_id"]) == (request_id, "c-1")
    assert (told["archiver.request_id"], told["archiver.attempt"]) == (request_id, 1)
    assert (told["archiver.outcome"], told["archiver.files"]) == ("succeeded", 2)
    assert told["archiver.bytes_read"] > 0
    # and the log has the ids, and the exporter the headers
    done = [line for line in read_lines(worker.output()) if line["message"] == "job done"]
    assert [(line["trace_id"], line["span_id"]) for line in done] == [(trace_id, job.span_id)]
    assert collector.headers[0]["x-key"] == "k"


def test_a_celery_call_goes_on_with_its_headers_and_a_failure_is_one(
    client: StackClient, start_worker: StartWorker, collector: Collector, localstack: LocalStack, stack: Stack
) -> None:
    # given a service that calls the task with a context in the headers, as instrumentations of Celery put it there
    start_worker(**exporting(collector, NOTIFY_FAILURES="1"))
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {"traceparent": f"00-{trace_id}-{span_id}-01"}
    url = localstack.environment["AWS_ENDPOINT_URL"].removeprefix("http://")
    app = Celery(broker=f"sqs://test:test@{url}//", set_as_current=False)
    app.conf.broker_transport_options = {
        "is_secure": False,
        "region": localstack.environment["AWS_DEFAULT_REGION"],
        "predefined_queues": {stack.names.input_queue: {"url": stack.input_url}},
    }
    # when its archive can't be built
    call = app.send_task(
        "archiver.build_archive",
        args=[{"files": [{"source": "gone.txt"}]}],
        queue=stack.names.input_queue,
        headers=headers,
    )
    notification = client.notification(call.id)
    # then the attempt's span says why, and the news of it belongs to the trace
    assert eventually(lambda: any(span.name == "job" for span in collector.spans(trace_id)))
    job = collector.named(trace_id, "job")
    assert (job.parent_id, job.status) == (span_id, "ERROR")
    assert (job.attributes["error.type"], job.attributes["archiver.outcome"]) == ("missing_sources", "failed")
    assert collector.named(trace_id, "resolve").attributes["error.type"] == "missing_sources"
    assert notification.attributes["traceparent"].startswith(f"00-{trace_id}-")
    # and the dead letter keeps what it came with
    (dead,) = client.dead_letters(1)
    assert '"error"' not in dead.body
    assert dead.attributes["Error-Code"] == "missing_sources"


def test_the_last_spans_are_sent_at_the_stop(
    client: StackClient, start_worker: StartWorker, collector: Collector
) -> None:
    # given a worker that would keep its spans for an hour
    worker = start_worker(**exporting(collector, OTEL_BSP_SCHEDULE_DELAY=NEVER))
    client.put("a.txt", b"a")
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    client.notification(client.send({"files": [{"source": "a.txt"}]}, traceparent=f"00-{trace_id}-b7ad6b7169203331-01"))
    assert worker.wait_for_log("job done")
    assert collector.spans(trace_id) == []
    # when it is stopped
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(LONG_ENOUGH) == 0
    # then they are there
    assert {span.name for span in collector.spans(trace_id)} >= {"job", "resolve", "plan", "parts", "complete"}


def test_a_collector_that_fails_costs_no_job(
    client: StackClient, start_worker: StartWorker, collector: Collector
) -> None:
    # given a collector that refuses, and a producer whose context is none
    collector.answer = 400
    worker = start_worker(**exporting(collector))
    client.put("a.txt", b"a")
    # when jobs come
    for _ in range(2):
        request_id = client.send({"files": [{"source": "a.txt"}]}, traceparent="00-forged\u00e9-01")
        assert client.notification(request_id).json["status"] == "succeeded"
    # then what is lost is told, in the form of all lines, and the worker stops as ever
    assert eventually(lambda: collector.refused > 0)
    assert worker.wait_for_log("Failed to export spans batch")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(LONG_ENOUGH) == 0
    lines = read_lines(worker.output())
    assert all(line["logger"].startswith("opentelemetry.") for line in lines if line["level"] == "error")


def test_a_collector_that_never_answers_keeps_no_worker_from_its_end(
    client: StackClient, start_worker: StartWorker, collector: Collector
) -> None:
    # given spans that a collector does not take
    collector.answer = None
    worker = start_worker(**exporting(collector))
    client.put("a.txt", b"a")
    client.notification(client.send({"files": [{"source": "a.txt"}]}))
    assert eventually(lambda: collector.refused > 0)
    # when the worker is stopped
    worker.send_signal(signal.SIGTERM)
    # then it says that they are lost, and ends as ever
    assert worker.wait(LONG_ENOUGH) == 0
    messages = [line["message"] for line in read_lines(worker.output())]
    assert "stopped" in messages
    assert "the last spans are lost: they could not be sent in time" in messages
