"""Celery's events as `archiver watch` reads them."""

import base64
import json
from typing import Any

import pytest

from archiver.monitoring import events as module
from archiver.monitoring.events import decode, listening
from archiver.monitoring.monitor import Monitor
from archiver.monitoring.naming import EVENTS
from archiver.settings import Settings
from tests.unit.monitoring.messaging import NAMES, Messaging, refuse, text

STARTED = {"type": "task-started", "uuid": "1"}
DONE = {"type": "task-succeeded", "uuid": "1", "result": "ü"}


def message(body: Any, *, encoded: bool) -> dict[str, Any]:
    written = json.dumps(body, ensure_ascii=False)
    if not encoded:
        return {"body": written, "properties": {}}
    return {"body": base64.b64encode(written.encode()).decode(), "properties": {"body_encoding": "base64"}}


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize(("body", "events"), [(DONE, [DONE]), ([STARTED, DONE], [STARTED, DONE]), ([], [])])
def test_a_message_holds_one_event_or_several(body: Any, events: list[Any], encoded: bool) -> None:
    assert decode(message(body, encoded=encoded)) == events


@pytest.fixture
def settings(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(module, "process_monitor", lambda **_: monitor)
    return Settings.model_construct(monitoring_prefix=NAMES.prefix, sqs_source_queue="source", aws_region=None)


def test_whoever_listens_hears_events_and_silence(monitor: Monitor, settings: Settings) -> None:
    with listening(settings, tick_seconds=0.01) as events:
        assert next(events) is None

        for event in (STARTED, DONE):
            monitor.publish(EVENTS, text(EVENTS, body=json.dumps(event)))

        heard = (event for event in events if event is not None)
        assert [next(heard), next(heard)] == [STARTED, DONE]


def test_whoever_stops_listening_keeps_nothing(monitor: Monitor, settings: Settings) -> None:
    with listening(settings, tick_seconds=0.01) as events:
        next(events)

    assert not monitor._queues


def test_whoever_can_not_listen_is_told(messaging: Messaging, settings: Settings) -> None:
    messaging.trouble = refuse

    with pytest.raises(Exception, match="ServiceUnavailable"), listening(settings):
        pass
