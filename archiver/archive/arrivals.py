"""Which entries S3 has all bytes of, as parts of a plan arrive in any order."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence

from archiver.archive.plan import Part
from archiver.zipformat.layout import Layout


class Arrivals:
    """Counts entries; from any thread. What the layout has before the plan's first part is there already."""

    def __init__(self, layout: Layout, plan: Sequence[Part]) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        # Parts that are missing of each entry that does not lie within one.
        self._missing = Counter(entry for part in plan for entry in self._cut(part))

    def arrived(self, part: Part) -> int:
        """How many entries are complete with this part, which arrives once."""
        first, behind = self._touched(part)
        cut = list(self._cut(part))
        complete = behind - first - len(cut)
        with self._lock:
            for entry in cut:
                self._missing[entry] -= 1
                complete += not self._missing[entry]
        return complete

    def _touched(self, part: Part) -> tuple[int, int]:
        """The first entry of which bytes lie in the part, and the one behind the last."""
        last = self._layout.find(part.stop - 1)
        return self._layout.find(part.start), min(last + 1, len(self._layout.entries))

    def _cut(self, part: Part) -> Iterator[int]:
        """Entries that lie in the part, but not all of them: the first and the last at most."""
        first, behind = self._touched(part)
        for entry in {first, behind - 1} if first < behind else ():
            if self._layout.header_offset(entry) < part.start or self._layout.data_end(entry) > part.stop:
                yield entry
