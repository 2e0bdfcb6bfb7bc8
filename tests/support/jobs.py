"""Jobs on the in-memory S3: services to run them with, sources with plausible contents, and archives read back."""

import io
import json
import random
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import structlog
from structlog.testing import LogCapture
from structlog.types import EventDict

from archiver.archive.build import Options
from archiver.archive.destination import Destinations
from archiver.archive.notification import Message
from archiver.archive.pipeline import Delivery, Services
from archiver.archive.resolve import Limits
from archiver.archive.width import SHARED_PARTS, WIDE, LastWidth
from archiver.errors import QueueUnavailable, StorageUnavailable
from tests.support.fake_s3 import MIB, FakeS3

SOURCES = "source-images"
ARCHIVES = "zip-storage"
SENT_AT = 1_790_000_000.0

#: Small enough for quick tests, wide enough for parts to overtake each other.
OPTIONS = Options(part_size=5 * MIB, parts_in_flight=3, memory=30 * MIB, read_concurrency=4, copy_concurrency=4)


@cache
def _noise_of(seed: int) -> bytes:
    return random.Random(seed).randbytes(4 * MIB)


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not shrink; cheap even by the mebibyte, and other ones for each of some hundred seeds."""
    block = _noise_of(0)[seed * 1009 : seed * 1009 + min(size, 3 * MIB)] or b"\0"
    return (block * (size // len(block) + 1))[:size]


def text(size: int) -> bytes:
    """Bytes that do shrink."""
    lines = b"".join(b"%d,2026-11-%02d,delivered,%d\n" % (n, n % 28 + 1, n * 7919 % 10_007) for n in range(20_000))
    return (lines * (size // len(lines) + 1))[:size]


def link(bucket: str, key: str, seconds: int | None) -> str:
    """A link without a signature's randomness."""
    host = "archives" if bucket == ARCHIVES else bucket
    life = f"X-Amz-Expires={seconds}&" if seconds else ""
    return f"https://{host}.example/{key}?{life}X-Amz-Signature=secret"


@dataclass
class FakeNotifier:
    """Keeps what was sent; refuses where the queue is down."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    news: list[str] = field(default_factory=list)
    correlation_ids: list[str | None] = field(default_factory=list)
    down: bool = False

    def send(self, message: Message, *, correlation_id: str | None) -> None:
        if self.down:
            raise QueueUnavailable("the queue is down")
        body = json.loads(message.body)
        assert (body["request_id"], body["status"]) == (message.request_id, message.status)
        self.sent.append(body)
        self.news.append(message.news)
        self.correlation_ids.append(correlation_id)


@dataclass
class FakeCheckpoints:
    """Checkpoints in memory, or a bucket that denies them."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    denied: bool = False

    def load(self, name: str) -> bytes | None:
        self._called("load")
        return self.bodies.get(name)

    def save(self, name: str, body: bytes) -> None:
        self._called("save")
        self.bodies[name] = body

    def _called(self, operation: str) -> None:
        self.calls.append(operation)
        if self.denied:
            raise StorageUnavailable("AccessDenied")


def of_quick_parts(options: Options) -> Options:
    """The same, of a process whose last shared plan was wide at its end."""
    return replace(options, parts_in_flight=WIDE * SHARED_PARTS, last_width=LastWidth(WIDE * SHARED_PARTS))


def services(
    s3: FakeS3, *, notifier: FakeNotifier | None = None, options: Options = OPTIONS, **changes: Any
) -> Services:
    """What a job works with, on the in-memory S3."""
    s3.create_bucket(SOURCES)
    s3.create_bucket(ARCHIVES)
    values: dict[str, Any] = {
        "sources": s3.objects,
        "archives": lambda bucket, traffic: s3.archives(bucket)(traffic),
        "destinations": Destinations(ARCHIVES),
        "link": link,
        "notifier": notifier,
        "options": options,
        "limits": Limits(max_files=1000, max_archive_bytes=1 << 40),
        "source_bucket": SOURCES,
        "file_prefix": "download",
    }
    return Services(**values | changes)


def delivery(attempt: int = 1, *, request_id: str = "request-1", correlation_id: str | None = None) -> Delivery:
    return Delivery(request_id=request_id, sent_at=SENT_AT, correlation_id=correlation_id, attempt=attempt)


def files(*sources: str) -> dict[str, Any]:
    return {"files": [{"source": source} for source in sources]}


def unzipped(archive: bytes) -> dict[str, bytes]:
    """What an independent reader finds, every CRC32 checked."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for info in opened.infolist():
            assert zlib.crc32(opened.read(info)) == info.CRC
        names = opened.namelist()
        assert len(names) == len(set(names))
        return {name: opened.read(name) for name in names}


@contextmanager
def logged() -> Iterator[list[EventDict]]:
    """The log's lines while the block runs; context variables included."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, capture],
        cache_logger_on_first_use=False,
    )
    try:
        yield capture.entries
    finally:
        structlog.configure(**before)
