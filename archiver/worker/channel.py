"""The kombu transport of the source queue, by overriding what kombu's own gets wrong for this service.

- every message becomes a task call (``decode``), so that none can stop the worker;
- polling never ends: each poll's end, good or bad, schedules the next one, and a watch restarts a lost one;
- a reject never deletes and never republishes: it hides the message for a back-off, and SQS counts the receives;
- handing a message back costs it no attempt: a record of it is what a later receive is counted with;
- a job that Celery ends (a time limit, a revoke) is refused: its message goes to a task that dead-letters it;
- an ack needs no more than the receipt handle, so that it works after a lost connection, too.

Beside the source queue there may be the crew's (``turns`` says when it is polled). What is received from it is built or
dropped: it has no attempts, no dead letters, and a reject shows it again at once.

It applies to the queues of ``predefined_queues``, whose ``url`` may be a plain name, too, looked up when first
needed: the queue may come into being after the worker. Other queues, where there are any, are kombu's business.
"""

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from kombu.asynchronous import set_event_loop
from kombu.transport import virtual
from kombu.transport.SQS import Channel as KombuChannel
from kombu.transport.SQS import Transport as KombuTransport

from archiver.aws.clients import PROMPT, new_client
from archiver.aws.hand_backs import HandBacks
from archiver.aws.letters import Letter
from archiver.aws.queues import NO_QUEUE, Queue, queue_name
from archiver.errors import PermanentError, QueueUnavailable
from archiver.logs import get_logger
from archiver.text import redacted
from archiver.worker import liveness
from archiver.worker.backoff import backoff_seconds
from archiver.worker.decode import decode
from archiver.worker.envelope import LETTER_HEADER, refusal
from archiver.worker.invitations import chunk_call
from archiver.worker.polling import GRACE_SECONDS, Poll, PollConnection
from archiver.worker.turns import Line, chunks_wanted

log = get_logger(__name__)

#: Between two looks for a free slot while all are busy, in seconds.
BUSY_SECONDS = 0.2
#: Between two looks whether a poll got lost, in seconds.
WATCH_SECONDS = 5.0
#: The longest pause after failed polls, in seconds.
MAX_PAUSE_SECONDS = 30.0

SYSTEM_ATTRIBUTES = ("ApproximateReceiveCount", "MessageGroupId", "SentTimestamp")
MESSAGE_ATTRIBUTES = ("All",)


