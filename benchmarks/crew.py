"""``python -m benchmarks.crew --s3 URL``: one archive by one, two and four workers, taking turns.

The workers are those of the service, each a ``celery`` process of its own with one slot; queues are on a LocalStack of
this run, objects on the S3 that is given, where each worker has an access key of its own: a server that divides its
bandwidth by keys so gives each a network card. A build before each that counts warms connections and imports up.
"""

import argparse
import contextlib
import os
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from devtools.localstack import LocalStack, running_localstack
from devtools.messages import send, wait_for
from devtools.stack import Names, Stack, create_stack
from devtools.worker import Worker, running_worker

MIB = 1024 * 1024
BUCKETS = ("crew-sources", "crew-archives")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds from the message to the notification, and of CPU in all workers together."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Bench:
    """Queues, sources, and how to start workers."""

    localstack: LocalStack
    stack: Stack
    s3: Any
    url: str
    prefix: str
    size: int

    @contextlib.contextmanager
    def workers(self, count: int) -> Iterator[list[Worker]]:
        """So many workers that wait for messages."""
        with contextlib.ExitStack() as running:
            yield [
                running.enter_context(running_worker(self.localstack, self.stack, settings=self._settings(number)))
                for number in range(count)
            ]

    def build(self, workers: Sequence[Worker]) -> Run:
        """One archive by these workers. Raises ``NoMessage`` where it is not told of."""
        sqs = self.localstack.client("sqs")
        before, began = sum(map(_cpu, workers)), time.monotonic()
        sent = send(sqs, self.stack.input_url, {"files": [{"source": f"s3://{BUCKETS[0]}/{self.prefix}"}]})
        told = wait_for(sqs, self.stack.output_url, seconds=600, matching=lambda one: one.json["request_id"] == sent)
        wall, cpu = time.monotonic() - began, sum(map(_cpu, workers)) - before
        archive = told.json["archive"]
        if archive["size"] < self.size:
            raise RuntimeError(f"an archive of {archive['size']} bytes for {self.size}")
        self.s3.delete_object(Bucket=archive["bucket"], Key=archive["key"])
        sqs.purge_queue(QueueUrl=self.stack.crew_url)
        return Run(wall, cpu)

    def _settings(self, number: int) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ENDPOINT_URL_SQS": self.localstack.url,
            "AWS_ACCESS_KEY_ID": f"worker-{number}",
            "S3_SOURCE_BUCKET": BUCKETS[0],
            "S3_DESTINATION_BUCKET": BUCKETS[1],
            "SQS_CREW_QUEUE": self.stack.crew_url,
            "CREW_MIN_BYTES": str(min(1024 * MIB, self.size // 2)),
            "POLL_SECONDS": "20",
            # Longer than a poll: what it gets after its worker's end would be missing from the next build.
            "SOFT_SHUTDOWN_SECONDS": "30",
            "WORKER_CONCURRENCY": "1",
        }


def _cpu(worker: Worker) -> float:
    """Seconds of CPU of a worker and its pool. Linux only: proc(5), /proc/pid/stat."""
    spent = 0
    for pid in (worker.pid, *worker.children()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent += sum(map(int, fields[11:15]))
    return spent / TICKS


def upload(s3: Any, *, count: int, mean: int, deviation: int) -> tuple[str, int]:
    """Sources of normally distributed sizes, the same for the same figures: their prefix, and their bytes."""
    prefix = f"{count}-of-{mean}-{deviation}/"
    rng = random.Random(2026)
    sizes = [max(1, round(rng.gauss(mean, deviation))) for _ in range(count)]
    found = s3.list_objects_v2(Bucket=BUCKETS[0], Prefix=prefix).get("KeyCount", 0)
    if found < min(count, 1000):
        noise = rng.randbytes(4 * MIB)
        for number, size in enumerate(sizes):
            body = (noise * (size // len(noise) + 1))[:size]
            s3.put_object(Bucket=BUCKETS[0], Key=f"{prefix}{number:06}.jpg", Body=body)
    return prefix, sum(sizes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crew", description=__doc__)
    parser.add_argument("--s3", required=True, metavar="URL", help="an S3 that takes any access key")
    parser.add_argument("--workers", default="1,2,4", metavar="N,N", help="how many there are (default: 1,2,4)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=300, help="objects")
    parser.add_argument("--mean", type=int, default=5_000_000, help="their mean size in bytes")
    parser.add_argument("--deviation", type=int, default=1_000_000, help="its standard deviation")
    options = parser.parse_args()
    counts = [int(text) for text in options.workers.split(",")]
    config = Config(signature_version="s3v4", s3={"payload_signing_enabled": False})
    s3 = boto3.client(
        "s3",
        endpoint_url=options.s3,
        region_name="us-east-1",
        aws_access_key_id="setup",
        aws_secret_access_key="setup",
        config=config,
    )
    for bucket in BUCKETS:
        s3.create_bucket(Bucket=bucket)
    prefix, size = upload(s3, count=options.count, mean=options.mean, deviation=options.deviation)
    runs: dict[int, list[Run]] = {count: [] for count in counts}
    with running_localstack(services=["s3", "sqs"]) as localstack:
        stack = create_stack(localstack, names=Names.unique())
        bench = Bench(localstack, stack, s3, options.s3, prefix, size)
        for round_number in range(options.rounds):
            for count in counts:
                with bench.workers(count) as workers:
                    bench.build(workers)
                    run = bench.build(workers)
                runs[count].append(run)
                load = os.getloadavg()[0]
                told = f"{count} workers: {run.wall:.2f} s, CPU {run.cpu:.2f} s"
                print(f"round {round_number + 1}, {told}, at a load of {load:.1f}", flush=True)
    first = runs[counts[0]]
    print(f"{options.count} objects, {size / 1e6:,.0f} MB; medians of {options.rounds} rounds, beside the first:")
    for count in counts:
        walls, cpus = ([one.wall for one in runs[count]], [one.cpu for one in runs[count]])
        ratios = [one.wall / alone.wall for one, alone in zip(runs[count], first, strict=True)]
        costs = [one.cpu / alone.cpu for one, alone in zip(runs[count], first, strict=True)]
        print(
            f"{count} workers: wall {statistics.median(walls):.2f} s, {statistics.median(ratios):.2f}; "
            f"CPU {statistics.median(cpus):.2f} s, {statistics.median(costs):.2f}"
        )


if __name__ == "__main__":
    main()
