"""What libcurl is told of one transfer after the other by the same handle."""

from typing import Any

import pycurl
import pytest

from archiver.aws.handles import Handle, HttpSettings
from archiver.aws.transfer import Transfer


class RecordingCurl:
    """Stands where pycurl's handle is, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Any]] = []

    def setopt(self, option: int, value: Any) -> None:
        self.told.append((option, value))

    def getinfo(self, _: int) -> int:
        return 200


def test_a_transfer_may_be_silent_for_longer_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycurl.Curl", RecordingCurl)
    handle = Handle("PUT", HttpSettings(connect_seconds=5, silent_seconds=60), lambda _: None)
    patience = [[value for option, value in handle.curl.told if option == pycurl.LOW_SPEED_TIME]]

    # Given transfers that the handle takes, of which two say for how long,
    for silent in (None, 900, 900, None, None):
        handle.curl.told.clear()
        handle.load(Transfer("PUT", "http://127.0.0.1:1/", [], lambda _: None, silent_seconds=silent))
        patience.append([value for option, value in handle.curl.told if option == pycurl.LOW_SPEED_TIME])
        handle.unload()

    # then libcurl is told so where it knows otherwise.
    assert patience == [[60], [], [900], [], [60], []]
