"""The age of the file is the age of the last sign of life."""

import os
import time
from pathlib import Path

from archiver.worker.liveness import age, touch


def test_without_a_sign_of_life_there_is_no_age(tmp_path: Path) -> None:
    assert age(tmp_path / "alive") is None


def test_a_touch_makes_it_young_again(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    touch(path)
    os.utime(path, (0, time.time() - 100))
    assert 99 < (age(path) or 0) < 110
    touch(path)
    assert (age(path) or 0) < 10


def test_a_place_that_can_not_be_written_does_not_stop_the_work(tmp_path: Path) -> None:
    touch(tmp_path / "missing" / "alive")
