"""Monitoring never stands in the way of a job, and is not there at all unless it is wanted."""

from collections.abc import Iterator

import pytest

from devtools.faults import Answer, Delay, Fault, Request
from devtools.localstack import LocalStack
from devtools.processes import wait_until
from devtools.proxy import Proxy, running_proxy
from tests.conftest import StackClient, StartWorker
from tests.support.monitors import run

pytestmark = [pytest.mark.localstack, pytest.mark.acceptance]

UNAVAILABLE = Answer(503, "ServiceUnavailable")
HANGING = Delay(3_600_000)
#: What nothing here takes, however busy the machine is, in seconds.
PATIENCE = 60.0


class Sns:
    """A rule for the proxy: notes who is asked for what, and lets SNS fail."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.asked: set[tuple[str, str]] = set()  # service and operation

    def __call__(self, request: Request) -> Fault | None:
        # Credential=<key>/<day>/<region>/<service>/aws4_request; signed query strings are S3's.
        scope = request.headers.get("authorization", "").partition("Credential=")[2].split(",")[0].split("/")
        service = scope[3] if len(scope) > 3 else "s3"
        self.asked.add((service, request.operation))
        return self.fault if service == "sns" else None


@pytest.fixture
def sns_rule() -> Sns:
    return Sns()


@pytest.fixture
def proxy(localstack: LocalStack, sns_rule: Sns) -> Iterator[Proxy]:
    with running_proxy(localstack.url, faults=sns_rule) as running:
        yield running


def payload(client: StackClient) -> dict[str, object]:
    client.put("a.txt", b"text")
    return {"files": [{"source": "a.txt"}]}


@pytest.mark.parametrize("fault", [UNAVAILABLE, HANGING], ids=["refusing", "hanging"])
def test_jobs_go_on_while_sns_is_down(
    client: StackClient, start_worker: StartWorker, proxy: Proxy, sns_rule: Sns, fault: Fault
) -> None:
    # given a monitored worker
    worker = start_worker(endpoint=proxy.url, MONITORING="1", MONITORING_PREFIX="outage")
    client.notification(client.send(payload(client)), seconds=PATIENCE)
    assert wait_until(lambda: ("sns", "POST /") in sns_rule.asked, seconds=PATIENCE)

    # when SNS fails in the middle
    sns_rule.fault = fault
    archives = [client.send(payload(client)) for _ in range(4)]

    # then every archive is built, and each of the two processes says it once, not for each event
    for request_id in archives:
        assert client.notification(request_id, seconds=PATIENCE).json["status"] == "succeeded"
    assert worker.wait_for_log("monitoring can't send", seconds=PATIENCE)
    assert worker.output().count("monitoring can't send") <= 2
    assert "polling failed" not in worker.output()

    # and when it is back, so is monitoring
    sns_rule.fault = None
    assert worker.wait_for_log("monitoring sends again", seconds=PATIENCE)


def test_a_worker_starts_without_sns_and_stops_in_time(
    client: StackClient, start_worker: StartWorker, proxy: Proxy, sns_rule: Sns
) -> None:
    sns_rule.fault = HANGING

    worker = start_worker(endpoint=proxy.url, MONITORING="1", MONITORING_PREFIX="outage")

    assert client.notification(client.send(payload(client)), seconds=PATIENCE).json["status"] == "succeeded"
    assert worker.stop(patience=30) == 0


def test_a_command_says_so_where_sns_is_down(start_worker: StartWorker, proxy: Proxy, sns_rule: Sns) -> None:
    worker = start_worker(endpoint=proxy.url, MONITORING="1", MONITORING_PREFIX="outage")
    sns_rule.fault = UNAVAILABLE

    ping = run("celery", "-A", "archiver", "inspect", "ping", environment=worker.environment)

    assert ping.returncode != 0
    assert "monitoring needs SNS and SQS" in ping.stderr


def test_a_worker_without_monitoring_asks_for_none_of_it(
    client: StackClient, start_worker: StartWorker, proxy: Proxy, sns_rule: Sns
) -> None:
    # given a worker as it is by default
    worker = start_worker(endpoint=proxy.url)

    # when it works, fails and stops
    client.notification(client.send(payload(client)), seconds=PATIENCE)
    client.send({"files": [{"source": "missing"}]})
    assert len(client.dead_letters(1, seconds=PATIENCE)) == 1
    assert worker.stop(patience=30) == 0

    # then it has asked SNS for nothing, and SQS for no queue but those that it was told of
    assert {service for service, _ in sns_rule.asked} == {"s3", "sqs"}
    assert {operation for service, operation in sns_rule.asked if service == "sqs"} == {
        "ChangeMessageVisibility",  # of the job that failed
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ReceiveMessage",
        "SendMessage",
    }


def test_commands_say_in_one_line_that_monitoring_is_off(start_worker: StartWorker) -> None:
    worker = start_worker()
    line = "Error: monitoring is off: set MONITORING=1 here and for the workers\n"

    for command in ("inspect ping", "status", "control shutdown", "events --dump", "events", "flower --port=0"):
        ended = run("celery", "-A", "archiver", *command.split(), environment=worker.environment)
        assert (command, ended.returncode, ended.stdout, ended.stderr) == (command, 2, "", line)

    watch = run("archiver", "watch", "some-id", "--json", environment=worker.environment)
    assert watch.returncode == 2
    assert "neither MONITORING=1 nor STATUS_PREFIX is set" in watch.stdout
