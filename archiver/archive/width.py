"""How many parts are under way at once, where that is found out on the way."""

#: Parts of a shared plan that are under way at once at first, be they streamed or on their way up: few, for the reason
#: that ``parts.READING`` has.
SHARED_PARTS = 10
#: A part that took fewer seconds has not waited for others: the way is not full yet.
QUICK = 0.3
#: One that took more has waited for the others.
SLOW = 2.0


#: So many times the least width has only who moves bytes fast: then what it waits for is S3's answers.
WIDE = 2


class LastWidth:
    """How many parts of the last shared plan of this process were under way at its end."""

    def __init__(self, parts: int = SHARED_PARTS) -> None:
        self.parts = parts


class Width:
    """``least`` at first; each part that was quick lets one more in, up to ``most``, and each slow one takes one back.

    It never shrinks below ``least``: what slows parts down may be the server's own doing, and less would not help.
    With ``last`` it begins where the plan before it was wide at its end: the way to the storage is the same.
    """

    def __init__(self, least: int, most: int, *, last: LastWidth | None = None) -> None:
        self.least = least
        self.most = most
        self.now = least if last is None or last.parts < WIDE * least else min(most, last.parts)
        self._last = last

    @property
    def is_wide(self) -> bool:
        """Whether parts have turned out to be quick."""
        return self.now >= WIDE * self.least

    def took(self, seconds: float) -> None:
        """A part has taken so long. From any thread: one that is not counted is no harm."""
        if seconds < QUICK:
            self.now = min(self.most, self.now + 1)
        elif seconds > SLOW:
            self.now = max(self.least, self.now - 1)
        if self._last is not None:
            self._last.parts = self.now
