"""What somebody probably meant by a name that does not exist: for messages, never for decisions."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

#: How alike two names must be, from 0 to 1: ``src`` and ``source`` are 0.67.
_ALIKE = 0.65
#: The shortest beginning that stands for a name.
_BEGINNING = 3
_SIGNS = re.compile(r"[^a-z0-9]")


def same(name: str, known: Iterable[str]) -> str | None:
    """The known name that is this one but for capitals and signs: ``onMissing`` is ``on_missing``."""
    return {_plain(other): other for other in known}.get(_plain(name))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: written otherwise, cut short, or mistyped; None where it is none."""
    plain = {_plain(other): other for other in known}
    sought = _plain(name)
    if sought in plain:
        return plain[sought]
    if len(sought) >= _BEGINNING:
        begun = [other for other in plain if other.startswith(sought) or sought.startswith(other)]
        if len(begun) == 1:
            return plain[begun[0]]
    alike = get_close_matches(sought, plain, n=1, cutoff=_ALIKE)
    return plain[alike[0]] if alike else None


def _plain(name: str) -> str:
    return _SIGNS.sub("", name.lower())