class Channel(KombuChannel):
    """A channel of the source queue."""

    # At a close kombu would show every unacked message again, also those whose jobs go on: drain.py hands back.
    do_restore = False

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        options = connection.client.transport_options
        self._backoff_base: int = options.get("backoff_base_seconds", 10)
        self._backoff_cap: int = options.get("backoff_cap_seconds", 900)
        self._max_body_bytes: int = options.get("max_body_bytes", 1024 * 1024)
        self._max_attempts: int = options.get("max_attempts", 5)
        self._hand_backs = HandBacks(options.get("hand_backs_bucket"), region=options.get("region"))
        self._crew: str | None = options.get("crew_queue")
        self._liveness_file: str | None = options.get("liveness_file")
        self.draining = False
        self._letters: dict[str, Letter] = {}
        self._clients: dict[str, Any] = {}
        self._lines: dict[str, Line] = {}
        super().__init__(connection, **kwargs)

    # Queues and clients.

    def _is_source(self, queue: str | None) -> bool:
        return queue in self.predefined_queues

    def _is_chunk(self, letter: Letter) -> bool:
        return self._crew is not None and queue_name(letter.queue_url) == self._crew

    def _line(self, queue: str) -> Line:
        if queue not in self._lines:
            self._lines[queue] = Line(time.monotonic())
        return self._lines[queue]

    def _update_queue_cache(self, queue_name_prefix: str) -> None:
        if not self.predefined_queues:
            super()._update_queue_cache(queue_name_prefix)

    def _resolve_queue_url(self, queue: str) -> str:
        if not self._is_source(queue):
            return str(super()._resolve_queue_url(queue))
        url: str | None = self._queue_cache.get(queue)
        if url is None:
            url = self.predefined_queues[queue]["url"]
            url = Queue(self.sqs(queue), url).url
            self._queue_cache[queue] = url
        return url

    def queue_declare(self, queue: str | None = None, passive: bool = False, **kwargs: Any) -> Any:
        """Nothing to do for a queue that others create, and no reason to fail where they have not yet."""
        if self._is_source(queue):
            return virtual.base.queue_declare_ok_t(queue, 0, 0)  # type: ignore[attr-defined]  # amqp's, imported there
        return super().queue_declare(queue=queue, passive=passive, **kwargs)

    def sqs(self, queue: str | None = None) -> Any:
        """The queue's client; it outlives the connection, so that a job that outlives it can still be acked."""
        key = queue or ""
        if key not in self._clients:
            url = self.predefined_queues.get(queue, {}).get("url", "") if queue else ""
            self._clients[key] = new_client(
                "sqs", timeouts=PROMPT, queue=url, region=self.transport_options.get("region")
            )
        return self._clients[key]

    def asynsqs(self, queue: str | None = None) -> Any:
        if not self._is_source(queue):
            return super().asynsqs(queue)
        known = self._predefined_queue_async_clients
        if queue not in known:
            known[queue] = PollConnection(
                self.sqs(queue),
                message_system_attribute_names=list(SYSTEM_ATTRIBUTES),
                message_attribute_names=list(MESSAGE_ATTRIBUTES),
            )
        return known[queue]

    @property
    def get_message_attributes(self) -> dict[str, list[str]]:
        return {
            "MessageSystemAttributeNames": list(SYSTEM_ATTRIBUTES),
            "MessageAttributeNames": list(MESSAGE_ATTRIBUTES),
        }

    # Receiving.

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        if self.hub and self._is_source(queue):
            self._line(queue).watch = self.hub.call_repeatedly(WATCH_SECONDS, self._watch, queue)
        return super().basic_consume(queue, *args, **kwargs)

    def basic_cancel(self, consumer_tag: str) -> Any:
        queue = self._tag_to_queue.get(consumer_tag)
        if queue is not None and self._is_source(queue) and (watch := self._line(queue).watch):
            watch.cancel()
        return super().basic_cancel(consumer_tag)

    def _schedule_queue(self, queue: str) -> None:
        """Poll now, or look again soon while every slot is busy, or jobs go first."""
        if not self._is_source(queue):
            super()._schedule_queue(queue)
            return
        line = self._line(queue)
        line.last_turn = time.monotonic()
        if self.closed or queue not in self._active_queues or line.started is not None:
            return
        count = self._wanted(queue)
        if count:
            self._start_poll(queue, count)
        else:
            self._alive(queue)
            self._schedule_in(BUSY_SECONDS, queue)

    def _wanted(self, queue: str) -> int:
        """How many messages there is room for."""
        if not self.qos.can_consume():
            return 0
        if queue != self._crew:
            return int(self._get_message_estimate())
        jobs = next((each for each in self._active_queues if each != queue and self._is_source(each)), None)
        if jobs is None:
            return 0
        if self._line(jobs).started is None and not self._line(jobs).failures:
            self._schedule_queue(jobs)
        return chunks_wanted(
            self._line(jobs),
            now=time.monotonic(),
            slots=self.qos.prefetch_count,
            free=self.qos.can_consume_max_estimate() or 0,
            held=sum(self._is_chunk(letter) for letter in self._letters.values()),
        )

    def _schedule_in(self, seconds: float, queue: str) -> None:
        line = self._line(queue)
        if line.next_poll is not None:
            line.next_poll.cancel()
        assert self.hub is not None
        line.next_poll = self.hub.call_later(seconds, self._schedule_queue, queue)

    def _start_poll(self, queue: str, count: int) -> None:
        ended = partial(self._poll_ended, queue, self._line(queue).start(time.monotonic()))
        try:
            url = self._resolve_queue_url(queue)
            self.asynsqs(queue).receive(
                url,
                count=count,
                hide_seconds=self.visibility_timeout,
                wait_seconds=self.wait_time_seconds,
                callback=partial(ended, url),
            )
        except Exception as error:
            # No credentials, no such queue yet, no network: for the next poll to find out.
            ended("", Poll(error=error.message if isinstance(error, QueueUnavailable) else repr(error)))

    def _poll_ended(self, queue: str, number: int, url: str, poll: Poll) -> None:
        line = self._line(queue)
        self._receive(queue, url, poll.messages)
        if number != line.number:
            return  # given up by the watch, which has started another one
        failures = line.failures
        line.end(time.monotonic(), messages=len(poll.messages), failed=poll.error is not None)
        if poll.error is None:
            if failures:
                log.info("polling works again", queue=queue, failures=failures)
            self._alive(queue)
            pause = 0.0
        else:
            pause = min(MAX_PAUSE_SECONDS, 2.0 ** min(line.failures - 1, 5)) * (0.5 + random.random() / 2)  # noqa: S311 jitter
            if line.is_news(poll.code or poll.error or "", time.monotonic()):
                log.warning(
                    "polling failed, going on",
                    queue=queue,
                    error=poll.error,
                    failures=line.failures,
                    seconds=round(pause, 1),
                )
            if poll.code in NO_QUEUE:
                self._forget(queue)
        self._schedule_in(pause, queue)

    def _forget(self, queue: str) -> None:
        if self.connection is not None:
            self._queue_cache.pop(queue, None)

    def _watch(self, queue: str) -> None:
        """Whatever else goes wrong: a poll whose end never came, or had no successor, is replaced."""
        most = self.wait_time_seconds + GRACE_SECONDS + MAX_PAUSE_SECONDS
        if queue in self._active_queues and time.monotonic() - self._line(queue).last_turn > most:
            log.error("a poll got lost, starting another one", queue=queue)
            self._line(queue).started = None
            self._schedule_queue(queue)

    def _receive(self, queue: str, url: str, messages: Iterable[dict[str, Any]]) -> None:
        deliver = self._consumer(queue)
        for message in messages:
            letter = Letter.from_message(message, url)
            if deliver is None:
                log.info("received after the stop, handed back", sqs_message_id=letter.message_id)
                self._show([self._counted(letter)])
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
            self._show([letter])  # jobs that came meanwhile have the slots
        else:
            self._letters[letter.tag] = letter
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
        letter = self._counted(Letter.from_dict(envelope["headers"][LETTER_HEADER]))
        envelope["headers"][LETTER_HEADER] = letter.as_dict()
        self._letters[letter.tag] = letter
        return envelope

    def _counted(self, letter: Letter) -> Letter:
        """The letter with its hand-backs; a first receive needs no look for them, and a chunk has no attempts."""
        if letter.receive_count <= 1 or self._is_chunk(letter):
            return letter
        return replace(letter, hand_backs=self._hand_backs.of(letter))

    # Settling.

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Delete the message. Where that fails it comes back, finds its archive and is acked again."""
        letter = self._letters.pop(delivery_tag, None)
        if letter is None:
            super().basic_ack(delivery_tag, multiple)
            return
        try:
            self._take_off(letter)
        finally:
            virtual.Channel.basic_ack(self, delivery_tag)
            self._look_for_chunks()

    def _take_off(self, letter: Letter) -> None:
        queue = queue_name(letter.queue_url)
        try:
            self.sqs(queue).delete_message(QueueUrl=letter.queue_url, ReceiptHandle=letter.receipt_handle)
            self._alive(queue)
        except (ClientError, BotoCoreError) as error:
            log.error("ack failed, the message will come back", sqs_message_id=letter.message_id, error=repr(error))

    def _look_for_chunks(self) -> None:
        """A slot is free: at once, for a chunk takes no more than seconds itself."""
        if self.hub and self._crew in self._active_queues:
            self.hub.call_soon(self._schedule_queue, self._crew)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Hide the message for a back-off; the last attempt's was dead-lettered by its task."""
        letter = self._letters.pop(delivery_tag, None)
        if letter is None:
            super().basic_reject(delivery_tag, requeue)
            return
        if self._is_chunk(letter):
            self._hide(letter, 0)
            virtual.Channel.basic_ack(self, delivery_tag)
            return
        seconds = backoff_seconds(letter.attempt, base=self._backoff_base, cap=self._backoff_cap, random=random.random)
        try:
            if requeue and self.draining:
                # A process that died with the worker's SIGTERM, as in a process group: another worker may have it.
                self._show([letter])
            else:
                self._hide(letter, seconds)
        finally:
            virtual.Channel.basic_ack(self, delivery_tag)

    def is_last_attempt(self, delivery_tag: str) -> bool:
        """Whether the message has no attempt left after the present one; not so while stopping: it is handed back."""
        letter = self._letters.get(delivery_tag)
        if letter is None or self.draining or self._is_chunk(letter):
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
        letters = [letter for letter in self._letters.values() if not chunks_only or self._is_chunk(letter)]
        for letter in letters:
            del self._letters[letter.tag]
        self._show(letters)
        for letter in letters:
            virtual.Channel.basic_ack(self, letter.tag)
        return len(letters)

    @property
    def unsettled(self) -> int:
        """Messages received and neither acked nor rejected."""
        return len(self._letters)

    @property
    def polling(self) -> bool:
        """Whether a poll is under way."""
        return any(line.started is not None for line in self._lines.values())

    def _show(self, letters: Sequence[Letter]) -> None:
        """Hand the messages back: first the records, since each may be received again at once."""
        self._hand_backs.note([letter for letter in letters if not self._is_chunk(letter)])
        for letter in letters:
            self._hide(letter, 0)

    def _hide(self, letter: Letter, seconds: int) -> None:
        try:
            self.sqs(queue_name(letter.queue_url)).change_message_visibility(
                QueueUrl=letter.queue_url, ReceiptHandle=letter.receipt_handle, VisibilityTimeout=seconds
            )
        except (ClientError, BotoCoreError) as error:
            # Already deleted (a dead letter), or not reachable: then its visibility timeout brings it back.
            log.debug("visibility not changed", error=repr(error), seconds=seconds)

    def _alive(self, queue: str) -> None:
        # Of a worker that gets no jobs any more chunks are no sign of life.
        if self._liveness_file and queue != self._crew:
            liveness.touch(self._liveness_file)


