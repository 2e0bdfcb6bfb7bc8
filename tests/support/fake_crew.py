"""The crew in memory: what its members share, the queue of invitations, and helpers that a test lets work."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import archiver.archive.helper
from archiver.archive.crew import Crew
from archiver.archive.crew_plan import Invitation
from archiver.archive.helper import Help, Needless, help_build
from archiver.archive.pipeline import Services
from archiver.archive.storage import Body
from archiver.errors import QueueUnavailable, StorageUnavailable


@dataclass
class FakeCrewObjects:
    """Objects by folder and name; those of ``denied`` operations fail."""

    folders: dict[str, dict[str, bytes]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def put(self, folder: str, name: str, body: Body, *, new: bool = False) -> bool:
        with self._called("put"):
            there = self.folders.setdefault(folder, {})
            if new and name in there:
                return there[name] == bytes(body)
            there[name] = bytes(body)
            return True

    def get(self, folder: str, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        with self._called("get"):
            body = self.folders.get(folder, {}).get(name)
            return None if body is None else body[start:stop]

    def has(self, folder: str, name: str) -> bool:
        with self._called("has"):
            return name in self.folders.get(folder, {})

    def sizes(self, folder: str) -> dict[str, int]:
        with self._called("sizes"):
            return {name: len(body) for name, body in self.folders.get(folder, {}).items()}

    def delete(self, folder: str, names: Sequence[str]) -> None:
        with self._called("delete"):
            for name in names:
                self.folders.get(folder, {}).pop(name, None)

    @property
    def left(self) -> dict[str, list[str]]:
        """What is there, by folder."""
        return {folder: sorted(names) for folder, names in self.folders.items() if names}

    def _called(self, operation: str) -> threading.RLock:
        self.calls[operation] += 1
        if operation in self.denied:
            raise StorageUnavailable(f"{operation} is denied")
        return self.lock


@dataclass
class FakeCrewQueue:
    """Keeps what was sent; refuses where it is down."""

    invitations: list[Invitation] = field(default_factory=list)
    correlation_ids: set[str | None] = field(default_factory=set)
    down: bool = False
    sent: threading.Event = field(default_factory=threading.Event)

    def send(self, invitations: Sequence[Invitation], *, correlation_id: str | None) -> None:
        if self.down:
            raise QueueUnavailable("the queue is down")
        self.correlation_ids.add(correlation_id)
        self.invitations += invitations
        self.sent.set()


@dataclass
class FakeCrew:
    """A crew whose builder does, before its first chunk and while it waits, what a test says; time goes by waiting."""

    objects: FakeCrewObjects = field(default_factory=FakeCrewObjects)
    queue: FakeCrewQueue = field(default_factory=FakeCrewQueue)
    at_first: Callable[[], object] = lambda: None
    while_waiting: Callable[[], object] = lambda: None
    now: float = 1000.0
    waits: int = 0

    def crew(self, min_weight: int = 1) -> Crew:
        return Crew(_Hooked(self), self.queue, min_weight, clock=lambda: self.now, wait=self._wait)

    def _wait(self, _: threading.Event, seconds: float) -> bool:
        self.waits += 1
        self.now += seconds
        self.while_waiting()
        return False


class _Hooked:
    """The objects as the builder sees them: before it claims its first chunk the test has its turn."""

    def __init__(self, fake: FakeCrew) -> None:
        self._fake = fake
        self._begun = False
        self._dead: BaseException | None = None
        self._lock = threading.Lock()

    def put(self, folder: str, name: str, body: Body, *, new: bool = False) -> bool:
        if new:
            with self._lock:  # claims come from several threads
                if not self._begun:
                    self._begun = True
                    try:
                        self._fake.at_first()
                    except BaseException as error:
                        self._dead = error
                if self._dead is not None:
                    raise self._dead
        return self._fake.objects.put(folder, name, body, new=new)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fake.objects, name)


def helper(services: Services, fake: FakeCrew, **changes: Any) -> Services:
    """The services of another worker."""
    values: dict[str, Any] = {"crew": Crew(fake.objects, fake.queue, 1)} | changes
    return replace(services, **values)


def help_with(services: Services, invitation: Invitation, *, redelivered: bool = False) -> Help | None:
    """What a helper makes of an invitation; None where there is nothing for it to do."""
    try:
        return help_build(invitation, services=services, redelivered=redelivered)
    except Needless:
        return None


def with_turns_of_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever helps builds one chunk for an invitation."""
    monkeypatch.setattr(archiver.archive.helper, "TURN", 1)
    monkeypatch.setattr(archiver.archive.helper, "TURN_SECONDS", 0.0)
