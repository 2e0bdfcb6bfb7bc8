"""The kombu envelope that makes a letter one Celery task call: what Celery gets, value by value (pure).

Source: Celery's message protocol, version 2.
"""

import json
from typing import Any

from archiver.aws.letters import Letter
from archiver.errors import PermanentError

BUILD_TASK = "archiver.build_archive"
REFUSE_TASK = "archiver.refuse_message"
CHUNK_TASK = "archiver.build_chunk"

#: The Celery message header that carries the letter, as a plain dict, from the worker's process into its pool.
LETTER_HEADER = "archiver_letter"


def envelope(
    letter: Letter,
    queue: str,
    *,
    task: str,
    args: list[str],
    argsrepr: str,
    task_id: str,
    timelimit: tuple[int | None, int | None],
    parent_id: str | None = None,
) -> dict[str, Any]:
    """A call of ``task`` with ``args``; ``timelimit`` is the hard and the soft limit, in seconds.

    ``parent_id`` is the job that the call is a part of, where it is one.
    """
    return {
        "body": json.dumps([args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {
            "lang": "py",
            "task": task,
            "id": task_id,
            "root_id": parent_id or task_id,
            "parent_id": parent_id,
            "group": None,
            "shadow": None,
            "eta": None,
            "expires": None,
            "retries": max(0, letter.receive_count - 1),  # what monitoring shows; Celery itself retries nothing here
            "timelimit": list(timelimit),
            "argsrepr": argsrepr,
            "kwargsrepr": "",
            "origin": "",
            LETTER_HEADER: letter.as_dict(),
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": "",
            "priority": 0,
            "body_encoding": "utf-8",
            "delivery_tag": letter.tag,
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }


def refusal(letter: Letter, queue: str, error: PermanentError, *, task_id: str) -> dict[str, Any]:
    """The kombu envelope that dead-letters a message with its reason."""
    return envelope(
        letter,
        queue,
        task=REFUSE_TASK,
        args=[error.code, error.message],
        argsrepr=error.code,
        task_id=task_id,
        timelimit=(None, None),
    )
