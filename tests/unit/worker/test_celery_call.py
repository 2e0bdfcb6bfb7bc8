"""Celery calls from other services: which are a job, with what of their options, and why the others are refused."""

import base64
import json
from typing import Any

import pytest

from archiver.worker.envelope import LETTER_HEADER, REFUSE_TASK
from tests.support.envelopes import (
    MESSAGE_ID,
    NOW,
    PAYLOAD,
    assert_builds,
    celery_v1,
    celery_v2,
    decoded,
    outer,
    refusal,
)


class TestAccepted:
    @pytest.mark.parametrize("wrap", [outer, json.dumps], ids=["base64", "plain"])
    @pytest.mark.parametrize(
        "envelope",
        [
            celery_v2(),
            celery_v2([], {"payload": PAYLOAD}),
            celery_v2(encoding="utf-8"),
            celery_v1(),
            celery_v1(args=[], kwargs={"payload": PAYLOAD}),
            celery_v1(utc=True, taskset=None, retries=0, callbacks=None),
        ],
        ids=["v2", "v2-kwargs", "v2-utf8", "v1", "v1-kwargs", "v1-full"],
    )
    def test_a_celery_call_keeps_its_id(self, envelope: dict[str, Any], wrap: Any) -> None:
        result = decoded(wrap(envelope))
        assert_builds(result)
        assert result["headers"]["id"] == "celery-id"

    @pytest.mark.parametrize("task_id", [None, 7, "", "x" * 300, "line\nbreak", ["a"]])
    def test_a_celery_id_that_is_none_gives_way_to_the_messages(self, task_id: object) -> None:
        assert decoded(outer(celery_v2(id=task_id)))["headers"]["id"] == MESSAGE_ID

    @pytest.mark.parametrize("limits", [None, [None, None], [60, None], [None, 1], [43_200, 43_200], [60.0, 30]])
    def test_time_limits_in_whole_seconds_are_passed_on(self, limits: Any) -> None:
        for envelope in (celery_v2(timelimit=limits), celery_v1(timelimit=limits)):
            passed = decoded(outer(envelope))["headers"]["timelimit"]
            assert passed == (limits or [None, None])
            assert all(limit is None or type(limit) is int for limit in passed)

    def test_of_a_calls_options_celery_gets_no_other_one(self) -> None:
        options: dict[str, Any] = {
            "shadow": "x", "retries": 10**400, "group": "g", "group_index": -1, "replaced_task_nesting": 10**9,
            "stamped_headers": ["a"], "stamps": {"a": "b"}, "ignore_result": False, "parent_id": "p", "root_id": "r",
            "argsrepr": "secret", "kwargsrepr": "secret", "origin": "o", "meth": "m", "lang": "ruby",
        }  # fmt: skip
        plain, adorned = decoded(outer(celery_v2())), decoded(outer(celery_v2(**options)))
        del plain["headers"][LETTER_HEADER], adorned["headers"][LETTER_HEADER]
        assert adorned == plain

    def test_what_is_due_is_done_and_what_has_not_expired_too(self) -> None:
        past, future = "2026-01-01T00:00:00+00:00", "2099-01-01T00:00:00"
        assert_builds(decoded(outer(celery_v2(eta=past, expires=future))))
        assert_builds(decoded(outer(celery_v2(expires=NOW + 1))))


