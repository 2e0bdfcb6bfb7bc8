"""What `pip install` of the project puts into an environment, and what works there."""

import json
import re
from configparser import ConfigParser
from pathlib import Path
from shutil import copy, copytree

import pytest

from archiver.__main__ import WORKER_MODULES
from archiver.worker.envelope import BUILD_TASK, CHUNK_TASK, REFUSE_TASK
from devtools.localstack import CHECKOUT
from tests.packaging.environments import Environment, build, copy_of_the_checkout, install, names_in

#: A service that has nothing to do with ours, and no configuration.
OTHER_APP = """
from celery import Celery
app = Celery("other")
print(app.conf.task_default_queue, app.conf.include, app.conf.broker_transport)
"""
#: Prints which of the names can be imported.
IMPORTABLE = """
from importlib.util import find_spec
print(*(name for name in ("archiver", "tasks", "celeryconfig", "tests", "devtools") if find_spec(name)))
"""
MISPLACED = "Error: celeryconfig and tasks are not on the path: run it in the checkout or in the image\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(copy_of_the_checkout(tmp_path_factory.mktemp("wheel") / "sources"))


@pytest.fixture(scope="module")
def client_alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """As `pip install archiver` leaves it."""
    return install(wheel, tmp_path_factory.mktemp("client") / "venv")


