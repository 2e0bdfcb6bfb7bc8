"""Whose objects S3 tells a CRC32 of: what the jobs of a process have seen."""

#: Buckets that are remembered; with more of them all are forgotten, and seen anew.
MOST_BUCKETS = 10_000


class Told:
    """By bucket: whether S3 has told a CRC32 with every whole object that the newest job has read of it.

    From any thread. Who trusts it and is wrong has asked for an object once too often.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, bool] = {}

    def of(self, bucket: str) -> bool:
        """What was seen last; False of a bucket that nobody has read."""
        return self._buckets.get(bucket, False)

    def see(self, bucket: str, *, tells: bool) -> None:
        """A job has read of the bucket."""
        if len(self._buckets) >= MOST_BUCKETS and bucket not in self._buckets:
            self._buckets.clear()
        self._buckets[bucket] = tells
