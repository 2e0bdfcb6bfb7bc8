"""What a run costs in US dollars."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from docs.simulation.workload import Job


@dataclass(frozen=True, slots=True)
class Prices:
    """AWS's public list prices, on demand, without free tier or discounts; look them up again before budgeting."""

    region: str = "us-east-1"
    dated: str = "2026, as known in November; Spot varies by the day"
    vcpu_hour: float = 0.04048
    gib_hour: float = 0.004445
    #: Fargate Spot is "up to 70 %" cheaper; this is that figure.
    spot_discount: float = 0.70
    sqs_million: float = 0.40
    #: PUT, COPY, POST, LIST.
    s3_write_thousand: float = 0.005
    #: GET, HEAD and the rest.
    s3_read_thousand: float = 0.0004
    s3_gib_month: float = 0.023
    logs_gib: float = 0.50
    nat_gib: float = 0.045


@dataclass(frozen=True, slots=True)
class TaskSize:
    """A task as the template's defaults cut it."""

    vcpus: float = 2
    gib: float = 4


#: SQS requests of one job beside the heartbeats: receive, delete, notify.
REQUESTS_PER_JOB = 3

#: Seconds between two heartbeats: a third of the visibility timeout's default.
HEARTBEAT = 40

#: Seconds of one long poll.
POLL = 20


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars by cause."""

    compute: float
    sqs: float
    s3: float

    @property
    def total(self) -> float:
        return self.compute + self.sqs + self.s3


def compute_cost(seconds: float, *, prices: Prices, size: TaskSize, spot: bool = False) -> float:
    """Dollars for so many task-seconds on Fargate."""
    hourly = size.vcpus * prices.vcpu_hour + size.gib * prices.gib_hour
    return seconds / 3600 * hourly * (1 - prices.spot_discount if spot else 1)


def bill(
    jobs: Iterable[Job], *, task_seconds: float, prices: Prices, size: TaskSize | None = None, spot: bool = False
) -> Bill:
    """Dollars for the jobs, the tasks' time and their polling; storage and transfer to readers are not in it."""
    jobs = list(jobs)
    requests = sum(REQUESTS_PER_JOB + job.seconds / HEARTBEAT for job in jobs) + task_seconds / POLL
    s3 = sum(job.writes * prices.s3_write_thousand + job.reads * prices.s3_read_thousand for job in jobs) / 1000
    return Bill(
        compute=compute_cost(task_seconds, prices=prices, size=size or TaskSize(), spot=spot),
        sqs=requests * prices.sqs_million / 1e6,
        s3=s3,
    )
