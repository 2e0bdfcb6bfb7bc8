"""Fixtures of the whole suite: one LocalStack a process, resources of its own for each test, real workers."""

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import hypothesis
import pytest

from devtools.localstack import LocalStack, LocalStackError, running_localstack
from devtools.messages import Message, depth, receive, send, wait_for
from devtools.processes import tail
from devtools.proxy import Proxy
from devtools.stack import Names, Stack, create_stack
from devtools.worker import Worker, running_worker
from tests.support.gate import Gate
from tests.support.oracles import Readers
from tests.support.waiting import LONG_ENOUGH

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

# A busy machine makes an example slow, not wrong.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")

#: What the summary says at the end of the run: lines by title.
_SUMMARY = pytest.StashKey[dict[str, list[str]]]()
#: Workers whose logs are shown under a failed test.
_WORKERS = pytest.StashKey[list[Worker]]()


@pytest.fixture(scope="session")
def localstack() -> Iterator[LocalStack]:
    """The session's server. A test that asks for it fails without it, on a laptop as in CI."""
    try:
        with running_localstack() as server:
            yield server
    except LocalStackError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def s3(localstack: LocalStack) -> "S3Client":
    client: S3Client = localstack.client("s3")
    return client


@pytest.fixture(scope="session")
def sqs(localstack: LocalStack) -> "SQSClient":
    client: SQSClient = localstack.client("sqs")
    return client


@pytest.fixture(scope="session")
def sns(localstack: LocalStack) -> Any:
    return localstack.client("sns")


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Opened at the test's end, however it ends."""
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def make_stack(localstack: LocalStack) -> Callable[..., Stack]:
    """``make_stack(max_receive_count=2)``: buckets and queues with names of their own, as often as called."""

    def make(**options: Any) -> Stack:
        return create_stack(localstack, names=Names.unique(), **options)

    return make


@pytest.fixture
def stack(make_stack: Callable[..., Stack]) -> Stack:
    """Buckets and queues of this test's own."""
    return make_stack()


class StartWorker(Protocol):
    def __call__(
        self,
        *,
        on: Stack | None = None,
        arguments: tuple[str, ...] = (),
        endpoint: str | None = None,
        wait: bool = True,
        **settings: str,
    ) -> Worker: ...


@pytest.fixture
def start_worker(request: pytest.FixtureRequest, localstack: LocalStack, stack: Stack) -> Iterator[StartWorker]:
    """``start_worker(WORKER_CONCURRENCY="2", on=other_stack)``: workers that end with the test, as many as called.

    They end killed, which takes no time: a test of how one stops stops it. A failed test shows the end of
    their logs, and where they were.
    """
    with contextlib.ExitStack() as workers:

        def start(
            *,
            on: Stack | None = None,
            arguments: tuple[str, ...] = (),
            endpoint: str | None = None,
            wait: bool = True,
            **settings: str,
        ) -> Worker:
            worker = workers.enter_context(
                running_worker(
                    localstack, on or stack, settings=settings, arguments=arguments, endpoint=endpoint, wait=wait
                )
            )
            workers.callback(worker.kill)
            request.node.stash.setdefault(_WORKERS, []).append(worker)
            return worker

        yield start


@pytest.fixture
def worker(start_worker: StartWorker) -> Worker:
    """A worker with the tests' settings on this test's resources."""
    return start_worker()


class StackClient:
    """The outside of one stack: sends payloads, takes notifications, drains the dead letters."""

    def __init__(self, s3: "S3Client", sqs: "SQSClient", stack: Stack) -> None:
        self.s3, self.sqs, self.stack = s3, sqs, stack

    def put(self, key: str, body: bytes) -> None:
        """A source object; with boto3's default, so with a full-object CRC32."""
        self.s3.put_object(Bucket=self.stack.source_bucket, Key=key, Body=body)

    def send(self, body: str | dict[str, Any], **attributes: str) -> str:
        """A raw message on the input queue; ``Correlation_Id="x"`` gives the attribute Correlation-Id."""
        named = {name.replace("_", "-"): value for name, value in attributes.items()}
        return send(self.sqs, self.stack.input_url, body, attributes=named)

    def notification(self, request_id: str | None = None, *, seconds: float = LONG_ENOUGH) -> Message:
        """The next notification, or that of ``request_id``; others are taken away on the way."""
        return wait_for(
            self.sqs,
            self.stack.output_url,
            seconds=seconds,
            matching=lambda message: request_id is None or message.json["request_id"] == request_id,
        )

    def dead_letters(self, count: int, *, seconds: float = LONG_ENOUGH) -> list[Message]:
        """Up to ``count`` messages of the input queue's DLQ, taken away from it."""
        return receive(self.sqs, self.stack.input_dlq_url, count=count, seconds=seconds)

    def download(self, notification: Message, folder: Path) -> Path:
        """The archive that a notification speaks of, fetched by its bucket and key."""
        archive = notification.json["archive"]
        path = folder / "archive.zip"
        self.s3.download_file(archive["bucket"], archive["key"], str(path))
        return path


@pytest.fixture
def client(s3: "S3Client", sqs: "SQSClient", stack: Stack) -> StackClient:
    """The outside of this test's stack."""
    return StackClient(s3, sqs, stack)


@pytest.fixture(scope="session")
def readers(summary: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    """``readers.check(archive, {name: body})``: unzip, 7z, bsdtar, Python and Java all see just this."""
    readers = Readers(tmp_path_factory.mktemp("readers"))
    yield readers
    if readers.missing:
        summary["archives were not read with"] = [f"{name}: {reason}" for name, reason in readers.missing.items()]


@pytest.fixture(scope="session")
def summary(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """Lines by title that the run's summary shows, whichever process they come from."""
    return request.config.stash.setdefault(_SUMMARY, {})


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a process of xdist's: hand the lines to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["summary"] = session.config.stash.get(_SUMMARY, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the lines of one of xdist's processes; one that died has none."""
    summary = node.config.stash.setdefault(_SUMMARY, {})
    for title, lines in getattr(node, "workeroutput", {}).get("summary", {}).items():
        summary[title] = list(dict.fromkeys([*summary.get(title, []), *lines]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, lines in config.stash.get(_SUMMARY, {}).items():
        if lines:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += _surroundings(item)
        for worker in item.stash.get(_WORKERS, []):
            worker.show_stacks()
            report.sections.append((f"worker {worker.pid}", tail(worker.log, lines=200)))
    return report


def _surroundings(item: pytest.Item) -> Iterator[tuple[str, str]]:
    """What is in a failed test's queues, and what passed its proxy, where it has them."""
    fixtures = getattr(item, "funcargs", {})
    if isinstance(proxy := fixtures.get("proxy"), Proxy):
        yield "proxy", str(proxy.counts())
    if isinstance(stack := fixtures.get("stack"), Stack) and (sqs := fixtures.get("sqs")) is not None:
        depths = []
        for url in (stack.input_url, stack.input_dlq_url, stack.output_url, stack.crew_url):
            try:
                depths.append("{}: {} visible, {} in flight, {} delayed".format(url, *depth(sqs, url)))
            except Exception as error:  # a server that is gone may be why the test has failed
                depths.append(f"{url}: {error!r}")
        yield "queues", "\n".join(depths)
