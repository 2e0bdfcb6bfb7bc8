"""A real worker asks a stand-in of ECS's agent for protection while it works, and gives it back when it drains."""

import signal
import threading
from collections.abc import Callable

import pytest

from devtools.worker import Worker
from tests.conftest import StackClient
from tests.integration.conftest import Journal, command
from tests.support.ecs_agent import EcsAgent
from tests.support.waiting import eventually

pytestmark = pytest.mark.localstack


def test_a_worker_protects_its_task_until_it_has_drained(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    with EcsAgent() as agent:
        threading.Thread(target=agent.serve_forever, daemon=True).start()
        # given a worker without work
        worker = scripted_worker(ECS_AGENT_URI=agent.url, SOFT_SHUTDOWN_SECONDS="1")
        assert agent.asked == []
        # when a job runs
        client.send(command("hold"))
        journal.wait("begin")
        # then its task is protected
        assert eventually(lambda: len(agent.asked) == 1)
        assert agent.asked[0]["ProtectionEnabled"] is True
        # and no longer once the job is handed back
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(15) == 0
        assert [asked["ProtectionEnabled"] for asked in agent.asked] == [True, False]
        agent.shutdown()
