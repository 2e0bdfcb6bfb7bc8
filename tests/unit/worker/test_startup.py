"""What a worker looks at when it starts, and says when it is ready."""

import ast
import os
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from archiver.aws.dead_letters import NO_POLICY, SMALL_DEAD_LETTERS
from archiver.errors import QueueUnavailable
from archiver.settings import Settings
from archiver.worker import surroundings
from archiver.worker.startup import announce_worker
from tests.support.jobs import logged
from tests.support.waiting import LONG_ENOUGH

TOPIC = "arn:aws:sns:eu-west-1:123456789012:archives"
#: A worker that has prepared itself, and then what a process of its pool does first.
PREPARED = """
import sys
from types import SimpleNamespace

from celery.signals import celeryd_init
from pydantic import BaseModel

from archiver import wiring
from archiver.aws.clients import DescriptionFiles
from archiver.celery import app

app.loader.import_default_modules()
celeryd_init.send(sender="worker", instance=SimpleNamespace(app=app, quiet=False), conf=None)

print("not loaded:", *sorted(set(sys.argv[1:]) - set(sys.modules)))
read = []
load_file = DescriptionFiles.load_file

def noted(loader, path):
    data = load_file(loader, path)
    if data is not None:
        read.append(path)
    return data

DescriptionFiles.load_file = noted
loaded = set(sys.modules)
wiring.services()

def models(above):
    for model in above.__subclasses__():
        yield model
        yield from models(model)

print("loaded:", *(
    name for name in sorted(set(sys.modules) - loaded) if name.partition(".")[0] not in sys.stdlib_module_names
))
print("read:", *read)
print("unfinished:", *(
    f"{model.__module__}.{model.__name__}"
    for model in models(BaseModel)
    if model.__module__.startswith("archiver.") and not model.__pydantic_complete__
))
"""

SETTINGS = {"sqs_source_queue": "input", "s3_destination_bucket": "archives", "part_size_mib": 16}


@pytest.mark.parametrize(
    "more",
    [{}, {"SQS_CREW_QUEUE": "crew", "STATUS_PREFIX": "status/", "SNS_DESTINATION_TOPIC": TOPIC}],
    ids=["least", "most"],
)
def test_the_processes_of_a_pool_find_all_of_it_loaded(more: dict[str, str]) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "SQS_SOURCE_QUEUE": "input",
        "SQS_DESTINATION_QUEUE": "output",
        "S3_DESTINATION_BUCKET": "archives",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    done = subprocess.run(
        [sys.executable, "-c", PREPARED, *imported_late()],
        env=environment | more,
        capture_output=True,
        text=True,
        check=True,
        timeout=LONG_ENOUGH,
    )

    assert done.stdout.splitlines()[-4:] == ["not loaded:", "loaded:", "read:", "unfinished:"]


def imported_late() -> set[str]:
    """Our modules that code of a job imports when it is called."""
    found: set[str] = set()
    for file in (
        *Path("archiver/archive").glob("*.py"),
        *Path("archiver/aws").glob("*.py"),
        Path("archiver/wiring.py"),
    ):
        functions = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef))
        statements = (node for function in functions for node in ast.walk(function))
        for statement in statements:
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("archiver."):
                names = {f"{statement.module}.{alias.name}" for alias in statement.names}
                modules = {name for name in names if find_spec(name) is not None} if is_package(statement) else set()
                found |= modules or {str(statement.module)}
    assert {"archiver.archive.deflate", "archiver.archive.notification", "archiver.aws.crew"} <= found
    return found


def is_package(statement: ast.ImportFrom) -> bool:
    spec = find_spec(str(statement.module))
    return spec is not None and spec.submodule_search_locations is not None


WAITS = "archiver waits for its source queue"


@dataclass
class Sized:
    """A queue that takes messages of this size, or can't be asked."""

    url: str = "https://sqs.example/1/queue"
    size: int | Exception = 1024 * 1024

    def attributes(self, names: list[str]) -> dict[str, str]:
        if isinstance(self.size, Exception):
            raise self.size
        return {name: str(self.size) for name in names}


