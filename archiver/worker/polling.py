"""kombu's asynchronous SQS connection, made fit for polling without end.

As kombu has it, a request has no timeout, a client error raises inside the event loop's callback and a server
error yields a value that its own caller can't read: after each of them polling stops for good, in silence. Here a
poll always ends, within its time, and its end is always a ``Poll``.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pycurl
from kombu.asynchronous.aws.connection import AsyncHTTPSConnection
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from vine import promise

#: What a poll may take beyond its long poll, in seconds.
GRACE_SECONDS = 15
CONNECT_TIMEOUT_SECONDS = 5
OK = 200


@dataclass(frozen=True, slots=True)
class Poll:
    """How a poll ended: messages in boto3's shape, or what went wrong."""

    messages: tuple[dict[str, Any], ...] = ()
    error: str | None = None
    code: str | None = None


class PollConnection(AsyncSQSConnection):
    """Receives messages; every answer, and every lack of one, reaches the callback as a ``Poll``."""

    def receive(
        self, queue_url: str, *, count: int, hide_seconds: int, wait_seconds: int, callback: Callable[[Poll], None]
    ) -> None:
        """Start one ReceiveMessage. Raises only where it could not be started."""
        self._seconds = wait_seconds + GRACE_SECONDS
        self.receive_message(
            queue_url,
            queue_url,
            number_messages=count,
            visibility_timeout=hide_seconds,
            wait_time_seconds=wait_seconds,
            callback=promise(callback),
        )

    def get_http_connection(self) -> AsyncHTTPSConnection:
        return _BoundedConnection(self._httpclient, seconds=self._seconds, ca_bundle=self._ca_bundle())

    def _ca_bundle(self) -> str | None:
        # AWS_CA_BUNDLE and ca_bundle of the profile, as the client resolved them.
        verify = getattr(self.sqs_connection._endpoint.http_session, "_verify", None)
        return verify if isinstance(verify, str) else None

    def _on_list_ready(self, parent: Any, markers: Any, operation: Any, response: Any) -> Poll:
        try:
            if response.status == OK:
                if not isinstance(json.loads(response.read() or b""), dict):
                    raise ValueError("the answer is no JSON object")
                answer = super()._on_list_ready(parent, markers, operation, response)
                return Poll(tuple(answer.get("Messages") or ()))
            return _failure(response.status, response.read(), response.reason)
        except Exception as error:
            # A page of some gateway, say: botocore would read it as an empty answer, and we would ask again at once.
            # Raising would end in the event loop.
            return Poll(error=f"unreadable answer: {error!r}")


class _BoundedConnection(AsyncHTTPSConnection):
    """One request that ends in time, whatever the other side does."""

    def __init__(self, http_client: Any, *, seconds: int, ca_bundle: str | None) -> None:
        super().__init__(timeout=seconds, http_client=http_client)
        self._ca_bundle = ca_bundle

    def getrequest(self) -> Any:
        request = super().getrequest()
        request.ca_certs = self._ca_bundle or request.ca_certs
        request.follow_redirects = False
        request.on_prepare = self._bound
        return request

    def _bound(self, curl: Any) -> None:
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.CONNECTTIMEOUT, CONNECT_TIMEOUT_SECONDS)
        curl.setopt(pycurl.TIMEOUT, int(self.timeout))


def _failure(status: int, body: bytes | None, reason: object) -> Poll:
    try:
        answer = json.loads(body or b"")
        code = str(answer.get("__type", "")).rsplit("#", 1)[-1]
        return Poll(error=f"HTTP {status} {code}: {answer.get('message') or answer.get('Message')}", code=code)
    except (ValueError, AttributeError):
        return Poll(error=f"HTTP {status} {reason or (body or b'')[:200]!r}".strip())
