"""What S3's requests cost: an estimate, for a region and a date that it names."""

from collections.abc import Mapping
from dataclasses import dataclass

#: PUT, COPY, POST and LIST requests; all others that a build makes are priced like GET.
_WRITES = frozenset(
    {
        "PutObject",
        "CreateMultipartUpload",
        "UploadPart",
        "UploadPartCopy",
        "CompleteMultipartUpload",
        "ListObjectsV2",
    }
)


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars for 1,000 requests."""

    region: str
    storage_class: str
    as_of: str
    writes: float
    reads: float

    def cost(self, requests: Mapping[str, int]) -> float:
        """US dollars for these requests, counted by S3's name of each."""
        return sum(count * (self.writes if kind in _WRITES else self.reads) for kind, count in requests.items()) / 1000

    def __str__(self) -> str:
        return (
            f"S3 {self.storage_class} in {self.region}, {self.as_of}: ${self.writes} for 1,000 PUT, COPY, POST, LIST; "
            f"${self.reads} for 1,000 others"
        )


#: https://aws.amazon.com/s3/pricing/, Requests & data retrievals; the same figures as docs/scaling.md's.
US_EAST_1 = Prices(region="us-east-1", storage_class="Standard", as_of="November 2026", writes=0.005, reads=0.0004)
