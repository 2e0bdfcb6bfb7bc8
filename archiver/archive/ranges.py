"""Where the keys below a prefix may be divided, so that pages of their listing are read side by side. No I/O.

A page's token comes with the page before it, but a page can begin behind any key, one that does not exist as well. So
what lies behind the first page is divided at guesses. A guess is a key of which some character, at its *level*, has
moved on, and what follows it is as high as it gets: behind ``2026/01/17.jpg`` comes ``2026/01/99.jpg`` or, two levels
up, ``2026/09/99.jpg``. Which characters a level has, and at which level pages differ, the pages show.

A guess that meets nothing costs a request. So each level is tried with one guess, and with more as these meet keys; and
all guesses together waste no more than a handful and half of what the pages bring. Whatever is guessed, the ranges
together are the whole, and each of them is listed to its end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile, zip_longest
from string import ascii_lowercase, ascii_uppercase, digits

#: Guesses that may meet nothing before any has met a page.
HANDFUL = 6
#: Guesses that each page earns that is full of what is new.
EARNED = 0.5
#: Guesses at a level where keys were seen to differ, before any has been made there, and where guesses went well.
CROSSED, MOST_TRUST = 2, 16
#: Levels that are tried at a time, each farther than the one before, where nobody knows how far the keys go.
LEVELS = 3
#: Bytes of the longest key: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MOST_BYTES = 1024


@dataclass(slots=True, eq=False)
class Range:
    """The keys behind ``after`` up to ``upto`` itself (None: to the last), in S3's order, that of their UTF-8.

    ``level`` is where ``after`` was guessed, ``behind`` the range that begins at ``upto``. ``first`` and ``last`` are
    the keys that pages have shown in the range, ``beyond`` is the first that they have shown behind it.
    """

    after: str
    upto: str | None = None
    level: int | None = None
    behind: "Range | None" = None
    first: str | None = None
    last: str | None = None
    beyond: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page has shown of its range: ``kept`` of its ``listed`` objects lie there, from ``first`` to ``last``.

    ``beyond`` is the key behind these; ``more``: pages follow.
    """

    first: str | None
    last: str | None
    beyond: str | None
    kept: int
    listed: int
    more: bool

    @property
    def use(self) -> float:
        """The part of the page that its range has use for."""
        return self.kept / self.listed if self.listed else 0.0


