"""The health check of the container."""

import os
import time
from pathlib import Path

import pytest

from tests.support.command import run


@pytest.fixture
def alive(tmp_path: Path) -> Path:
    path = tmp_path / "alive"
    path.touch()
    return path


def aged(path: Path, seconds: float) -> dict[str, str]:
    """The settings of a worker whose last poll was so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return {"LIVENESS_FILE": str(path), "LIVENESS_SECONDS": "60"}


def test_a_worker_that_has_just_polled_is_healthy(alive: Path) -> None:
    outcome = run("health", environment=aged(alive, 50))

    assert outcome.exit_code == 0
    assert outcome.stdout == "healthy: last poll 50 s ago, limit 60 s\n"


def test_a_worker_that_stopped_polling_is_not(alive: Path) -> None:
    outcome = run("health", environment=aged(alive, 70))

    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert outcome.complaint == "unhealthy: last poll 70 s ago, limit 60 s"


def test_a_worker_that_never_polled_is_not(tmp_path: Path) -> None:
    outcome = run("health", environment={"LIVENESS_FILE": str(tmp_path / "none")})

    assert outcome.exit_code == 1
    assert outcome.complaint.startswith("unhealthy: there is no ")


def test_json_says_the_same(alive: Path) -> None:
    outcome = run("health", "--json", environment=aged(alive, 70))

    assert outcome.exit_code == 1
    assert outcome.json["healthy"] is False
    assert outcome.json["age_seconds"] == pytest.approx(70, abs=2)
    assert outcome.json["limit_seconds"] == 60


def test_no_other_setting_needs_to_be_valid(alive: Path) -> None:
    assert run("health", environment=aged(alive, 1) | {"PART_SIZE_MIB": "x"}).exit_code == 0


def test_a_bad_limit_is_named(alive: Path) -> None:
    outcome = run("health", environment=aged(alive, 1) | {"LIVENESS_SECONDS": "soon"})

    assert outcome.exit_code == 2
    assert outcome.complaint.startswith("error: LIVENESS_SECONDS='soon': ")
