"""A real worker asks a stand-in of ECS's agent for protection while it works, and gives it back when it drains."""

import signal
import threading
from collections.abc import Callable

import pytest

from devtools.processes import wait_until
from devtools.worker import Worker
from tests.conftest import Desk
from tests.integration.conftest import Journal, command
from tests.support.ecs_agent import EcsAgent

pytestmark = pytest.mark.localstack


def test_a_worker_protects_its_task_until_it_has_drained(
    obedient: Callable[..., Worker], desk: Desk, journal: Journal
) -> None:
    with EcsAgent() as agent:
        threading.Thread(target=agent.serve_forever, daemon=True).start()
        # given a worker without work
        worker = obedient(ECS_AGENT_URI=agent.url, SOFT_SHUTDOWN_SECONDS="1")
        assert agent.asked == []
        # when a job runs
        desk.send(command("sleep", seconds=60))
        journal.wait("begin")
        # then its task is protected
        assert wait_until(lambda: len(agent.asked) == 1, seconds=10)
        assert agent.asked[0]["ProtectionEnabled"] is True
        # and no longer once the job is handed back
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(15) == 0
        assert [asked["ProtectionEnabled"] for asked in agent.asked] == [True, False]
        agent.shutdown()