class TestRefused:
    @pytest.mark.parametrize(
        ("envelope", "code"),
        [
            (celery_v2(task="os.system"), "unknown_task"),
            (celery_v2(task=REFUSE_TASK), "unknown_task"),
            (celery_v2(task=None), "unknown_task"),
            (celery_v1(task=["x"]), "unknown_task"),
            (celery_v2([]), "invalid_payload"),
            (celery_v2([PAYLOAD, 1]), "invalid_payload"),
            (celery_v2([PAYLOAD], {"payload": PAYLOAD}), "invalid_payload"),
            (celery_v2([], {"load": PAYLOAD}), "invalid_payload"),
            (celery_v2(["text"]), "invalid_payload"),
            (celery_v2("text"), "invalid_payload"),
            (celery_v2() | {"body": "no base64!"}, "unreadable_message"),
            (celery_v2() | {"body": base64.b64encode(b"\xff").decode()}, "unreadable_message"),
            (celery_v2() | {"body": base64.b64encode(b"[1]").decode()}, "unreadable_message"),
            (celery_v2() | {"headers": [1]}, "unreadable_message"),
            (celery_v2() | {"headers": {}}, "unreadable_message"),
            (celery_v2() | {"content-type": "application/x-python-serialize"}, "unsupported_call"),
            (celery_v2() | {"content-type": None}, "unsupported_call"),
            (celery_v2(compression="application/x-gzip"), "unsupported_call"),
            (celery_v2(eta="2099-01-01T00:00:00"), "unsupported_call"),
            (celery_v2(eta="tomorrow"), "unsupported_call"),
            (celery_v2(eta={"a": 1}), "unsupported_call"),
            (celery_v2(eta=10**400), "unsupported_call"),
            (celery_v2(expires=True), "unsupported_call"),
            (celery_v2(timelimit=[10**400, None]), "unsupported_call"),
            (celery_v2(timelimit=[None, 10**400]), "unsupported_call"),
            (celery_v2(timelimit=[1e308, None]), "unsupported_call"),
            (celery_v2(timelimit=[43_201, None]), "unsupported_call"),
            (celery_v2(timelimit=[1e-9, None]), "unsupported_call"),
            (celery_v2(timelimit=[0.001, None]), "unsupported_call"),
            (celery_v2(timelimit=[1.5, None]), "unsupported_call"),
            (celery_v2(timelimit=[0, None]), "unsupported_call"),
            (celery_v2(timelimit=[-1, None]), "unsupported_call"),
            (celery_v2(timelimit=[True, None]), "unsupported_call"),
            (celery_v2(timelimit=["1", {}]), "unsupported_call"),
            (celery_v2(timelimit=[1]), "unsupported_call"),
            (celery_v2(timelimit=60), "unsupported_call"),
            (celery_v2(timelimit=[10, 11]), "unsupported_call"),
            (celery_v1(timelimit=[10**400, None]), "unsupported_call"),
            (celery_v2(expires="2020-01-01T00:00:00+00:00"), "message_expired"),
            (celery_v2(expires=NOW - 1), "message_expired"),
            (celery_v2(embed={"callbacks": [{"task": "x"}]}), "unsupported_call"),
            (celery_v2(embed={"chord": {"task": "x"}}), "unsupported_call"),
            (celery_v1(errbacks=[1]), "unsupported_call"),
        ],
    )
    def test_what_is_no_call_of_ours(self, envelope: dict[str, Any], code: str) -> None:
        assert refusal(decoded(outer(envelope)))[0] == code

    def test_a_reason_quotes_little(self) -> None:
        assert len(refusal(decoded(outer(celery_v2(task="x" * 10_000))))[1]) < 200

    def test_a_refused_limit_is_named(self) -> None:
        reason = refusal(decoded(outer(celery_v2(timelimit=[0.001, None]))))[1]
        assert reason == "time_limit='0.001' is no whole number of seconds from 1 to 43200"
        reason = refusal(decoded(outer(celery_v2(timelimit=[None, 10**400]))))[1]
        assert reason.startswith("soft_time_limit='1000")
        assert len(reason) < 200

    @pytest.mark.parametrize("make", [celery_v1, celery_v2])
    def test_a_refused_call_keeps_its_id(self, make: Any) -> None:
        envelope = decoded(outer(make(expires=NOW - 1)))
        assert refusal(envelope)[0] == "message_expired"
        assert envelope["headers"]["id"] == "celery-id"