@pytest.fixture(scope="module")
def worker(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """As `pip install archiver[worker]` leaves it."""
    return install(wheel, tmp_path_factory.mktemp("worker") / "venv", extras=frozenset({"worker"}))


def test_the_wheel_holds_the_package_and_nothing_beside_it(wheel: Path) -> None:
    assert names_in(wheel) == {"archiver"}


def test_the_client_needs_no_more_than_the_package_asks_for(client_alone: Environment, tmp_path: Path) -> None:
    # given a stand-in for SQS, in an environment that has nothing of the worker
    script = """
from archiver.client import ArchiverClient

class Sqs:
    def send_message(self, **message):
        print(message["MessageBody"])
        return {"MessageId": "one"}

print(ArchiverClient("https://sqs.example/1/input-queue", sqs=Sqs()).submit(["photos/2026/"]))
"""
    assert client_alone.run("python", "-c", "import celery", directory=tmp_path).returncode == 1

    # when a service asks for an archive
    asked = client_alone.run("python", "-c", script, directory=tmp_path)

    # then the message is sent
    assert asked.stderr == ""
    sent, request_id = asked.stdout.splitlines()
    assert json.loads(sent) == {"files": [{"source": "photos/2026/"}]}
    assert request_id == "one"


def test_the_client_makes_its_own_connection_to_sqs(client_alone: Environment, tmp_path: Path) -> None:
    script = """
from archiver.client import ArchiverClient
ArchiverClient("https://sqs.eu-west-1.amazonaws.com/1/input-queue")
"""
    made = client_alone.run("python", "-c", script, directory=tmp_path)

    assert (made.returncode, made.stderr) == (0, "")


def test_the_command_says_what_to_install(client_alone: Environment, tmp_path: Path) -> None:
    outcome = client_alone.run("archiver", "submit", "--source", "a.jpg", directory=tmp_path)

    assert outcome.returncode == 2
    assert outcome.stderr == (
        "error: the command needs the extra archiver[worker]; not installed: " + ", ".join(WORKER_MODULES) + "\n"
    )


def test_with_the_extra_the_command_and_all_its_modules_are_there(worker: Environment, tmp_path: Path) -> None:
    script = """
import pkgutil, importlib, archiver
for module in pkgutil.walk_packages(archiver.__path__, "archiver."):
    importlib.import_module(module.name)
"""
    assert worker.run("python", "-c", script, directory=tmp_path).stderr == ""
    assert "Usage: archiver" in worker.run("archiver", "--help", directory=tmp_path).stdout


def test_traces_are_an_extra_of_their_own(
    client_alone: Environment, worker: Environment, wheel: Path, tmp_path: Path
) -> None:
    # given environments without OpenTelemetry, and one with it
    traced = install(wheel, tmp_path / "venv", extras=frozenset({"worker", "otel"}))
    producer = "from archiver.trace_context import current; print(current())"
    script = """
from archiver import logs
from archiver.settings import load_settings
from archiver.trace_export import flush, set_up_export
from archiver.tracing import open_tracer
logs.configure()
set_up_export(load_settings())
print(type(open_tracer()).__name__)
flush()
"""
    asked = {"SQS_SOURCE_QUEUE": "q", "S3_DESTINATION_BUCKET": "archives", "OTEL_TRACES_EXPORTER": "otlp"}

    # then producers and workers work without, and who asks for traces is told what is missing
    assert client_alone.run("python", "-c", producer, directory=tmp_path).stdout == "{}\n"
    outcome = worker.run("python", "-c", script, directory=tmp_path, **asked)
    assert outcome.stdout == "Untraced\n"
    assert json.loads(outcome.stderr)["message"] == "no traces: the extra archiver[otel] is not installed"

    # and with the extra nothing is
    outcome = traced.run("python", "-c", script, directory=tmp_path, **asked)
    assert (outcome.stdout, outcome.stderr) == ("OtelTracer\n", "")


@pytest.mark.parametrize("command", ["worker", "inspect ping"])
def test_celery_away_from_the_checkout_says_what_is_missing(worker: Environment, tmp_path: Path, command: str) -> None:
    outcome = worker.run("celery", "-A", "archiver", *command.split(), directory=tmp_path)

    assert (outcome.returncode, outcome.stderr) == (2, MISPLACED)


def test_celery_beside_them_finds_configuration_and_tasks(worker: Environment, tmp_path: Path) -> None:
    # given celeryconfig and tasks in the working directory, and the package elsewhere, as in the image
    copy(CHECKOUT / "celeryconfig.py", tmp_path)
    copytree(CHECKOUT / "tasks", tmp_path / "tasks")
    script = """
from archiver import app
app.loader.import_default_modules()
print(app.conf.task_default_queue, *sorted(name for name in app.tasks if name.startswith("archiver.")))
"""
    # then the command gets as far as the settings
    outcome = worker.run("celery", "-A", "archiver", "worker", directory=tmp_path)
    assert outcome.stderr == "Error: SQS_SOURCE_QUEUE is not set; S3_DESTINATION_BUCKET is not set\n"

    # and with them the tasks are there
    settings = {"SQS_SOURCE_QUEUE": "input-queue", "S3_DESTINATION_BUCKET": "zip-storage"}
    outcome = worker.run("python", "-c", script, directory=tmp_path, **settings)
    assert outcome.stdout == f"input-queue {BUILD_TASK} {CHUNK_TASK} {REFUSE_TASK}\n", outcome.stderr


def test_another_celery_app_beside_it_keeps_its_own_configuration(worker: Environment, tmp_path: Path) -> None:
    outcome = worker.run("python", "-c", OTHER_APP, directory=tmp_path)

    assert outcome.stderr == ""
    assert outcome.stdout == "celery () None\n"


def test_an_editable_installation_shows_the_package_alone(tmp_path: Path) -> None:
    # given the checkout, installed as `pip install -e .` does
    sources = copy_of_the_checkout(tmp_path / "sources")
    environment = install(build(sources, editable=True), tmp_path / "venv")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    # then a program that runs elsewhere sees the package, as it stands in the checkout
    assert environment.run("python", "-c", IMPORTABLE, directory=elsewhere).stdout == "archiver\n"
    place = environment.run("python", "-c", "import archiver; print(archiver.__file__)", directory=elsewhere)
    assert place.stdout == f"{sources / 'archiver' / '__init__.py'}\n"

    # and one that runs in the checkout sees what stands there, too
    assert environment.run("python", "-c", IMPORTABLE, directory=sources).stdout == "archiver tasks celeryconfig\n"


def test_the_command_looks_for_each_module_of_the_extra() -> None:
    package = ConfigParser()
    package.read(CHECKOUT / "setup.cfg")
    extra = package["options.extras_require"]["worker"].split()

    named = [re.split(r"[\[=><]", requirement)[0].replace("-", "_") for requirement in extra]

    assert tuple(named) == WORKER_MODULES
