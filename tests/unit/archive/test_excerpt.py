"""A notification for a narrower way: cut in its order, and never silently."""

import json

import pytest

from archiver.archive.excerpt import within
from archiver.archive.notification import NOTIFICATION, Error, Failed, as_message

NAMES = [f"{number:04d}-ü.txt" for number in range(500)]


def body(*, names: list[str] | None, metadata: str | None) -> str:
    more = {} if names is None else {"missing": names}
    error = Error(code="missing_sources", message="gone")
    failed = Failed(status="failed", metadata=None, error=error, request_id="r", **more)
    return as_message(failed, metadata=metadata).body


def test_what_fits_goes_as_it_is() -> None:
    text = body(names=NAMES, metadata='{"price": 0.10}')
    assert within(text, len(text.encode())) is text


@pytest.mark.parametrize("limit", [1_000, 3_000, 6_000])
def test_missing_is_cut_before_metadata(limit: int) -> None:
    metadata = '{"price": 0.1000000000000000055}'
    text = within(body(names=NAMES, metadata=metadata), limit)
    told = json.loads(text)
    NOTIFICATION.validate_json(text)

    assert limit - 20 < len(text.encode()) <= limit, "as much as there is room for"
    assert f'"metadata":{metadata}' in text, "as the text that it came as"
    assert told["missing"] == NAMES[: len(told["missing"])]
    assert told["missing_total"] == len(NAMES)
    assert "metadata_omitted" not in told


def test_metadata_that_leaves_no_room_is_left_out_and_said_to_be() -> None:
    text = within(body(names=NAMES[:3], metadata=json.dumps({"text": "x" * 5_000})), 1_000)
    told = json.loads(text)
    NOTIFICATION.validate_json(text)

    assert (told["metadata"], told["metadata_omitted"]) == (None, True)
    assert told["missing"] == NAMES[:3]
    assert "missing_total" not in told


def test_a_number_that_was_cut_before_stays_the_whole_number() -> None:
    text = body(names=[*NAMES, *NAMES, *NAMES], metadata=None)
    assert json.loads(within(text, 1_000))["missing_total"] == 3 * len(NAMES)


def test_a_failure_without_missing_names_gets_none() -> None:
    told = json.loads(within(body(names=None, metadata=json.dumps({"text": "x" * 5_000})), 1_000))
    assert told["error"]["code"] == "missing_sources"
    assert "missing" not in told
