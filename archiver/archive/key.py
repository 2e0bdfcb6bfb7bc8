"""The archive's key: its one form, made and recognised here."""

import hashlib
import json
import re
from datetime import UTC, datetime

from archiver.errors import InvalidPayload


def archive_key(canonical: str, *, request_id: str, sent_at: float, prefix: str) -> str:
    """The archive's key: the same for each delivery of one message, and unguessable without its id and payload.

    ``canonical`` is the payload's ``canonical_json``; ``sent_at`` is in seconds since the epoch; the date is UTC's.
    """
    digest = hashlib.sha256(f"{request_id}\n{canonical}".encode()).hexdigest()
    return f"{digest}/{prefix}-{datetime.fromtimestamp(sent_at, UTC):%Y-%m-%d}.zip"


def archive_key_pattern(prefix: str) -> re.Pattern[str]:
    """What ``archive_key`` makes with this prefix, behind whatever prefix the payload asked for, and nothing else."""
    return re.compile(rf"(?s:.*)[0-9a-f]{{64}}/{re.escape(prefix)}-\d{{4}}-\d\d-\d\d(?:-\d{{1,3}})?\.zip")


# What ``archive_key`` makes with any prefix: it may have been another one when the archive was built.
_ARCHIVE = re.compile(r"(?s:.*)[0-9a-f]{64}/[^/]+-\d{4}-\d\d-\d\d(?:-\d{1,3})?\.zip")


def is_archive_key(key: str) -> bool:
    """Whether ``archive_key`` has made this key, or could have; a payload's prefix may stand before it."""
    return _ARCHIVE.fullmatch(key) is not None


def canonical_json(value: object) -> str:
    """One text for equal JSON values, whatever the order of their keys. Raises ``InvalidPayload`` at a great depth."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    except RecursionError:
        raise InvalidPayload("the payload is nested too deeply") from None
