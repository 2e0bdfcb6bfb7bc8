"""Queue, tasks and Application Auto Scaling as a discrete-event simulation. All times in seconds.

What is modelled, and where it comes from:

- SQS publishes its metrics once a minute and CloudWatch shows them about a minute later;
- target tracking (Application Auto Scaling user guide, "How target tracking scaling works") scales out after three
  minutes above the target, to ``ceil(capacity * metric / target)``, and in after fifteen minutes below nine tenths
  of it; within the cooldown of a scale-out only a larger one counts; scaling in waits for either cooldown;
- a Fargate task takes about a minute from the request to the first poll and is billed from its beginning;
- a task that is scaled in takes no more messages, has the drain's seconds to finish, then hands the rest back, and
  another task resumes those jobs where they stood.

What is left out: Spot interruptions, failing jobs, S3 slowing down, SQS's loose ordering.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from docs.simulation.workload import Job

#: Period of the metrics and of the alarms' evaluation.
MINUTE = 60.0

#: Evaluations in a row that target tracking's own alarms wait for.
OUT_AFTER = 3
IN_AFTER = 15

#: Target tracking scales in below this share of the target.
IN_BELOW = 0.9


@dataclass(frozen=True, slots=True)
class Policy:
    """The scaling parameters of the service template, under its defaults."""

    min_tasks: int = 1
    max_tasks: int = 20
    backlog_per_task: float = 1.5
    scale_out_cooldown: float = 180
    scale_in_cooldown: float = 900


@dataclass(frozen=True, slots=True)
class Platform:
    """What surrounds the policy."""

    slots_per_task: int = 2
    start_seconds: float = 60
    metric_delay: float = 60
    drain_seconds: float = 90
    #: The step policy that starts the first task: one minute of alarm, after the metric's delay.
    wake_cooldown: float = 300


@dataclass(slots=True)
class _Work:
    job: Job
    left: float
    began: float | None = None


@dataclass(slots=True)
class _Task:
    number: int
    launched: float
    running: bool = False
    draining: bool = False
    #: Work in its slots, with the time at which each will be done.
    slots: dict[int, tuple[_Work, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of one run."""

    jobs: int
    waits: tuple[float, ...]
    turnarounds: tuple[float, ...]
    task_seconds: float
    peak_tasks: int
    peak_backlog: int
    scalings: int
    handed_back: int
    ended: float
    #: (time, waiting, in work, running tasks) once a minute, and at the end.
    series: tuple[tuple[float, int, int, int], ...]

    def wait(self, percentile: float) -> float:
        """Seconds from sending to the first byte of work, at a percentile of 0 to 100."""
        return _percentile(self.waits, percentile)

    def turnaround(self, percentile: float) -> float:
        """Seconds from sending to the notification, at a percentile of 0 to 100."""
        return _percentile(self.turnarounds, percentile)


def simulate(
    jobs: Sequence[Job],
    *,
    policy: Policy,
    platform: Platform | None = None,
    until: float = 0,
    seed: int = 1,
    counts_in_work: bool = True,
) -> Outcome:
    """Let the jobs, sorted by arrival, pass; go on until all are done and the fleet is back at its minimum.

    ``until`` prolongs the run, for the cost of idle time. ``counts_in_work=False`` leaves the messages in flight out of
    the metric, which the template does not do: for comparison.
    """
    return _Run(jobs, policy, platform or Platform(), until, random.Random(seed), counts_in_work).run()


