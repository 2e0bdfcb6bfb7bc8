"""The source queue's channel: what it polls for, and messages that are deleted, hidden or handed back."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from archiver.errors import InvalidPayload
from archiver.worker.poller import BUSY_SECONDS
from tests.support.jobs import logged
from tests.unit.worker.conftest import NAME, URL, Consumer, message

Connect = Callable[..., Consumer]

AWAY = ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "away"}}, "Operation")


class TestPolling:
    def test_begins_with_the_consumer_and_asks_for_as_much_as_there_is_room(self, connect: Connect) -> None:
        consumer = connect()
        consumer.loop.turn()
        (poll,) = consumer.polls.started
        assert (poll["url"], poll["count"], poll["hide_seconds"], poll["wait_seconds"]) == (URL, 2, 120, 20)
        assert consumer.channel.polling

    def test_goes_on_at_once_after_each_end(self, connect: Connect) -> None:
        consumer = connect()
        for _ in range(3):
            consumer.loop.turn()
            consumer.polls.end()
            assert consumer.loop.due() == [0]
        assert len(consumer.polls.started) == 3
        assert consumer.liveness.exists()

    def test_waits_for_a_slot_and_is_alive_meanwhile(self, connect: Connect) -> None:
        # given a worker both of whose slots have a message
        consumer = connect()
        consumer.receive(message(1), message(2))
        consumer.liveness.unlink()
        # when the next poll would be due
        consumer.loop.turn()
        # then it looks again soon
        assert len(consumer.polls.started) == 1
        consumer.channel._schedule_queue(NAME)
        assert consumer.loop.due() == [BUSY_SECONDS]
        assert consumer.liveness.exists()
        # and polls once a slot is free
        consumer.taken[0].ack()
        consumer.loop.turn()
        assert consumer.polls.started[1]["count"] == 1

    def test_ends_with_the_consumer(self, connect: Connect) -> None:
        consumer = connect()
        consumer.loop.turn()
        (watch,) = consumer.loop.repeated
        consumer.channel.basic_cancel("tag")
        consumer.polls.end()
        consumer.loop.turn()
        assert len(consumer.polls.started) == 1
        assert watch.cancelled


class TestAMessage:
    def test_becomes_a_task_call(self, connect: Connect) -> None:
        consumer = connect()
        consumer.receive(message())
        (taken,) = consumer.taken
        assert taken.headers["task"] == "archiver.build_archive"
        assert consumer.channel.unsettled == 1

    def test_is_deleted_by_its_ack(self, connect: Connect) -> None:
        consumer = connect()
        consumer.receive(message())
        consumer.liveness.unlink()
        consumer.taken[0].ack()
        assert consumer.liveness.exists()
        assert consumer.sqs.calls == [("delete", {"QueueUrl": URL, "ReceiptHandle": "handle-1"})]
        assert consumer.channel.unsettled == 0
        assert consumer.channel.qos.can_consume_max_estimate() == 2

    def test_that_can_not_be_deleted_frees_its_slot(self, connect: Connect) -> None:
        consumer = connect()
        consumer.receive(message())
        consumer.liveness.unlink()
        consumer.sqs.error = AWAY
        with logged() as lines:
            consumer.taken[0].ack()
        assert not consumer.liveness.exists()
        assert [line["event"] for line in lines] == ["ack failed, the message will come back"]
        assert consumer.channel.qos.can_consume_max_estimate() == 2

    @pytest.mark.parametrize(("receives", "most"), [(1, 8), (2, 16), (3, 32), (4, 60), (9, 60)])
    def test_that_is_rejected_hides_for_a_back_off(self, connect: Connect, receives: int, most: int) -> None:
        consumer = connect()
        consumer.receive(message(receives=receives))
        consumer.taken[0].reject()
        assert most / 2 <= consumer.sqs.hidden["handle-1"] <= most
        assert [name for name, _ in consumer.sqs.calls] == ["hide"]
        assert consumer.channel.qos.can_consume_max_estimate() == 2

    @pytest.mark.parametrize(("draining", "died"), [(True, True), (True, False), (False, True)])
    def test_whose_process_died_with_the_worker_is_another_workers_at_once(
        self, connect: Connect, draining: bool, died: bool
    ) -> None:
        consumer = connect()
        consumer.receive(message())
        consumer.channel.draining = draining
        consumer.channel.basic_reject(consumer.taken[0].delivery_tag, requeue=died)
        assert (consumer.sqs.hidden["handle-1"] == 0) is (draining and died)

    def test_that_can_not_be_hidden_frees_its_slot(self, connect: Connect) -> None:
        consumer = connect()
        consumer.receive(message())
        consumer.sqs.error = AWAY
        consumer.taken[0].reject()
        assert consumer.channel.qos.can_consume_max_estimate() == 2

    def test_that_can_not_be_taken_on_is_rejected_and_the_next_one_is_taken(self, connect: Connect) -> None:
        consumer = connect()
        consumer.error = MemoryError()
        with logged() as lines:
            consumer.receive(message(1))
        assert [line["event"] for line in lines] == ["a message could not be taken on"]
        assert consumer.sqs.hidden["handle-1"] > 0
        consumer.error = None
        consumer.receive(message(2))
        assert len(consumer.taken) == 1

    def test_that_comes_after_the_connection_is_handed_back(self, connect: Connect) -> None:
        consumer = connect()
        consumer.loop.turn()
        consumer.channel.close()
        consumer.polls.end(message())
        assert consumer.sqs.hidden == {"handle-1": 0}
        assert consumer.taken == []


class TestARefusal:
    def test_is_a_task_of_its_own_for_the_same_message(self, connect: Connect) -> None:
        # given a job that remote control has ended
        consumer = connect()
        consumer.receive(message())
        (job,) = consumer.taken
        # when its message is refused
        consumer.channel.refuse(job.delivery_tag, InvalidPayload("no"), task_id="job-1")
        assert len(consumer.taken) == 1, "once the job's own end is over"
        consumer.loop.turn()
        # then the pool has it dead-lettered, and the ack is that task's
        refused = consumer.taken[1]
        assert (refused.headers["task"], refused.headers["id"]) == ("archiver.refuse_message", "job-1")
        assert consumer.channel.unsettled == 1
        assert consumer.sqs.calls == []
        refused.ack()
        assert [name for name, _ in consumer.sqs.calls] == ["delete"]
        assert consumer.channel.qos.can_consume_max_estimate() == 2

    def test_by_a_worker_that_stops_is_another_workers(self, connect: Connect) -> None:
        consumer = connect()
        consumer.receive(message())
        consumer.channel.refuse(consumer.taken[0].delivery_tag, InvalidPayload("no"), task_id="job-1")
        consumer.channel.basic_cancel("tag")
        consumer.loop.turn()
        assert consumer.sqs.hidden["handle-1"] > 0
        assert len(consumer.taken) == 1

    def test_of_what_was_handed_back_is_nothing(self, connect: Connect) -> None:
        consumer = connect()
        consumer.receive(message())
        consumer.channel.refuse(consumer.taken[0].delivery_tag, InvalidPayload("no"), task_id="job-1")
        consumer.channel.hand_back()
        consumer.loop.turn()
        assert len(consumer.taken) == 1


def test_unsettled_messages_are_handed_back_all_at_once(connect: Connect) -> None:
    consumer = connect()
    consumer.receive(message(1), message(2))
    assert consumer.channel.hand_back() == 2
    assert consumer.sqs.hidden == {"handle-1": 0, "handle-2": 0}
    assert consumer.channel.unsettled == 0
    assert consumer.channel.qos.can_consume_max_estimate() == 2
    assert consumer.channel.hand_back() == 0


def test_a_lost_connection_leaves_running_jobs_their_messages(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a job that runs
    consumer = connect()
    consumer.receive(message())
    restored: list[object] = []
    monkeypatch.setattr(consumer.channel, "_restore", restored.append)
    # when the connection is lost
    consumer.channel.close()
    # then its message stays hidden, and can still be acked
    assert restored == []
    assert consumer.sqs.calls == []
    consumer.taken[0].ack()
    assert [name for name, _ in consumer.sqs.calls] == ["delete"]
