"""Messages on the crew's queue: invitations, and anything else."""

import json
from typing import Any

import pytest

from archiver.archive.crew_plan import Invitation
from archiver.aws.letters import Letter
from archiver.worker.envelope import CHUNK_TASK, LETTER_HEADER
from archiver.worker.invitations import MOST_RECEIVES, chunk_call

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/crew"
INVITATION = Invitation(
    request_id="job-1",
    bucket="zip-storage",
    key="k.zip",
    upload_id="u",
    folder="0" * 64,
    number=2,
    turns=9,
    first=20,
    last=30,
    begin=25,
    start=0,
    stop=10,
    digest="f" * 64,
)


def letter(body: str, *, receives: int = 1) -> Letter:
    return Letter("m-1", URL, "handle", receives, 1_790_000_000.0, body, "c-1")


def test_an_invitation_is_a_call_that_belongs_to_its_job() -> None:
    call = chunk_call(letter(INVITATION.model_dump_json()), "crew")

    assert isinstance(call, dict)
    headers = call["headers"]
    assert (headers["task"], headers["id"]) == (CHUNK_TASK, "m-1")
    assert (headers["root_id"], headers["parent_id"]) == ("job-1", "job-1")
    assert headers["argsrepr"] == "turn 3 of 9"
    assert headers["timelimit"] == [None, None]
    assert Letter.from_dict(headers[LETTER_HEADER]).correlation_id == "c-1"
    ((body,), *_) = json.loads(call["body"])
    assert Invitation.model_validate_json(body) == INVITATION


@pytest.mark.parametrize("receives", [MOST_RECEIVES, MOST_RECEIVES + 1])
def test_one_that_nobody_comes_to_an_end_with_is_dropped(receives: int) -> None:
    call = chunk_call(letter(INVITATION.model_dump_json(), receives=receives), "crew")

    assert isinstance(call, str) == (receives > MOST_RECEIVES)


def without(*names: str, **changes: Any) -> str:
    fields = INVITATION.model_dump() | changes
    return json.dumps({name: value for name, value in fields.items() if name not in names})


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "null",
        "no JSON",
        "[" * 100_000,
        "[" * 10_000,
        "\ud800",
        '{"files": [{"source": "a"}]}',
        without("digest"),
        without(folder="../" * 20),
        without(folder="A" * 64),
        without(start=-1),
        without(number="2"),
        without(number=1 << 70),
        without(request_id="a b"),
        without(request_id=""),
        without(bucket=""),
        without(key="k" * 3_000),
        without(stop=1.5),
        json.dumps(
            {
                "body": "W10=",
                "headers": {"task": CHUNK_TASK, "timelimit": [1e400, 1]},
                "properties": {"body_encoding": "base64"},
            }
        ),
    ],
)
def test_anything_else_is_dropped(body: str) -> None:
    assert isinstance(chunk_call(letter(body), "crew"), str)