class Transport(KombuTransport):
    """The transport of ``broker_transport``."""

    Channel = Channel
    # A client error, too, means: connect again. Without it one at the wrong moment ends the worker.
    connection_errors = (*KombuTransport.connection_errors, ClientError)  # type: ignore[assignment]  # one longer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Of the instance alone: by the class's kombu decides who takes broker_url apart, which has nothing to tell.
        self.can_parse_url = True

    def as_uri(self, *_: Any, **__: Any) -> str:
        """Where messages come from, as "Connected to", Flower and `inspect stats` name it: the endpoint and the queues.

        kombu's own would be made of ``broker_url``, which names neither.
        """
        options: Any = getattr(self.client, "transport_options", {})
        queues = options.get("predefined_queues", {})
        first = next(iter(queues.values()), {"url": None})
        try:
            client = new_client("sqs", timeouts=PROMPT, queue=first["url"], region=options.get("region"))
        except (BotoCoreError, ValueError) as error:
            return f"SQS ({error})"
        return f"{redacted(client.meta.endpoint_url)}, queue {', '.join(queues)}"

    def register_with_event_loop(self, _: Any, loop: Any) -> None:
        """Give every channel the loop. A lost connection resets it, and kombu forgets it: none would poll again."""
        set_event_loop(loop)
        for channel in self.channels:
            channel.hub = loop