@dataclass
class World(Sized):
    """A queue with a dead-letter queue, a consumer's queue and buckets, any of which may be missing or out of reach."""

    url: str = "https://sqs.example/1/input"
    dlq: Sized | None = field(default_factory=Sized)
    output: Sized = field(default_factory=Sized)
    topic: Exception | None = None
    error: Exception | None = None
    buckets: dict[str, Exception] = field(default_factory=dict)
    looked_at: list[str] = field(default_factory=list)

    def dead_letter_queue(self) -> Sized | None:
        if self.error is not None:
            raise self.error
        return self.dlq

    def get_topic_attributes(self, *, TopicArn: str) -> None:  # noqa: N803  # boto3's name
        assert TopicArn == TOPIC
        if self.topic is not None:
            raise self.topic

    def head_bucket(self, *, Bucket: str) -> None:  # noqa: N803  # boto3's name
        self.looked_at.append(Bucket)
        if Bucket in self.buckets:
            raise self.buckets[Bucket]


def announced(monkeypatch: pytest.MonkeyPatch, world: World, **settings: str) -> list[Any]:
    """The log of a worker in that world."""

    def open_queue(name: str, *, timeouts: object, region: str | None, setting: str | None = None) -> Sized:
        assert region == "eu-west-1"
        return {"input": world, "output": world.output, "crew": world.output}[name]

    def new_client(service: str, *, timeouts: object, region: str | None, in_region: str | None = None) -> World:
        assert service in {"s3", "sns"}
        assert region == "eu-west-1"
        return world

    monkeypatch.setattr(surroundings, "open_queue", open_queue)
    monkeypatch.setattr(surroundings, "new_client", new_client)
    with logged() as lines:
        announce_worker(Settings.model_validate({**SETTINGS, "aws_region": "eu-west-1", **settings}))
    return lines


def status(code: int) -> ClientError:
    """What a HEAD of a bucket answers: no body, so that boto3 makes a code of the status."""
    return ClientError(
        {"Error": {"Code": str(code), "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": code}},  # type: ignore[typeddict-item]  # the part that is looked at
        "HeadBucket",
    )


def test_it_names_its_version_and_the_settings_that_are_no_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    (ready,) = announced(monkeypatch, World())
    assert ready["event"] == "archiver ready"
    assert ready["version"]
    assert ready["part_size_mib"] == 16
    assert "visibility_timeout_seconds" not in ready


def test_a_queue_without_a_redrive_policy_is_an_error_that_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    warned, ready = announced(monkeypatch, World(dlq=None))
    assert (warned["event"], warned["log_level"], warned["queue"]) == (NO_POLICY, "error", World.url)
    assert ready["event"] == "archiver ready"


def refused(code: str, http_status: int) -> QueueUnavailable:
    """What the queue makes of SQS's refusal."""
    error = QueueUnavailable(code)
    error.__cause__ = ClientError(
        {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": http_status}},  # type: ignore[typeddict-item]  # the part that is looked at
        "GetQueueAttributes",
    )
    return error


def test_a_destination_queue_that_is_not_there_is_an_error_that_does_not_stop_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(output=Sized(size=refused("AWS.SimpleQueueService.NonExistentQueue", 400)))
    missing, ready = announced(monkeypatch, world, sqs_destination_queue="output")
    assert (missing["event"], missing["log_level"]) == ("no such queue", "error")
    assert (missing["setting"], missing["queue"]) == ("SQS_DESTINATION_QUEUE", "output")
    assert "create it" in missing["mend"]
    assert ready["event"] == "archiver ready"


@pytest.mark.parametrize(
    ("error", "events"),
    [
        (None, []),
        (refused("AccessDenied", 403), []),  # who may only send
        (refused("AccessDeniedException", 400), []),
        (QueueUnavailable("away"), ["a queue could not be looked at"]),
    ],
)
def test_a_destination_queue_that_may_be_there_is_no_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, events: list[str]
) -> None:
    world = World(output=Sized() if error is None else Sized(size=error))
    lines = announced(monkeypatch, world, sqs_destination_queue="output")
    assert [line["event"] for line in lines] == [*events, "archiver ready"]


