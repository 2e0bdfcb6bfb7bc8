"""A monitored worker, Flower in a browser, Celery's commands and `archiver watch`: one story from all sides."""

import ast
import contextlib
import json
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from devtools.faults import ACCESS_DENIED, Answer, Request, first_of
from devtools.flower import Flower, running_flower
from devtools.localstack import LocalStack
from devtools.messages import send
from devtools.processes import wait_until
from devtools.proxy import running_proxy
from devtools.stack import Names, create_stack
from devtools.worker import running_worker
from tests.support.gate import Gate
from tests.support.monitors import Browser, find_browser, run

# The whole story is told in the first test's setup.
pytestmark = [pytest.mark.localstack, pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(900)]

MIB = 1024 * 1024
#: What no step of the story takes, however busy the machine is, in seconds.
PATIENCE = 120.0
#: The key of an archive that the destination bucket refuses at first.
REFUSED = "refused.zip"


class Denied:
    """A rule for the proxy: the archive REFUSED is denied until it is allowed."""

    def __init__(self) -> None:
        self.allowed = threading.Event()

    def __call__(self, request: Request) -> Answer | None:
        denied = request.path.endswith(REFUSED) and request.method in ("POST", "PUT") and not self.allowed.is_set()
        return ACCESS_DENIED if denied else None


@dataclass(frozen=True, slots=True)
class Pages:
    """What a person sees, and where the pictures are."""

    tasks: str
    worker: str
    failed: str
    broker: str
    screenshots: tuple[Path, Path]


@dataclass(frozen=True, slots=True)
class Story:
    """Six jobs, one of them failing, one slow and one that fails at first; then everybody goes home."""

    good: list[str]
    slow: str
    bad: str
    retried: str
    retrying: dict[str, Any]  # Flower's of the last one, when its first attempt had failed
    running: str | None  # what Flower's list of tasks showed of the slow job while it ran
    active: dict[str, list[dict[str, Any]]]  # `inspect active` while the slow job ran
    watched: list[dict[str, Any]]  # `archiver watch` of the slow job
    tasks: dict[str, dict[str, Any]]  # Flower's, at the end
    workers: list[dict[str, Any]]  # Flower's
    pages: Pages | None
    exits: tuple[int | None, int]  # of the worker and of Flower
    left: list[str]  # queues and subscriptions of the prefix


