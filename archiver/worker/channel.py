"""The kombu channel of the source queue, by overriding what kombu's own gets wrong for this service.

- every message becomes a task call (``decode``), so that none can stop the worker;
- polling never ends (``poller``);
- a reject never deletes and never republishes: it hides the message for a back-off, and SQS counts the receives;
- handing a message back costs it no attempt: a record of it is what a later receive is counted with;
- a job that Celery ends (a time limit, a revoke) is refused: its message goes to a task that dead-letters it;
- an ack needs no more than the receipt handle (``unsettled``), so that it works after a lost connection, too.

Beside the source queue there may be the crew's (``turns`` says when it is polled). What is received from it is built or
dropped: it has no attempts, no dead letters, and a reject shows it again at once.

It applies to the queues of ``predefined_queues``; other queues, where there are any, are kombu's business.
"""

import random
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from kombu.transport import virtual

from archiver.aws.hand_backs import HandBacks
from archiver.aws.letters import Letter
from archiver.aws.queues import queue_name
from archiver.errors import PermanentError
from archiver.logs import get_logger
from archiver.worker import liveness
from archiver.worker.backoff import backoff_seconds
from archiver.worker.decode import decode
from archiver.worker.envelope import LETTER_HEADER, refusal
from archiver.worker.invitations import chunk_call
from archiver.worker.poller import Poller
from archiver.worker.polling import Poll
from archiver.worker.predefined import PredefinedQueues
from archiver.worker.turns import chunks_wanted
from archiver.worker.unsettled import Unsettled

log = get_logger(__name__)