@pytest.mark.parametrize(
    ("error", "warned"),
    [
        (None, 0),
        (refused("AccessDenied", 403), 0),  # who may only send and receive
        (refused("AWS.SimpleQueueService.NonExistentQueue", 400), 1),
        (QueueUnavailable("away"), 1),
    ],
)
def test_a_crews_queue_that_is_not_there_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, warned: int
) -> None:
    world = World(output=Sized() if error is None else Sized(size=error))
    *lines, ready = announced(monkeypatch, world, sqs_crew_queue="crew")
    assert [(line["log_level"], line["setting"]) for line in lines] == [("warning", "SQS_CREW_QUEUE")] * warned
    assert ready["event"] == "archiver ready"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (None, []),
        (404, [("error", "no such topic")]),
        (403, []),
        (500, [("warning", "the destination topic could not be looked at")]),
    ],
)
def test_a_topic_that_is_not_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch, code: int | None, told: list[tuple[str, str]]
) -> None:
    world = World(topic=None if code is None else status(code))
    lines = announced(monkeypatch, world, sns_destination_topic=TOPIC)
    assert [(line["log_level"], line["event"]) for line in lines] == [*told, ("info", "archiver ready")]


@pytest.mark.parametrize(
    ("size", "events"),
    [
        (1024 * 1024, []),
        (256 * 1024, [SMALL_DEAD_LETTERS]),
        (refused("AccessDenied", 403), []),
        (QueueUnavailable("away"), ["the dead-letter queue could not be looked at"]),
    ],
)
def test_dead_letters_have_the_room_that_messages_have(
    monkeypatch: pytest.MonkeyPatch, size: int | Exception, events: list[str]
) -> None:
    lines = announced(monkeypatch, World(dlq=Sized(size=size)))
    assert [line["event"] for line in lines] == [*events, "archiver ready"]


@pytest.mark.parametrize(
    ("error", "event", "last"),
    [
        (QueueUnavailable("input: away"), "a queue could not be looked at", WAITS),
        (refused("QueueDoesNotExist", 400), "no such queue", WAITS),
        (refused("AccessDenied", 403), "access to the queue is denied", "archiver ready"),
    ],
    ids=["away", "missing", "denied"],
)
def test_a_source_queue_that_can_not_be_used_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, error: Exception, event: str, last: str
) -> None:
    found, end = announced(monkeypatch, World(error=error))
    assert (found["event"], found["setting"], found["queue"]) == (event, "SQS_SOURCE_QUEUE", "input")
    assert end["event"] == last


def unreachable(url: str) -> QueueUnavailable:
    """What the queue makes of a server that does not answer."""
    error = QueueUnavailable("away")
    error.__cause__ = EndpointConnectionError(endpoint_url=url)
    return error


def test_a_server_that_does_not_answer_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    away = EndpointConnectionError(endpoint_url="http://localhost:4566/archives")
    world = World(
        error=unreachable("http://localhost:4566/"),
        output=Sized(size=unreachable("http://localhost:4566/")),
        buckets={"archives": away, "photos": away},
        topic=ReadTimeoutError(endpoint_url="http://other:4566/"),
    )
    settings = {"s3_source_bucket": "photos", "sqs_destination_queue": "output", "sns_destination_topic": TOPIC}

    first, second, end = announced(monkeypatch, world, **settings)

    assert [first["event"], second["event"], end["event"]] == [
        surroundings.UNREACHABLE,
        surroundings.UNREACHABLE,
        WAITS,
    ]
    assert (first["endpoint"], second["endpoint"]) == ("http://localhost:4566", "http://other:4566")
    assert "AWS_ENDPOINT_URL" in first["mend"]


def test_a_bucket_that_is_not_there_is_an_error_that_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(buckets={"archives": status(404)})
    missing, ready = announced(monkeypatch, world, s3_source_bucket="photos")
    assert world.looked_at == ["photos", "archives"]
    assert (missing["event"], missing["log_level"]) == ("no such bucket", "error")
    assert (missing["setting"], missing["bucket"]) == ("S3_DESTINATION_BUCKET", "archives")
    assert ready["event"] == "archiver ready"


def test_who_may_not_list_a_bucket_may_be_right_to_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (ready,) = announced(monkeypatch, World(buckets={"archives": status(403)}))
    assert ready["event"] == "archiver ready"


def test_a_bucket_out_of_reach_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(buckets={"archives": EndpointConnectionError(endpoint_url="https://s3.example")})
    warned, ready = announced(monkeypatch, world)
    assert (warned["event"], warned["log_level"]) == (surroundings.UNREACHABLE, "error")
    assert warned["endpoint"] == "https://s3.example"
    assert ready["event"] == "archiver ready"