@pytest.fixture(scope="module")
def story(localstack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("flower")
    stack = create_stack(localstack, names=Names.unique(), max_receive_count=1_000)
    s3, sqs = localstack.client("s3"), localstack.client("sqs")
    for name in ("a.txt", "b.txt", "c.txt"):
        s3.put_object(Bucket=stack.source_bucket, Key=name, Body=name.encode() * 1000)
    s3.put_object(Bucket=stack.source_bucket, Key="large", Body=os.urandom(24 * MIB))
    prefix = f"m-{uuid.uuid4().hex[:8]}"
    settings = {
        "MONITORING": "1",
        "MONITORING_PREFIX": prefix,
        "WORKER_CONCURRENCY": "2",
        "MAX_ATTEMPTS": "1000",
    }
    held, denied = Gate("CompleteMultipartUpload"), Denied()
    with (
        running_proxy(localstack.url, faults=first_of(held, denied)) as proxy,
        running_worker(localstack, stack, settings={**settings, "AWS_ENDPOINT_URL_S3": proxy.url}) as worker,
        running_flower(worker.environment, log=folder / "flower.log") as flower,
        ThreadPoolExecutor() as threads,
        contextlib.ExitStack() as on_the_way_out,
    ):
        on_the_way_out.callback(held.opened.set)  # a failure in between must not wait for its patience
        assert wait_until(lambda: len(subscriptions(localstack, prefix)) == 2, seconds=PATIENCE)
        assert wait_until(lambda: online(flower), seconds=PATIENCE), flower.program.output()

        def ask(*sources: str, **more: Any) -> str:
            return send(sqs, stack.input_url, {"files": [{"source": source} for source in sources], **more})

        slow = ask("large")
        watching = threads.submit(run, "archiver", "watch", slow, "--json", environment=worker.environment)
        assert held.reached.wait(PATIENCE), worker.output()
        active = inspect_active(worker.environment, slow)
        assert wait_until(lambda: len(subscriptions(localstack, prefix)) == 3, seconds=PATIENCE)  # watch listens
        assert wait_until(lambda: shown(flower, slow)["result"] is not None, seconds=PATIENCE), shown(flower, slow)
        running = shown(flower, slow)["result"]
        held.opened.set()
        retried = ask("a.txt", archive={"key": REFUSED})
        assert wait_until(lambda: flower.tasks().get(retried, {}).get("state") == "RETRY", seconds=PATIENCE)
        retrying = flower.tasks()[retried]
        denied.allowed.set()
        bad = ask("not there")
        good = [ask("a.txt"), ask("b.txt", "c.txt"), ask("a.txt", "b.txt", "c.txt")]
        watched = watching.result()
        assert watched.returncode == 0, watched.stderr
        assert wait_until(lambda: ended(flower) == 6, seconds=PATIENCE), flower.tasks()
        tasks, workers = flower.tasks(), flower.get("/workers?json=1")["data"]
        browser = find_browser(folder)
        pages = None if browser is None else look(browser, flower, bad)
        shutdown = run("celery", "-A", "archiver", "control", "shutdown", environment=worker.environment)
        assert shutdown.returncode == 0, shutdown.stderr
        exits = worker.wait(PATIENCE), flower.program.stop()
        yield Story(
            good=good,
            slow=slow,
            bad=bad,
            retried=retried,
            retrying=retrying,
            running=running,
            active=active,
            watched=[json.loads(line) for line in watched.stdout.splitlines()],
            tasks=tasks,
            workers=workers,
            pages=pages,
            exits=exits,
            left=subscriptions(localstack, prefix) + inboxes(localstack, prefix),
        )


def look(browser: Browser, flower: Flower, bad: str) -> Pages:
    (worker,) = (item["hostname"] for item in flower.get("/workers?json=1")["data"])
    tasks_page, worker_page = f"{flower.url}/tasks", f"{flower.url}/worker/{quote(worker)}"
    return Pages(
        tasks=unescape(browser.text(tasks_page)),
        worker=unescape(browser.text(worker_page)),
        failed=unescape(browser.text(f"{flower.url}/task/{bad}")),
        broker=unescape(browser.text(f"{flower.url}/broker")),
        screenshots=(
            browser.screenshot(tasks_page, "flower-tasks.png", size=(1900, 620)),
            browser.screenshot(worker_page, "flower-worker.png", size=(1400, 900)),
        ),
    )


def inspect_active(environment: Mapping[str, str], job: str) -> dict[str, list[dict[str, Any]]]:
    """What `celery inspect active` says, asked until it knows of a job that is held."""
    command = ("celery", "-A", "archiver", "inspect", "active", "--json", "--timeout", "5")
    found: dict[str, list[dict[str, Any]]] = {}

    def known() -> bool:
        asked = run(*command, environment=environment)
        found.update(json.loads(asked.stdout) if asked.returncode == 0 else {})
        return any(item["id"] == job for jobs in found.values() for item in jobs)

    assert wait_until(known, seconds=PATIENCE), found
    return found


def shown(flower: Flower, job: str) -> dict[str, Any]:
    """The row of a job in Flower's list of tasks."""
    query = {"draw": 1, "start": 0, "length": 100, "order[0][column]": 0, "columns[0][data]": "name"}
    rows: list[dict[str, Any]] = flower.get(f"/tasks/datatable?{urlencode(query)}")["data"]
    (row,) = [row for row in rows if row["uuid"] == job]
    return row


def online(flower: Flower) -> bool:
    return [item["status"] for item in flower.get("/workers?json=1")["data"]] == [True]


def ended(flower: Flower) -> int:
    return sum(task["state"] in ("SUCCESS", "FAILURE") for task in flower.tasks().values())


def subscriptions(localstack: LocalStack, prefix: str) -> list[str]:
    pages = localstack.client("sns").get_paginator("list_subscriptions").paginate()
    found = [item["SubscriptionArn"] for page in pages for item in page["Subscriptions"]]
    return [arn for arn in found if f":{prefix}-" in arn]


def inboxes(localstack: LocalStack, prefix: str) -> list[str]:
    found: list[str] = localstack.client("sqs").list_queues(QueueNamePrefix=prefix).get("QueueUrls", [])
    return found


def test_flower_knows_every_job_with_its_state(story: Story) -> None:
    states = {task_id: task["state"] for task_id, task in story.tasks.items()}

    built = [*story.good, story.slow, story.retried]
    assert states == dict.fromkeys(built, "SUCCESS") | {story.bad: "FAILURE"}


def test_an_attempt_that_comes_back_is_a_retry_with_its_reason(story: Story) -> None:
    assert story.retrying["exception"].startswith("destination_unavailable: ")
    assert story.tasks[story.retried]["retries"] >= 1


def test_a_running_job_shows_how_far_it_is(story: Story) -> None:
    assert story.running is not None
    assert "24.0 MiB" in story.running


def test_a_job_is_described_without_its_payload(story: Story) -> None:
    args = {task_id: story.tasks[task_id]["args"] for task_id in story.good}

    assert list(args.values()) == ["1 file", "2 files", "3 files"]


def test_the_result_tells_what_was_built_and_what_it_took(story: Story) -> None:
    result = ast.literal_eval(story.tasks[story.slow]["result"])

    assert result["files"] == 1
    assert result["archive"].endswith(".zip")  # the link without its signature
    assert result["bytes_read"] + result["bytes_copied"] == 24 * MIB
    assert result["size"] > 24 * MIB
    assert result["parts"] > 1


def test_a_failed_job_tells_its_reason(story: Story) -> None:
    failed = story.tasks[story.bad]

    assert failed["exception"] == "missing_sources: 1 missing source(s): not there"
    assert failed["retries"] == 0


def test_flower_shows_one_worker_online(story: Story) -> None:
    (worker,) = story.workers

    assert worker["status"] is True
    assert worker["freq"] == 30  # a heartbeat every 30 s; lost after twice that


def test_inspect_active_shows_a_running_job_without_its_payload(story: Story) -> None:
    ((job,),) = [[job for job in jobs if job["id"] == story.slow] for jobs in story.active.values()]

    assert job["name"] == "archiver.build_archive"
    assert job["args"] == "1 file"


def test_watch_sees_the_progress_of_a_running_job(story: Story) -> None:
    kinds = [event["type"] for event in story.watched]
    last = [event for event in story.watched if event["type"] == "archive-progress"][-1]

    assert "task-succeeded" in kinds
    assert {event["uuid"] for event in story.watched} == {story.slow}
    assert last["step"] == "completed"
    assert last["bytes_done"] == last["bytes_total"] == 24 * MIB
    assert last["parts_done"] == last["parts_total"] > 1


def test_a_browser_shows_tasks_and_worker(story: Story) -> None:
    if story.pages is None:
        pytest.skip("there is no Chromium")
    pages = story.pages

    for task_id in (*story.good, story.slow, story.bad, story.retried):
        assert task_id in pages.tasks
    for column in ("UUID", "State", "Received", "args", "Retries", "Runtime", "Result", "Exception", "Worker"):
        assert f">{column}<" in pages.tasks
    assert "1 file, 24.0 MiB: http" in pages.tasks
    assert "queue input-queue-" in pages.broker
    assert pages.broker.count("input-queue-") >= 3  # where messages come from, the queue, its dead letters
    assert "No queue data" not in pages.broker
    assert pages.tasks.count("SUCCESS") >= 4
    assert pages.tasks.count("FAILURE") >= 1
    assert "celery.concurrency.prefork:taskpool" in pages.worker.lower()
    assert "1 missing source(s): not there" in pages.failed
    for picture in pages.screenshots:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 20_000  # an empty page is smaller


def test_both_end_cleanly_and_leave_nothing(story: Story) -> None:
    assert story.exits == (0, 0)
    assert story.left == []
