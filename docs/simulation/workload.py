"""Jobs and when they arrive. Sizes in bytes, times in seconds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MIB = 1024 * 1024

#: Arrivals a second at a time in seconds.
Rate = Callable[[float], float]

#: Objects from this size on are copied inside S3 instead of passing through the worker.
COPY_FROM = 5 * MIB


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job: how common it is, how many files it has and how large those are (lognormal: median, sigma)."""

    name: str
    share: float
    median_files: float
    sigma_files: float
    median_bytes: float
    sigma_bytes: float


#: The assumed mix. Replace it by the service's own log (`files`, `size` in its lines) before trusting the tables.
MIX = (
    Kind("photo albums", 0.75, 40, 0.8, 3 * MIB, 0.3),
    Kind("documents", 0.20, 200, 1.0, 0.3 * MIB, 0.5),
    Kind("video and raw data", 0.05, 20, 0.7, 400 * MIB, 0.8),
)


@dataclass(frozen=True, slots=True)
class Speed:
    """What one job gets done in one slot of a task of 2 vCPU that runs two jobs at once. Assumptions, not promises."""

    #: Parsing, creating and completing the upload, notifying.
    fixed_seconds: float = 1.0
    #: CPU of one request to S3 in botocore (1.5 to 2.5 ms measured), one vCPU a slot.
    seconds_per_request: float = 0.0025
    #: Half of 100 MB/s through the task.
    read_bytes_per_second: float = 50e6
    #: Many copies at once inside S3; no byte of it passes the worker.
    copy_bytes_per_second: float = 300e6


@dataclass(frozen=True, slots=True)
class Job:
    """One message: when it arrives, how long a slot works on it, and what it asks of S3."""

    arrives: float
    seconds: float
    bytes: int
    #: PUT, COPY, POST and LIST requests, which S3 bills alike.
    writes: int
    #: GET and HEAD requests.
    reads: int


def make_job(arrives: float, *, rng: random.Random, mix: tuple[Kind, ...] = MIX, speed: Speed | None = None) -> Job:
    """Draw one job from the mix."""
    speed = speed or Speed()
    (kind,) = rng.choices(mix, weights=[kind.share for kind in mix])
    files = max(1, round(kind.median_files * math.exp(rng.gauss(0, kind.sigma_files))))
    each = max(1, round(kind.median_bytes * math.exp(rng.gauss(0, kind.sigma_bytes))))
    size = files * each
    heads, parts = files, math.ceil(size / (8 * MIB))
    if each >= COPY_FROM:
        # One copy a file, or more above 5 GiB; the head of a file may ride in a literal part to fill it up.
        copies = files * math.ceil(each / (5 * 1024 * MIB))
        writes, gets = 2 + 2 * copies, files
        seconds = size / speed.copy_bytes_per_second + files * 5 * MIB / speed.read_bytes_per_second
    else:
        writes, gets = 2 + parts, files
        seconds = size / speed.read_bytes_per_second
    seconds += speed.fixed_seconds + (heads + gets + writes) * speed.seconds_per_request
    return Job(arrives=arrives, seconds=seconds, bytes=size, writes=writes, reads=heads + gets)


def steady(*, per_hour: float, hours: float, seed: int) -> list[Job]:
    """Poisson arrivals at one rate."""
    return _poisson(lambda _: per_hour / 3600, most=per_hour / 3600, seconds=hours * 3600, seed=seed)


def burst(*, jobs: int, at: float, seed: int) -> list[Job]:
    """All within one minute from ``at`` on."""
    rng = random.Random(seed)
    return sorted((make_job(at + rng.uniform(0, 60), rng=rng) for _ in range(jobs)), key=lambda job: job.arrives)


def daily_wave(*, per_day: float, days: float, seed: int, trough: float = 0.1) -> list[Job]:
    """Poisson arrivals whose rate swings like a sine between ``trough`` times the mean and its mirror above it."""
    mean = per_day / 86_400

    def rate(time: float) -> float:
        return mean * (1 - (1 - trough) * math.cos(2 * math.pi * time / 86_400))

    return _poisson(rate, most=mean * (2 - trough), seconds=days * 86_400, seed=seed)


def _poisson(rate: Rate, *, most: float, seconds: float, seed: int) -> list[Job]:
    rng = random.Random(seed)
    return [make_job(time, rng=rng) for time in _thinned(rate, most=most, seconds=seconds, rng=rng)]


def _thinned(rate: Rate, *, most: float, seconds: float, rng: random.Random) -> Iterator[float]:
    """Lewis and Shedler's thinning: draw at the highest rate, keep in proportion."""
    time = rng.expovariate(most)
    while time < seconds:
        if rng.random() * most <= rate(time):
            yield time
        time += rng.expovariate(most)
