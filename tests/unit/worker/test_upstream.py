"""What this project uses of kombu, Celery, vine and billiard without a promise from them is what it was when read."""

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
import pytest
from celery import Celery
from kombu.asynchronous.aws.connection import AsyncHTTPSConnection
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from kombu.connection import Connection

import archiver.monitoring
import archiver.worker
from tests.unit.worker.upstream import NAMES, READ

LIBRARIES = ("amqp", "billiard", "botocore", "celery", "kombu", "vine")
#: Private names that are the standard library's.
OURS_TO_USE = {"_exit"}


def described(value: Any) -> str:
    """A value as the list has it: a signature without annotations, a constant, else what kind of thing it is."""
    if inspect.isclass(value):
        return f"class {value.__module__}.{value.__qualname__}"
    if callable(value):
        signature = inspect.signature(value)
        bare = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
        return str(signature.replace(parameters=bare, return_annotation=signature.empty))
    if value is None or isinstance(value, bool | int | float | str | tuple):
        return repr(value)
    if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
        return f"dict of {', '.join(sorted(value))}"
    return type(value).__name__


def found(path: str, instances: dict[str, Any]) -> str:
    """What is installed under a path of the list; ``gone`` where nothing is."""
    place, _, rest = path.partition(":")
    owner, _, attributes = rest.partition("().")
    try:
        thing: Any
        if attributes:
            thing, names = instances[f"{place}:{owner}"], attributes.split(".")
        else:
            thing, names = import_module(place), rest.split(".")
        for name in names[:-1]:
            thing = getattr(thing, name)
        # A property of a class is the property, not its value.
        return described(inspect.getattr_static(thing, names[-1]) if not attributes else getattr(thing, names[-1]))
    except (ImportError, AttributeError):
        return "gone"


@pytest.fixture(scope="module")
def instances() -> Iterator[dict[str, Any]]:
    """One of each whose attributes are made in its constructor. None of them makes a request."""
    url = "https://sqs.eu-west-1.amazonaws.com/1/input-queue"
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    client = session.client("sqs", verify=False)
    connection = Connection("sqs://", transport_options={"predefined_queues": {"input-queue": {"url": url}}})
    polls = AsyncSQSConnection(client, http_client=object())
    with closing(connection):
        channel = connection.transport.Channel(connection.transport)
        yield {
            "celery:Celery": Celery("other", set_as_current=False),
            "botocore.client:SQS": client,
            "kombu.transport.SQS:Channel": channel,
            "kombu.transport.SQS:Transport": connection.transport,
            "kombu.asynchronous.aws.sqs.connection:AsyncSQSConnection": polls,
            "kombu.asynchronous.aws.connection:AsyncHTTPSConnection": AsyncHTTPSConnection(http_client=object()),
        }
        channel.close()


def test_what_is_used_of_the_libraries_is_what_was_read(instances: dict[str, Any]) -> None:
    changed = [
        f"{path}\n    read:      {read}\n    installed: {installed}"
        for path, read in NAMES.items()
        if (installed := found(path, instances)) != read
    ]

    releases = ", ".join(f"{name} {version(name)} (read: {release})" for name, release in READ.items())
    assert not changed, f"{releases}: what this project builds on has changed:\n" + "\n".join(changed)


def modules() -> Iterator[Any]:
    """Ours that build on the libraries."""
    yield import_module("archiver.celery")
    for package in (archiver.worker, archiver.monitoring):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield import_module(module.name)


def test_every_name_that_a_class_of_ours_overrides_is_in_the_list() -> None:
    overridden = set()
    for module in modules():
        for ours in filter(inspect.isclass, vars(module).values()):
            bases = [base for base in ours.__mro__ if base.__module__.partition(".")[0] in LIBRARIES]
            for name in vars(ours) if ours.__module__ == module.__name__ else ():
                owner = next((base for base in bases if name in vars(base)), None)
                if owner is not None and (not name.startswith("__") or name == "__init__"):
                    overridden.add(f"{owner.__module__}:{owner.__qualname__.rpartition('.')[2]}.{name}")

    # Celery gives each step a name of its own.
    assert overridden - {"celery.bootsteps:StartStopStep.name"} <= NAMES.keys()
    assert "kombu.transport.SQS:Channel._schedule_queue" in overridden


def test_every_private_name_of_theirs_is_in_the_list() -> None:
    used, own = set(), set(OURS_TO_USE)
    for module in modules():
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                own.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                own.add(node.target.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                own.add(node.attr)
            elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                used.add(node.attr)

    assert used - own <= {name for path in NAMES for name in re.split(r"[.:()]+", path)}
    assert "_active_queues" in used


def test_a_name_that_is_gone_or_has_changed_is_seen(instances: dict[str, Any]) -> None:
    assert found("kombu.transport.SQS:Channel._no_such_name", instances) == "gone"
    assert found("kombu.transport.no_such_module:Channel", instances) == "gone"
    assert found("kombu.transport.SQS:Channel()._no_such_name", instances) == "gone"
    assert described(lambda queue, no_ack=False, *rest: None) == "(queue, no_ack=False, *rest)"
