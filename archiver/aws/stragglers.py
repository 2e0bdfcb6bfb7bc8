"""Reads whose answer is overdue: how long it may take, and how many requests may be made a second time, to hedge them.

Amazon S3 advises to track slow requests and to retry them on another connection, where the slowest hold all up:
https://docs.aws.amazon.com/whitepapers/latest/s3-optimizing-performance-best-practices/timeouts-and-retries-for-latency-sensitive-applications.html
The first request stays under way, and the first whole answer counts: the second may be slow, too, and what is overdue
is often nearly there. Dean and Barroso call that hedged requests (The Tail at Scale, 2013).
"""

#: Larger reads, in bytes, are asked for once: most of their time is their content's.
MOST_BYTES = 512 * 1024
#: No answer is overdue sooner, in seconds; S3's median is some 20 ms.
FLOOR = 0.06
#: So many answers tell what is usual.
ENOUGH = 32
#: For so many answers one request may be made a second time: 2 %.
ANSWERS_A_HEDGE = 50
#: So many second requests can be saved up for the end of many reads. Each holds its content beside the target.
MOST_SAVED = 20
#: RFC 6298 weighs a sample by 1/8, for one in a round trip. Where there are more, each weighs as much less (RFC 7323,
#: appendix G): 64 in a round trip are half of the reads that a job has under way.
_MEMORY = 8 * 64


class Stragglers:
    """What one lane's small reads took, and its budget; for the lane's thread alone."""

    __slots__ = ("_credit", "_mean", "_samples", "_variation")

    def __init__(self) -> None:
        self._credit = self._samples = 0
        self._mean = self._variation = 0.0

    def answered(self, seconds: float) -> None:
        """A read has its answer. Not for one that was asked for twice: what it would have taken is not known.

        As a retransmission timer has it, Karn's algorithm included: https://www.rfc-editor.org/rfc/rfc6298
        """
        if self._credit < MOST_SAVED * ANSWERS_A_HEDGE:
            self._credit += 1
        samples = self._samples
        if samples < _MEMORY:
            self._samples = samples = samples + 1
            if samples == 1:
                self._mean, self._variation = seconds, seconds / 2
                return
        deviation = seconds - self._mean
        self._variation += (abs(deviation) - self._variation) * 2 / samples
        self._mean += deviation / samples

    def patience(self) -> float | None:
        """Seconds after which an answer is overdue. None where no read may be asked for a second time."""
        if self._samples < ENOUGH or self._credit < ANSWERS_A_HEDGE:
            return None
        return max(FLOOR, self._mean + 4 * self._variation)

    def spend(self) -> None:
        """One is."""
        self._credit -= ANSWERS_A_HEDGE