class Channel(PredefinedQueues):
    """A channel of the source queue."""

    # At a close kombu would show every unacked message again, also those whose jobs go on: drain.py hands back.
    do_restore = False

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        options = connection.client.transport_options
        self._backoff_base: int = options.get("backoff_base_seconds", 10)
        self._backoff_cap: int = options.get("backoff_cap_seconds", 900)
        self._max_body_bytes: int = options.get("max_body_bytes", 1024 * 1024)
        self._max_attempts: int = options.get("max_attempts", 5)
        self._crew: str | None = options.get("crew_queue")
        self._liveness_file: str | None = options.get("liveness_file")
        self.draining = False
        self._pollers: dict[str, Poller] = {}
        self._letters = Unsettled(
            self.sqs,
            hand_backs=HandBacks(options.get("hand_backs_bucket"), region=options.get("region")),
            crew=self._crew,
        )
        super().__init__(connection, **kwargs)

    # Polling: what a ``Poller`` asks of its channel.

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        if self.hub and self._is_source(queue):
            self._poller(queue).watch()
        return super().basic_consume(queue, *args, **kwargs)

    def basic_cancel(self, consumer_tag: str) -> Any:
        queue = self._tag_to_queue.get(consumer_tag)
        if queue is not None and self._is_source(queue):
            self._poller(queue).unwatch()
        return super().basic_cancel(consumer_tag)

    def _poller(self, queue: str) -> Poller:
        if queue not in self._pollers:
            self._pollers[queue] = Poller(queue, self)
        return self._pollers[queue]

    def _schedule_queue(self, queue: str) -> None:
        if self._is_source(queue):
            self._poller(queue).turn()
        else:
            super()._schedule_queue(queue)

    @property
    def polling(self) -> bool:
        """Whether a poll is under way."""
        return any(poller.is_out for poller in self._pollers.values())

    def is_consumed(self, queue: str) -> bool:
        return not self.closed and queue in self._active_queues

    def room(self, queue: str) -> int:
        """How many messages there is a slot for, jobs first."""
        if not self.qos.can_consume():
            return 0
        if queue != self._crew:
            return int(self._get_message_estimate())
        jobs = next((each for each in self._active_queues if each != queue and self._is_source(each)), None)
        if jobs is None:
            return 0
        poller = self._poller(jobs)
        if not poller.is_out and not poller.line.failures:
            poller.turn()
        return chunks_wanted(
            poller.line,
            now=time.monotonic(),
            slots=self.qos.prefetch_count,
            free=self.qos.can_consume_max_estimate() or 0,
            held=self._letters.chunks,
        )

    def start_poll(self, queue: str, count: int, ended: Callable[[str, Poll], None]) -> None:
        url = self._resolve_queue_url(queue)
        self.asynsqs(queue).receive(
            url,
            count=count,
            hide_seconds=self.visibility_timeout,
            wait_seconds=self.wait_time_seconds,
            callback=partial(ended, url),
        )

    def alive(self, queue: str) -> None:
        # Of a worker that gets no jobs any more chunks are no sign of life.
        if self._liveness_file and queue != self._crew:
            liveness.touch(self._liveness_file)

    # Receiving.

    def receive(self, queue: str, url: str, messages: Iterable[dict[str, Any]]) -> None:
        """Hand messages to the consumer; those that come after the stop are handed back."""
        deliver = self._consumer(queue)
        for message in messages:
            letter = Letter.from_message(message, url)
            if deliver is None:
                log.info("received after the stop, handed back", sqs_message_id=letter.message_id)
                self._letters.show([self._letters.counted(letter)])
                continue
            if queue == self._crew:
                self._receive_chunk(letter, deliver)
                continue
            try:
                deliver(self._message_to_python(message, queue, url))
            except Exception:
                log.exception("a message could not be taken on", sqs_message_id=letter.message_id)
                self.basic_reject(letter.tag)

    def _receive_chunk(self, letter: Letter, deliver: Any) -> None:
        call = chunk_call(letter, queue_name(letter.queue_url))
        if isinstance(call, str):
            log.warning("an invitation is dropped", sqs_message_id=letter.message_id, reason=call)
            self._take_off(letter)
        elif not self.qos.can_consume():
            self._letters.show([letter])  # jobs that came meanwhile have the slots
        else:
            self._letters.add(letter)
            try:
                deliver(call)
            except Exception:
                log.exception("an invitation could not be taken on", sqs_message_id=letter.message_id)
                self.basic_reject(letter.tag)

    def _consumer(self, queue: str) -> Any:
        """What takes the queue's messages; None while stopping, and once the connection is lost."""
        return self.connection._callbacks.get(queue) if self.connection is not None else None

    def _message_to_python(self, message: dict[str, Any], queue_name: str, q_url: str) -> Any:
        if not self._is_source(queue_name):
            return super()._message_to_python(message, queue_name, q_url)
        envelope = decode(
            message, queue=queue_name, queue_url=q_url, max_body_bytes=self._max_body_bytes, now=time.time()
        )
        letter = self._letters.counted(Letter.from_dict(envelope["headers"][LETTER_HEADER]))
        envelope["headers"][LETTER_HEADER] = letter.as_dict()
        self._letters.add(letter)
        return envelope

    # Settling.

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Delete the message. Where that fails it comes back, finds its archive and is acked again."""
        letter = self._letters.pop(delivery_tag)
        if letter is None:
            super().basic_ack(delivery_tag, multiple)
            return
        try:
            self._take_off(letter)
        finally:
            virtual.Channel.basic_ack(self, delivery_tag)
            self._look_for_chunks()

    def _take_off(self, letter: Letter) -> None:
        if self._letters.delete(letter):
            self.alive(queue_name(letter.queue_url))

    def _look_for_chunks(self) -> None:
        """A slot is free: at once, for a chunk takes no more than seconds itself."""
        if self.hub and self._crew in self._active_queues:
            self.hub.call_soon(self._schedule_queue, self._crew)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Hide the message for a back-off; the last attempt's was dead-lettered by its task."""
        letter = self._letters.pop(delivery_tag)
        if letter is None:
            super().basic_reject(delivery_tag, requeue)
            return
        if self._letters.is_chunk(letter):
            self._letters.hide(letter, 0)
            virtual.Channel.basic_ack(self, delivery_tag)
            return
        seconds = backoff_seconds(letter.attempt, base=self._backoff_base, cap=self._backoff_cap, random=random.random)
        try:
            if requeue and self.draining:
                # A process that died with the worker's SIGTERM, as in a process group: another worker may have it.
                self._letters.show([letter])
            else:
                self._letters.hide(letter, seconds)
        finally:
            virtual.Channel.basic_ack(self, delivery_tag)

    def is_last_attempt(self, delivery_tag: str) -> bool:
        """Whether the message has no attempt left after the present one; not so while stopping: it is handed back."""
        letter = self._letters.get(delivery_tag)
        if letter is None or self.draining or self._letters.is_chunk(letter):
            return False
        return letter.attempt >= self._max_attempts

    def refuse(self, delivery_tag: str, error: PermanentError, *, task_id: str) -> None:
        """Have a message that was taken on dead-lettered, with ``error`` as the reason, by a task in the pool.

        Where the worker no longer takes tasks on, the message is rejected, to be judged anew.
        """
        if self.hub:
            self.hub.call_soon(self._refuse, delivery_tag, error, task_id)  # once the job's own end is over
        else:
            self._refuse(delivery_tag, error, task_id)

    def _refuse(self, delivery_tag: str, error: PermanentError, task_id: str) -> None:
        letter = self._letters.get(delivery_tag)
        if letter is None:
            return  # handed back meanwhile
        queue = queue_name(letter.queue_url)
        deliver = self._consumer(queue)
        if deliver is None:
            self.basic_reject(delivery_tag)
            return
        virtual.Channel.basic_ack(self, delivery_tag)  # the same message again, for another task
        deliver(refusal(letter, queue, error, task_id=task_id))

    def hand_back(self, *, chunks_only: bool = False) -> int:
        """Show every unacked message again at once, at no cost of an attempt; returns how many there were."""
        letters = self._letters.pop_all(chunks_only=chunks_only)
        self._letters.show(letters)
        for letter in letters:
            virtual.Channel.basic_ack(self, letter.tag)
        return len(letters)

    @property
    def unsettled(self) -> int:
        """Messages received and neither acked nor rejected."""
        return len(self._letters)