class _Run:
    def __init__(
        self,
        jobs: Sequence[Job],
        policy: Policy,
        platform: Platform,
        until: float,
        rng: random.Random,
        counts_in_work: bool,
    ) -> None:
        self.policy, self.platform, self.until, self.rng = policy, platform, until, rng
        self.counts_in_work = counts_in_work
        self.now = 0.0
        self.arrivals = len(jobs)
        self.queue: deque[_Work] = deque()
        self.tasks: dict[int, _Task] = {}
        self.free: deque[int] = deque()
        self.numbers = itertools.count()
        self.order = itertools.count()
        self.events: list[tuple[float, int, str, tuple[int, ...]]] = []
        self.works = [_Work(job, job.seconds) for job in jobs]
        self.metrics: deque[tuple[float, float, float]] = deque(maxlen=IN_AFTER)
        self.pending_metrics: deque[tuple[float, float, float]] = deque()
        self.desired = policy.min_tasks
        self.out_until = self.in_until = self.wake_until = 0.0
        self.last_step = 0
        self.waits: list[float] = []
        self.turnarounds: list[float] = []
        self.series: list[tuple[float, int, int, int]] = []
        self.task_seconds = 0.0
        self.peak_tasks = self.peak_backlog = self.scalings = self.handed_back = 0

    def run(self) -> Outcome:
        for number, work in enumerate(self.works):
            self.at(work.job.arrives, "arrive", number)
        for _ in range(self.policy.min_tasks):
            task = self.launch(running=True)
            self.free.extend([task.number] * self.platform.slots_per_task)
        self.at(0, "tick")
        while self.events:
            self.now, _, kind, data = heapq.heappop(self.events)
            getattr(self, kind)(*data)
        for task in self.tasks.values():
            self.task_seconds += self.now - task.launched
        self.series.append((self.now, 0, 0, len(self.tasks)))
        return Outcome(
            jobs=len(self.works),
            waits=tuple(sorted(self.waits)),
            turnarounds=tuple(sorted(self.turnarounds)),
            task_seconds=self.task_seconds,
            peak_tasks=self.peak_tasks,
            peak_backlog=self.peak_backlog,
            scalings=self.scalings,
            handed_back=self.handed_back,
            ended=self.now,
            series=tuple(self.series),
        )

    def at(self, time: float, kind: str, *data: int) -> None:
        heapq.heappush(self.events, (time, next(self.order), kind, data))

    # ---- jobs ----

    def arrive(self, number: int) -> None:
        self.arrivals -= 1
        self.queue.append(self.works[number])
        self.dispatch()

    def dispatch(self) -> None:
        while self.queue and self.free:
            task = self.tasks.get(self.free.popleft())
            if task is None or task.draining:
                continue
            work = self.queue.popleft()
            if work.began is None:
                work.began = self.now
                self.waits.append(self.now - work.job.arrives)
            slot = next(self.numbers)
            task.slots[slot] = (work, self.now + work.left)
            self.at(self.now + work.left, "done", task.number, slot)

    def done(self, number: int, slot: int) -> None:
        task = self.tasks.get(number)
        if task is None or slot not in task.slots:
            return  # handed back before
        work, _ = task.slots.pop(slot)
        self.turnarounds.append(self.now - work.job.arrives)
        if task.draining:
            if not task.slots:
                self.stop(task)
        else:
            self.free.append(number)
            self.dispatch()

    # ---- tasks ----

    def launch(self, *, running: bool = False) -> _Task:
        task = _Task(next(self.numbers), self.now, running=running)
        self.tasks[task.number] = task
        if not running:
            self.at(self.now + self.platform.start_seconds, "started", task.number)
        return task

    def started(self, number: int) -> None:
        task = self.tasks.get(number)
        if task is None:
            return  # scaled in while it started
        task.running = True
        self.free.extend([number] * self.platform.slots_per_task)
        self.dispatch()

    def drain(self, task: _Task) -> None:
        task.draining = True
        if task.slots:
            self.at(self.now + self.platform.drain_seconds, "drained", task.number)
        else:
            self.stop(task)

    def drained(self, number: int) -> None:
        task = self.tasks.get(number)
        if task is None:
            return
        for work, end in reversed(list(task.slots.values())):
            work.left = end - self.now
            self.handed_back += 1
            self.queue.appendleft(work)
        self.stop(task)
        self.dispatch()

    def stop(self, task: _Task) -> None:
        del self.tasks[task.number]
        # Fargate bills a minute at least.
        self.task_seconds += max(MINUTE, self.now - task.launched)

    # ---- scaling ----

    def tick(self) -> None:
        in_work = sum(len(task.slots) for task in self.tasks.values())
        running = sum(task.running and not task.draining for task in self.tasks.values())
        self.peak_tasks = max(self.peak_tasks, len(self.tasks))
        self.peak_backlog = max(self.peak_backlog, len(self.queue))
        self.series.append((self.now, len(self.queue), in_work, running))
        backlog = len(self.queue) + (in_work if self.counts_in_work else 0)
        metric = backlog / max(1, running)
        asleep = float(len(self.queue)) if not in_work else 0.0
        self.pending_metrics.append((self.now + self.platform.metric_delay, metric, asleep))
        while self.pending_metrics and self.pending_metrics[0][0] <= self.now:
            self.metrics.append(self.pending_metrics.popleft())
            self.evaluate()
        busy = self.arrivals or self.queue or in_work or self.desired > self.policy.min_tasks
        if busy or self.now < self.until:
            self.at(self.now + MINUTE, "tick")

    def evaluate(self) -> None:
        values = [metric for _, metric, _ in self.metrics]
        target = self.policy.backlog_per_task
        if self.policy.min_tasks == 0 and self.metrics[-1][2] > 0 and self.now >= self.wake_until:
            self.wake_until = self.now + self.platform.wake_cooldown
            self.scale(self.desired + 1)
        wanted = math.ceil(self.desired * values[-1] / target)
        if len(values) >= OUT_AFTER and min(values[-OUT_AFTER:]) > target:
            step = min(wanted, self.policy.max_tasks) - self.desired
            if step > 0 and (self.now >= self.out_until or step > self.last_step):
                self.last_step = step
                self.out_until = self.now + self.policy.scale_out_cooldown
                self.scale(self.desired + step)
        elif len(values) == IN_AFTER and max(values) < IN_BELOW * target:
            fewer = max(wanted, self.policy.min_tasks)
            if fewer < self.desired and self.now >= max(self.in_until, self.out_until):
                self.in_until = self.now + self.policy.scale_in_cooldown
                self.scale(fewer)

    def scale(self, wanted: int) -> None:
        wanted = min(max(wanted, self.policy.min_tasks), self.policy.max_tasks)
        if wanted == self.desired:
            return
        self.scalings += 1
        alive = [task for task in self.tasks.values() if not task.draining]
        for _ in range(wanted - len(alive)):
            self.launch()
        # ECS does not know which task is busy.
        for task in self.rng.sample(alive, max(0, len(alive) - wanted)):
            self.drain(task)
        self.desired = wanted


def _percentile(ordered: Sequence[float], percentile: float) -> float:
    """The nearest-rank percentile of sorted values."""
    return ordered[max(0, math.ceil(percentile / 100 * len(ordered)) - 1)]
