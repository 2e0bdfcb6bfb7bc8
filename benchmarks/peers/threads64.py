"""As ``threads``, with 64 of them."""

from benchmarks.job import ArchiveJob
from benchmarks.peers import threads


def build(job: ArchiveJob) -> str:
    return threads.build(job, number_of_threads=64)