class Ranges:
    """How the keys below one prefix are divided. What it decides follows from the pages alone, in their order."""

    def __init__(self, prefix: str) -> None:
        self._start = len(prefix)
        self._alphabets: _Alphabets | None = None
        self._trust: dict[int, int] = {}
        self._failed: set[int] = set()
        self._earned = float(HANDFUL)
        #: The first of the ranges; each knows the one behind it.
        self.head = Range("")

    def __iter__(self) -> Iterator[Range]:
        at: Range | None = self.head
        while at is not None:
            yield at
            at = at.behind

    @property
    def learnt(self) -> bool:
        """Whether there are keys to guess from."""
        return self._alphabets is not None

    def learn(self, keys: Sequence[str]) -> None:
        """Take the shape of the keys from those of the first page."""
        self._alphabets = _Alphabets(keys, self._start)

    def shown(self, at: Range, page: Shown, *, room: int) -> list[Range]:
        """The ranges to ask a page of next, in order, now that one has come: the same where it goes on, and new ones.

        ``room`` is how many may be asked. Where no keys were learnt from, there are no new ones.
        """
        self._judge(at, page)
        if page.first is not None:
            at.first = page.first if at.first is None else at.first
            at.last = page.last
        at.beyond = page.beyond
        if at.beyond is not None or not page.more or (at.upto is not None and at.last == at.upto):
            return []
        return [at, *self._divided(at, page, room - 1)]

    def is_whole(self) -> bool:
        """Whether each range, listed to its end, begins with the very key that the one before it has ended at.

        Where it does not, the bucket has changed meanwhile, or a server answers as S3 does not: be it in another order,
        in which keys may lie in none of the ranges.
        """
        expected: str | None = None
        ended = False
        for at in self:
            begin = at.beyond if at.first is None else at.first
            fits = begin is None if ended else expected in (None, begin)
            if not fits:
                return False
            expected = at.beyond
            ended = expected is None and (at.last is None or at.last != at.upto)
        return expected is None

    def _judge(self, at: Range, page: Shown) -> None:
        """Count what a page was good for, towards guesses in general and those of its range's level."""
        self._earned += EARNED * page.use
        if at.level is None or at.last is not None:
            self._earned -= 1 - page.use  # the end of a range, which would be the next one's were it not for the guess
            return
        self._earned += page.use
        trust = self._trust.get(at.level, 1)
        if page.use >= 0.5:
            self._trust[at.level] = min(MOST_TRUST, 2 * trust)
        else:
            self._trust[at.level] = trust // 2
            self._failed.add(at.level)

    def _divided(self, at: Range, page: Shown, room: int) -> list[Range]:
        """New ranges, cut from what is left of one."""
        if self._alphabets is None or page.first is None or page.last is None:
            return []
        self._alphabets.add(page.last)
        most = min(room, int(self._earned))
        cuts = dict(islice(self._cuts(at, page.first, page.last), max(0, most)))
        self._earned -= len(cuts)
        new = []
        for after in sorted(cuts, reverse=True):
            at.behind = Range(after, at.upto, cuts[after], at.behind)
            at.upto = after
            new.append(at.behind)
        return new[::-1]

    def _cuts(self, at: Range, first: str, last: str) -> Iterator[tuple[str, int]]:
        """Where what lies behind ``last`` in a range may be divided, the best first, with the level of each."""
        firm = _is_met(at.behind)
        deepest = min(_shared(first, last), len(last) - 1)
        # It has just been seen that keys differ there.
        self._trust[deepest] = max(CROSSED, self._trust.get(deepest, 1))
        coarsest = self._start if at.upto is None else _shared(last, at.upto)
        levels = range(coarsest, deepest + 1)
        trusted = [level for level in levels if firm or self._trust.get(level, 1) > 1]
        # How far the last range goes nobody knows: level by level a guess goes farther, where the one before was good.
        untried = [level for level in reversed(levels) if level not in trusted][:LEVELS]
        found: set[str] = set()
        for level in [*trusted, *untried]:
            most = MOST_TRUST if firm and level not in self._failed else self._trust.get(level, 1)
            cuts = self._level(first, last, level, upto=at.upto if level == coarsest else None, skips=level == deepest)
            fresh = (cut for cut in cuts if cut > last and (at.upto is None or cut < at.upto) and cut not in found)
            for cut in islice(fresh, most):
                found.add(cut)
                yield cut, level

    def _level(self, first: str, last: str, level: int, *, upto: str | None, skips: bool) -> Iterator[str]:
        """The guesses at one level, in order; with ``skips`` only as close as pages reach."""
        assert self._alphabets is not None
        letters = self._alphabets.at(level)
        begin = letters.index(last[level])
        left = len(letters) - 1 if upto is None else max(letters.find(upto[level : level + 1]), begin)
        left -= begin
        reach = max(1, begin - letters.find(first[level : level + 1])) if skips else 1
        parts = -(-left // reach)
        end = self._alphabets.highest(last, level + 1)
        for part in range(0 if reach == 1 else 1, parts):
            cut = last[:level] + letters[begin + left * part // parts] + end
            if len(cut.encode()) <= MOST_BYTES:
                yield cut


def _is_met(at: Range | None) -> bool:
    """Whether there are keys in this range, or in one behind it, as far as is known."""
    while at is not None and at.first is None:
        at = at.behind
    return at is not None


def _shared(one: str, other: str) -> int:
    """How many characters two texts have in common at their start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


class _Alphabets:
    """The characters that keys have at each level: those that were seen, and those that belong to them."""

    def __init__(self, keys: Sequence[str], start: int) -> None:
        self._start = start
        self._seen = [set(column) - {""} for column in zip_longest(*(key[start:] for key in keys), fillvalue="")]
        self._all: list[str] = []
        behind: set[str] = set()
        for seen in reversed(self._seen):
            # A number's first digits have hardly moved in a page: what its last ones show holds for them, too.
            behind = _completed(seen) | (behind if seen <= behind else set())
            self._all.append("".join(sorted(behind)))
        self._all.reverse()

    def add(self, key: str) -> None:
        """Take in one more key."""
        for place, letter in enumerate(key[self._start :]):
            if place == len(self._all):
                self._all.append("")
                self._seen.append(set())
            self._seen[place].add(letter)
            if letter not in self._all[place]:
                self._all[place] = "".join(sorted({*self._all[place], *_completed({letter})}))

    def at(self, level: int) -> str:
        """The characters at a level, in order."""
        return self._all[level - self._start]

    def highest(self, key: str, level: int) -> str:
        """From a level on, the highest that is to be expected of keys of this one's length and shape."""
        return "".join(map(self._highest, range(level - self._start, len(key) - self._start)))

    def _highest(self, place: int) -> str:
        seen = self._seen[place]
        # One letter alone is part of a name, one digit that of a number.
        return min(seen) if len(seen) == 1 and not seen & set(digits) else self._all[place][-1]


def _completed(seen: set[str]) -> set[str]:
    """Characters and those of their kind: digits, digits of hexadecimal numbers, letters of one case."""
    whole = set(seen)
    if seen & set(digits):
        whole |= set(digits)
    for letters in (ascii_lowercase, ascii_uppercase):
        if own := seen & set(letters):
            is_hex = own <= set(letters[:6]) and seen & set(digits)
            whole |= set(letters[:6] if is_hex else letters)
    return whole
