"""What killed processes leave is found and deleted; what is in use, and what is not ours, stays."""

import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from archiver.monitoring.naming import Names, inbox_policy, queue_arn
from archiver.monitoring.sweep import sweep_inboxes
from devtools.localstack import LocalStack
from devtools.processes import wait_until
from tests.conftest import StartWorker
from tests.support.monitors import run, running

pytestmark = [pytest.mark.localstack]

#: What nothing here takes, however busy the machine is, in seconds.
PATIENCE = 60.0


class Leftovers:
    """Inboxes made by hand, as their owners leave them."""

    def __init__(self, localstack: LocalStack) -> None:
        self.sqs, self.sns = localstack.client("sqs"), localstack.client("sns")
        self.names = Names(f"s-{uuid.uuid4().hex[:8]}")

    def make(self, *, seen: float, queue: bool = True) -> str:
        """An inbox, subscribed to both topics, whose owner was seen at ``seen``; ``queue=False`` lost its queue."""
        name = self.names.inbox(host="elsewhere", pid=1, token=uuid.uuid4().hex[:12])
        topics = [self.sns.create_topic(Name=topic)["TopicArn"] for topic in self.names.topics]
        url = self.sqs.create_queue(QueueName=name, Attributes={"Policy": inbox_policy(topics, attended_at=seen)})
        for topic in topics:
            self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn(topic, name))
        if not queue:
            self.sqs.delete_queue(QueueUrl=url["QueueUrl"])
        return name

    def queues(self) -> set[str]:
        urls = self.sqs.list_queues(QueueNamePrefix=self.names.prefix).get("QueueUrls", [])
        return {url.rsplit("/", 1)[-1] for url in urls}

    def subscribers(self) -> set[str]:
        found = set()
        for topic in self.names.topics:
            arn = self.sns.create_topic(Name=topic)["TopicArn"]
            answer = self.sns.list_subscriptions_by_topic(TopicArn=arn)
            found |= {item["Endpoint"].rsplit(":", 1)[-1] for item in answer["Subscriptions"]}
        return found

    def sweep(self, **options: Any) -> Any:
        options = {"unattended_seconds": 900, "now": time.time()} | options
        return sweep_inboxes(self.sns, self.sqs, names=self.names, **options)


@pytest.fixture
def leftovers(localstack: LocalStack) -> Leftovers:
    return Leftovers(localstack)


def test_only_what_nobody_attends_to_is_deleted(leftovers: Leftovers) -> None:
    # given an inbox whose owner is long gone, one without its queue, one in use, and a queue with a similar name
    now = time.time()
    dead = leftovers.make(seen=now - 1_000)
    torn = leftovers.make(seen=now, queue=False)
    live = leftovers.make(seen=now - 300)
    similar = f"{leftovers.names.inbox_prefix}photos"
    leftovers.sqs.create_queue(QueueName=similar)

    # when a rehearsal, and then the sweep itself
    rehearsed = leftovers.sweep(dry_run=True)
    before = leftovers.queues()
    swept = leftovers.sweep()

    # then
    assert before == {dead, live, similar}
    assert swept == rehearsed
    assert swept.queues == (dead,)
    assert len(swept.subscriptions) == 4
    assert swept.attended == 1
    assert leftovers.queues() == {live, similar}
    assert leftovers.subscribers() == {live}
    assert torn not in leftovers.subscribers()

    # and a second sweep finds nothing
    assert leftovers.sweep().queues == ()


@pytest.mark.acceptance
def test_a_worker_that_starts_sweeps(leftovers: Leftovers, start_worker: StartWorker) -> None:
    leftovers.make(seen=time.time() - 1_000)

    worker = start_worker(MONITORING="1", MONITORING_PREFIX=leftovers.names.prefix)

    assert worker.wait_for_log("leftovers of monitoring swept", seconds=PATIENCE)
    assert wait_until(lambda: len(leftovers.subscribers()) == 1, seconds=PATIENCE)  # its own
    assert leftovers.subscribers() == leftovers.queues()


@pytest.mark.acceptance
@pytest.mark.slow
def test_the_command_sweeps_what_killed_processes_left(
    leftovers: Leftovers, start_worker: StartWorker, tmp_path: Path
) -> None:
    # given a worker and a monitor, both killed
    worker = start_worker(MONITORING="1", MONITORING_PREFIX=leftovers.names.prefix)
    dump = ("celery", "-A", "archiver", "events", "--dump")
    with running(*dump, environment=worker.environment, log=tmp_path / "events") as monitor:
        assert wait_until(lambda: len(leftovers.subscribers()) == 2, seconds=PATIENCE), monitor.output()
        worker.kill()
        monitor.kill()
    assert len(leftovers.queues()) == 2

    # when
    swept = run("archiver", "sweep", "--unattended", "0s", "--json", environment=worker.environment)

    # then
    assert swept.returncode == 0, swept.stderr
    report = json.loads(swept.stdout)["monitoring"]
    assert len(report["queues"]) == len(report["subscriptions"]) == 2
    assert leftovers.queues() == leftovers.subscribers() == set()

    # and it says so in words
    again = run("archiver", "sweep", environment=worker.environment)
    assert "monitoring: 0 queues and 0 subscriptions deleted, 0 queues in use" in again.stdout


@pytest.mark.acceptance
def test_a_monitor_that_is_told_to_end_cleans_up(
    leftovers: Leftovers, start_worker: StartWorker, tmp_path: Path
) -> None:
    worker = start_worker(MONITORING="1", MONITORING_PREFIX=leftovers.names.prefix)
    dump = ("celery", "-A", "archiver", "events", "--dump")
    with running(*dump, environment=worker.environment, log=tmp_path / "events") as monitor:
        assert wait_until(lambda: len(leftovers.subscribers()) == 2, seconds=PATIENCE), monitor.output()
        monitor.stop()

    assert wait_until(lambda: len(leftovers.queues()) == 1, seconds=PATIENCE)
    assert leftovers.subscribers() == leftovers.queues()  # the worker's
