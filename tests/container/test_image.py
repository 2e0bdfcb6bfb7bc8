"""The worker's image: what is in it, and a worker in it from start to SIGTERM."""

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from archiver.version import __version__
from devtools.faults import Delay, Fault, Request
from devtools.localstack import CHECKOUT, LocalStack
from devtools.proxy import running_proxy
from devtools.stack import Stack
from tests.conftest import StackClient
from tests.container.engine import MAKE_SECONDS, Container, Engine, EngineError
from tests.container.images import Images
from tests.support.oracles import Readers

pytestmark = [pytest.mark.container, pytest.mark.timeout(2 * MAKE_SECONDS)]

#: What the image may weigh above its base, uncompressed.
MOST_BYTES = 100_000_000
#: As the task definition and docs/container.md have it.
HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
START_SECONDS = 60


@pytest.fixture
def options(localstack: LocalStack, stack: Stack) -> list[str]:
    """The container's: on the machine's network, since LocalStack listens on its loopback interface."""
    return [*HARDENED, "--network", "host", *variables(localstack, stack)]


def variables(localstack: LocalStack, stack: Stack, **settings: str) -> list[str]:
    environment = {
        **localstack.environment,
        **stack.environment,
        "WORKER_CONCURRENCY": "1",
        "POLL_SECONDS": "1",
        "SOFT_SHUTDOWN_SECONDS": "30",
        **settings,
    }
    return [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]


def ready(container: Container) -> None:
    assert container.says("archiver ready", seconds=START_SECONDS), container.log()


def test_the_image_says_what_it_is_and_how_it_runs(engine: Engine, image: str) -> None:
    config: Any = engine.inspect("image", image)["Config"]
    assert config["User"] == "10001:10001"
    assert config["Cmd"] == ["celery", "-A", "archiver", "worker"]
    assert config.get("StopSignal") == "SIGTERM"
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["title"] == "archiver"
    assert labels["licenses"] == "MIT"
    assert labels["version"] == __version__
    assert labels["revision"] == "tests"


def test_the_image_holds_the_locked_requirements_and_no_tool_to_build(
    engine: Engine, images: Images, image: str
) -> None:
    # given what is installed in the image, and what a build leaves behind
    script = (
        "import importlib.metadata as m, os, shutil; "
        "print(*sorted(f'{d.name.lower().replace(chr(95), chr(45)).replace(chr(46), chr(45))}=={d.version}' "
        "for d in m.distributions(path=[p for p in __import__('sys').path if p.startswith('/opt/archiver/')]))); "
        "print(*filter(shutil.which, ('gcc', 'cc', 'make', 'git', 'uv'))); "
        "print(*filter(os.path.exists, ('/src', '/build', '/wheels', '/opt/archiver/bin/pip', '/run/secrets')))"
    )
    answer = engine("run", "--rm", "--network", "none", *HARDENED, image, "python", "-c", script)
    packages, tools, leftovers = (set(line.split()) for line in answer.splitlines())

    # then it is the lock's, with the archiver itself, and nothing was left
    locked = set(
        re.findall(r"^([a-z0-9.-]+==[^ ;\\]+)", (CHECKOUT / "requirements/worker.txt").read_text(), flags=re.MULTILINE)
    )
    own = {package for package in packages if package.startswith("archiver==")}
    assert len(own) == 1
    assert packages - own <= locked
    assert {package.partition("==")[0] for package in packages} >= {"celery", "boto3", "pycurl", "pydantic"}
    assert tools == set()
    assert leftovers == set()
    # and it is small
    assert images.size(image) - images.size(images.base()) < MOST_BYTES


def test_the_image_keeps_the_description_of_every_service_that_is_called() -> None:
    # The Dockerfile leaves the SDK's other descriptions out. kombu calls SNS for its own part.
    sources = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "archiver").rglob("*.py"))
    called = set(re.findall(r'client\(\s*"([a-z0-9-]+)"', sources)) | {"sns"}
    assert called >= {"s3", "sqs", "sts"}
    assert called <= set(re.findall(r"! -name (\S+)", (CHECKOUT / "Dockerfile").read_text()))


