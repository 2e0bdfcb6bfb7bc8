"""A fake of SNS and SQS for each test, and no pauses."""

from collections.abc import Iterator

import pytest

from archiver.monitoring import inbox, outbox
from archiver.monitoring.monitor import Monitor
from tests.unit.monitoring.messaging import Messaging


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(inbox, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(outbox, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def messaging() -> Messaging:
    return Messaging()


@pytest.fixture
def monitor(messaging: Messaging) -> Iterator[Monitor]:
    monitor = messaging.monitor()
    yield monitor
    messaging.trouble = lambda operation: None
    monitor.close()
