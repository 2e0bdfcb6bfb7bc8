"""How a request came: one message may be delivered more than once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a request: ``sent_at`` in seconds since the epoch.

    ``attempt`` counts from 1, without the ``hand_backs``: earlier deliveries that were handed back unfinished.
    """

    request_id: str
    sent_at: float
    correlation_id: str | None = None
    message_id: str | None = None
    attempt: int = 1
    hand_backs: int = 0

    @property
    def redelivered(self) -> bool:
        """Whether an earlier delivery may have left something."""
        return self.attempt + self.hand_backs > 1
