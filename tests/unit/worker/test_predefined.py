"""Where the predefined queues are: looked up once, and never declared."""

from collections.abc import Callable

from tests.unit.worker.conftest import NAME, URL, Consumer

Connect = Callable[..., Consumer]


def test_a_queue_is_looked_up_by_its_name_once_and_again_when_it_is_gone(connect: Connect) -> None:
    consumer = connect(url=NAME)
    for _ in range(2):
        consumer.loop.turn()
        consumer.polls.end()
    assert consumer.sqs.calls == [("url", {"QueueName": NAME})]
    assert consumer.polls.started[0]["url"] == URL
    # when it was deleted, it may come again under another URL
    consumer.loop.turn()
    consumer.polls.end(error="HTTP 400", code="QueueDoesNotExist")
    consumer.loop.turn()
    assert [name for name, _ in consumer.sqs.calls] == ["url", "url"]


def test_the_source_queue_is_not_declared(connect: Connect) -> None:
    consumer = connect()
    assert consumer.channel.queue_declare(NAME).queue == NAME
    assert consumer.sqs.calls == []
