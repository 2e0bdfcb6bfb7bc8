"""Creating what only one may create, where S3's answer leaves open who has."""

from typing import Any

import pytest

from archiver.aws.crew import SharedObjects
from tests.unit.aws.test_http import Script, answers, http, refuses

WRITTEN = answers(200, ETag='"e"')
TAKEN, CONFLICT, NOTHING = refuses(412, "PreconditionFailed"), refuses(409, "ConditionalRequestConflict"), refuses(404)


@pytest.mark.parametrize(
    ("scripts", "ours"),
    [
        ([WRITTEN], True),
        ([TAKEN, answers(200, b"ours")], True),
        ([TAKEN, answers(200, b"theirs")], False),
        ([CONFLICT, answers(200, b"theirs")], False),
        ([CONFLICT, NOTHING, WRITTEN], True),
        ([CONFLICT, NOTHING, TAKEN, answers(200, b"theirs")], False),
        ([CONFLICT, NOTHING] * 3, False),
    ],
)
def test_it_is_ours_where_it_is_there_and_ours(scripts: list[Script], ours: bool) -> None:
    client, server, _ = http(*scripts)
    unused: Any = None
    shared = SharedObjects(unused, client, bucket="b", prefix="crew/")

    assert shared.put("folder", "00001", b"ours", new=True) is ours
    assert len(server.seen) == len(scripts)
