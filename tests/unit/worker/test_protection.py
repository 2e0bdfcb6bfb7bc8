"""Task protection, against an agent on loopback: on, renewed, given back, and no trouble where there is none."""

import threading
from collections.abc import Iterator

import pytest
import structlog

from archiver.worker.protection import EXPIRES_MINUTES, LINGER_SECONDS, RENEW_SECONDS, RETRY_SECONDS, Protection
from tests.support.ecs_agent import EcsAgent

ON = {"ProtectionEnabled": True, "ExpiresInMinutes": EXPIRES_MINUTES}
OFF = {"ProtectionEnabled": False}


class Task:
    """A task whose jobs and clock a test sets."""

    def __init__(self, url: str) -> None:
        self.now = 0.0
        self.busy = False
        self.protection = Protection(url, busy=lambda: self.busy, clock=lambda: self.now)

    def look(self, *, busy: bool, after: float = 0) -> None:
        self.busy = busy
        self.now += after
        self.protection.look()


@pytest.fixture
def agent() -> Iterator[EcsAgent]:
    with EcsAgent() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def task(agent: EcsAgent) -> Task:
    return Task(agent.url)


def test_it_is_on_while_a_job_runs_and_off_a_while_afterwards(agent: EcsAgent, task: Task) -> None:
    task.look(busy=False)
    assert agent.asked == []
    task.look(busy=True)
    task.look(busy=True, after=RENEW_SECONDS - 1)
    assert agent.asked == [ON]
    # a next job within a short while changes nothing
    task.look(busy=False)
    task.look(busy=True)
    assert agent.asked == [ON]
    task.look(busy=False)
    task.look(busy=False, after=LINGER_SECONDS)
    task.look(busy=False, after=RENEW_SECONDS)
    assert agent.asked == [ON, OFF]


def test_it_is_renewed_long_before_it_ends(agent: EcsAgent, task: Task) -> None:
    task.look(busy=True)
    task.look(busy=True, after=RENEW_SECONDS)
    assert agent.asked == [ON, ON]
    assert 2 * RENEW_SECONDS < EXPIRES_MINUTES * 60


def test_a_stop_gives_it_back(agent: EcsAgent, task: Task) -> None:
    task.protection.stop()
    assert agent.asked == []
    task.look(busy=True)
    task.protection.stop()
    assert agent.asked == [ON, OFF]


@pytest.mark.parametrize(
    "answer",
    [(400, {"error": {"Code": "AccessDeniedException"}}), (200, {"failure": {"Reason": "TASK_NOT_VALID"}})],
)
def test_a_refusal_costs_a_line_and_is_asked_again_in_time(
    agent: EcsAgent, task: Task, answer: tuple[int, dict[str, object]]
) -> None:
    agent.answer = answer
    with structlog.testing.capture_logs() as logged:
        task.look(busy=True)
        task.look(busy=True, after=RETRY_SECONDS / 2)
    (line,) = logged
    assert (line["log_level"], agent.asked) == ("warning", [ON])
    assert next(iter(answer[1].values()))["Code" if answer[0] == 400 else "Reason"] in line["error"]  # type: ignore[index]
    agent.answer = None
    task.look(busy=True, after=RETRY_SECONDS / 2)
    task.protection.stop()
    assert agent.asked == [ON, ON, OFF]


def test_no_agent_is_no_end_of_the_world() -> None:
    task = Task("http://127.0.0.1:1/api")
    task.look(busy=True)
    task.protection.stop()
