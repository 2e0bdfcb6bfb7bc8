"""What is written of a job fits the schema that its readers have."""

import json

import pytest
from jsonschema import Draft202012Validator, ValidationError

from archiver.archive.progress import Progress
from archiver.archive.status import ended, running, schema

PROGRESS = Progress("uploading", entries=3, bytes_total=300, bytes_done=100, parts_total=2, parts_done=1)
NOW = 1_764_000_000.0


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(running("id-1", attempt=1, progress=None, now=NOW), id="begun"),
        pytest.param(running("id-1", attempt=2, progress=PROGRESS, now=NOW), id="running"),
        pytest.param(
            ended("id-1", status="succeeded", notification='{"status":"succeeded"}', progress=PROGRESS, now=NOW),
            id="succeeded",
        ),
        pytest.param(ended("id-1", status="cancelled", notification="{}", progress=None, now=NOW), id="cancelled"),
    ],
)
def test_a_status_object_fits_its_schema(written: str) -> None:
    Draft202012Validator(schema()).validate(json.loads(written))


def test_a_state_that_is_none_does_not() -> None:
    status = json.loads(running("id-1", attempt=1, progress=None, now=NOW)) | {"state": "asleep"}

    with pytest.raises(ValidationError, match="'asleep' is not one of"):
        Draft202012Validator(schema()).validate(status)