def test_a_worker_archives_a_message_is_healthy_and_is_nobody(
    engine: Engine,
    image: str,
    options: list[str],
    client: StackClient,
    readers: Readers,
    tmp_path: Path,
    account: list[str],
) -> None:
    # given a worker in the image, with a root filesystem that nobody can write to
    client.put("a.txt", b"from a container\n")
    started = time.monotonic()
    with engine.run(image, *options) as container:
        ready(container)
        account.append(f"the worker was ready {time.monotonic() - started:.1f} s after `run`")
        assert container.inside("id", "-u").strip() == "10001"
        assert container.inside("cat", "/proc/1/comm").strip() == "celery"
        with pytest.raises(EngineError, match="Read-only file system"):
            container.inside("touch", "/opt/archiver/x")
        # when a message comes
        request_id = client.send({"files": [{"source": "a.txt"}]})
        # then it is archived, and the image's own health check is content
        notification = client.notification(request_id)
        readers.check(client.download(notification, tmp_path), {"a.txt": b"from a container\n"})
        assert container.becomes("healthy", seconds=60), container.log()


def test_sigterm_lets_the_running_job_finish_and_ends_with_0(
    engine: Engine, image: str, localstack: LocalStack, stack: Stack, client: StackClient, account: list[str]
) -> None:
    # given a job that takes a while, since S3 answers it late
    client.put("a.txt", b"slow\n")
    reading = threading.Event()

    def slowly(request: Request) -> Fault | None:
        if request.operation != "GetObject":
            return None
        reading.set()
        return Delay(4_000)

    with running_proxy(localstack.url, faults=slowly) as proxy:
        options = (*HARDENED, "--network", "host", *variables(localstack, stack, AWS_ENDPOINT_URL=proxy.url))
        with engine.run(image, *options) as container:
            ready(container)
            request_id = client.send({"files": [{"source": "a.txt"}]})
            assert reading.wait(30), container.log()
            # when the engine stops the container: SIGTERM, and SIGKILL after the limit
            started = time.monotonic()
            engine("stop", "-t", "60", container.id)
            account.append(f"SIGTERM during a job: drained in {time.monotonic() - started:.1f} s")
            # then it ended by itself, and the job is done
            assert container.state()["ExitCode"] == 0, container.log()
    assert client.notification(request_id, seconds=5).json["request_id"] == request_id
    left = client.sqs.get_queue_attributes(
        QueueUrl=stack.input_url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )
    assert set(left["Attributes"].values()) == {"0"}


def test_a_worker_that_stops_polling_is_unhealthy(
    engine: Engine, image: str, options: list[str], localstack: LocalStack, stack: Stack
) -> None:
    # given a healthy worker; the check is the image's with a shorter interval and no grace at the start
    own: Any = engine.inspect("image", image)
    check: Any = own.get("HealthCheck") or own.get("Healthcheck") or own["Config"]["Healthcheck"]
    assert check["Test"] == ["CMD", "archiver", "health"]
    quick = ("--health-cmd", "archiver health", "--health-interval", "1s", "--health-retries", "2")
    with engine.run(image, *options, *quick, "--health-start-period", "0s", "--env", "LIVENESS_SECONDS=5") as container:
        ready(container)
        assert container.becomes("healthy", seconds=30), container.log()
        # when its process hangs, as one that waits for a socket forever does
        engine("kill", "--signal", "STOP", container.id)
        # then the check says so, though the process is there
        assert container.becomes("unhealthy", seconds=60)
        assert container.state()["Running"]
        # and when it goes on, it is healthy again
        engine("kill", "--signal", "CONT", container.id)
        assert container.becomes("healthy", seconds=60), container.log()
