"""obstore from 64 threads as in ``obstore_threads``, but the archive goes out as it is made.

For archives that no memory holds: at most 256 bodies wait for their turn, 1.3 GB of objects of 5 MB.
"""

import os
import zipfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import obstore
from obstore.store import S3Store

from benchmarks.job import ArchiveJob, Entry

WAITING = 256


def bodies(pool: ThreadPoolExecutor, sources: S3Store, entries: tuple[Entry, ...]) -> Iterator[obstore.Bytes]:
    """The objects' bodies, in order, as many ahead as may wait."""
    waiting: deque[Future[obstore.Bytes]] = deque()
    for entry in entries:
        if len(waiting) == WAITING:
            yield waiting.popleft().result()
        waiting.append(pool.submit(lambda key: sources.get(key).bytes(), entry.source))
    while waiting:
        yield waiting.popleft().result()


def build(job: ArchiveJob) -> str:
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    where = {"endpoint": endpoint, "region": "us-east-1", "client_options": {"allow_http": True}}
    sources, archives = S3Store(job.source_bucket, **where), S3Store(job.destination_bucket, **where)
    with (
        ThreadPoolExecutor(64) as pool,
        obstore.open_writer(archives, job.key, buffer_size=8 * 1024 * 1024, max_concurrency=12) as target,
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive,
    ):
        for entry, body in zip(job.entries, bodies(pool, sources, job.entries), strict=True):
            archive.writestr(zipfile.ZipInfo(entry.destination), body)
    return job.key
