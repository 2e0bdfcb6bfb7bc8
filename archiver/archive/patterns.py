"""Which objects below a prefix a payload takes: globs over the path below it.

``*`` is any run of characters but ``/``, ``?`` one character but ``/``, ``[abc]``, ``[a-z]`` and ``[!a]`` one of a set;
``**`` as a whole segment is any number of segments, none included. Case counts, and a pattern covers the whole path:
``*.jpg`` is what lies directly below the prefix, ``**/*.jpg`` at any depth. A segment is matched by the standard
library's fnmatch, whose expressions don't backtrack over their stars, and segments in one pass: no pattern, however
hostile, takes more than its own length times the path's.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field

#: Longest pattern in characters: a key has as many bytes.
MAX_PATTERN = 1024
#: Patterns of one element of ``files``.
MAX_PATTERNS = 100

_Segment = Callable[[str], object]
#: In place of ``**``.
_ANY_DEPTH = None


def _pattern(value: str) -> str:
    if value.startswith("/") or value.endswith("/") or "//" in value:
        raise ValueError("an empty segment: a pattern is a path below the prefix, of an object and not of a folder")
    return value


Patterns = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MAX_PATTERN), AfterValidator(_pattern)]],
    Field(min_length=1, max_length=MAX_PATTERNS),
]


@dataclass(frozen=True, slots=True)
class Selection:
    """What matches a pattern of ``include``, where there is any, and none of ``exclude``."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def takes(self, path: str) -> bool:
        """Whether the object with this path below the prefix is taken."""
        segments = path.split("/")
        if self.include and not any(_matches(_compiled(pattern), segments) for pattern in self.include):
            return False
        return not any(_matches(_compiled(pattern), segments) for pattern in self.exclude)


@lru_cache(maxsize=4 * MAX_PATTERNS)
def _compiled(pattern: str) -> tuple[_Segment | None, ...]:
    return tuple(
        _ANY_DEPTH if segment == "**" else re.compile(translate(segment)).match for segment in pattern.split("/")
    )


def _matches(pattern: Sequence[_Segment | None], segments: Sequence[str]) -> bool:
    """Whether all segments match, in one pass: where they stop to, the last ``**`` takes one more of them."""
    at = step = 0
    retry_at = retry_step = -1
    while at < len(segments):
        if step < len(pattern):
            matches = pattern[step]
            if matches is _ANY_DEPTH:
                retry_at, retry_step = at, step + 1
                step += 1
                continue
            if matches(segments[at]):
                at += 1
                step += 1
                continue
        if retry_step < 0:
            return False
        retry_at += 1
        at, step = retry_at, retry_step
    return all(rest is _ANY_DEPTH for rest in pattern[step:])
