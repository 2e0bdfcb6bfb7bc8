"""Bodies by the hundred that nobody would send, through a real worker: each is accounted for, and the worker stays."""

import base64
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from devtools.messages import depth
from devtools.stack import Stack
from tests.conftest import StackClient, StartWorker
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.localstack, pytest.mark.slow]

GOOD = {"files": [{"source": "there.txt"}], "metadata": {"n": 1}}
CALL = {
    "body": base64.b64encode(json.dumps([[GOOD], {}, {}]).encode()).decode(),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {"lang": "py", "task": "archiver.build_archive", "id": "0b5f7a6e-9a1a-4b0e-8b0e-1f2d3c4b5a69"},
    "properties": {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "q"}},
}
ODD: list[Any] = [
    None, True, -1, 0, 1e308, 10**40, "", " ", "\u202e", "x" * 300, "../..", "s3://", "s3://b", "s3://bucket-x/", [],
    {}, [[]], {"files": []}, [None], ["\ud7ff"], {"": ""}, "archiver.refuse_message", "pickle", "\t\n\r",
]  # fmt: skip


@pytest.mark.parametrize(
    "bodies", [pytest.param(100, id="short"), pytest.param(300, id="long", marks=pytest.mark.chaos)]
)
def test_no_body_stops_the_worker(
    bodies: int, start_worker: StartWorker, client: StackClient, sqs: "SQSClient", stack: Stack
) -> None:
    # given a worker, and bodies that are nearly payloads, nearly Celery calls, nearly JSON, or nothing of it
    client.put("there.txt", b"here I am")
    worker = start_worker(WORKER_CONCURRENCY="2")
    children = worker.children()
    rng = random.Random(20261124)
    sent = {client.send(body): body for body in (body_of(rng) for _ in range(bodies))}

    # when it has seen them all
    assert eventually(lambda: depth(sqs, stack.input_url) == (0, 0, 0), interval=0.5)

    # then each one has its archive, or lies in the DLQ as it came and with a reason
    built = depth(sqs, stack.output_url)[0]
    letters = client.dead_letters(len(sent) - built)
    dead = {letter.attributes["Original-Message-Id"]: letter for letter in letters}
    for request_id, letter in dead.items():
        assert letter.body == sent[request_id]
        assert letter.attributes["Error-Code"]
        assert letter.attributes["Error-Message"]
    assert len(dead) + built == len(sent)
    assert len(dead) > len(sent) // 2

    # and the same processes build the next archive
    last = client.send(GOOD)
    assert client.notification(last).json["status"] == "succeeded"
    assert worker.alive()
    assert set(worker.children()) == set(children)


def body_of(rng: random.Random) -> str:
    """One body: a thing that would work, with something done to it, in some encoding."""
    shape = rng.choice(("payload", "call", "sns", "noise"))
    if shape == "noise":
        text = "".join(rng.choice('{}[]":,\\ \n\tab0é漢😀=+/') for _ in range(rng.randint(1, 200)))
    else:
        value: Any = json.loads(json.dumps(GOOD if shape == "payload" else CALL))
        for _ in range(rng.randint(1, 3)):
            value = mutated(value, rng)
        if shape == "sns":
            value = {"Type": "Notification", "Message": rng.choice((json.dumps(value), value, None))}
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
        if rng.random() < 0.2:
            cut = rng.randrange(len(text))
            text = text[:cut] + rng.choice(("", "}", '"', "\\")) + text[cut + 1 :]
    if rng.random() < 0.2:
        text = base64.b64encode(text.encode()).decode()
    return text.encode("utf-8", "replace").decode() or " "


def mutated(value: Any, rng: random.Random) -> Any:
    """The value with one node replaced, dropped or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        action = rng.random()
        if action < 0.2:
            return {k: v for k, v in value.items() if k != key}
        if action < 0.3:
            return value | {key + rng.choice(("", " ", "s", "\u200b")): rng.choice(ODD)}
        return value | {key: mutated(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        index = rng.randrange(len(value))
        return [*value[:index], mutated(value[index], rng), *value[index + 1 :], *(value if rng.random() < 0.2 else [])]
    return rng.choice(ODD)
