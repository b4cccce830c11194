"""Many schedules due in one minute: when each has its Job, for our operator and for the native CronJob controller."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from retrain_operator.cluster.protocol import JOBS, SCHEDULES, Body, Resource
from tests.bench import objects
from tests.bench.observe import observing
from tests.bench.report import Row, load, percentile, say
from tests.bench.stage import DEFAULTS, TUNED, WITHOUT_PODS, Operator, Stage, sleep_until, stage

NAME = "burst"
ROUNDS = {500: 1, 1000: 2}  # how often each number is measured
CREATING_S = 0.02  # one object; more after it was not enough
TRIES = 3
MARGIN_S = 15.0  # from everything created to the tick: the controller has looked at it all, and has come to rest
DEADLINE_S = 180.0
EXPECTED_S, LIMIT_S = 600.0, 840.0


@dataclass(frozen=True, slots=True)
class Contender:
    """Who makes Jobs of what."""

    name: str
    resource: Resource
    body: Callable[[str, str], Body]


OURS = Contender("operator", SCHEDULES, objects.schedule)
NATIVE = Contender("native", objects.CRONJOBS, objects.cron_job)


@dataclass(frozen=True, slots=True)
class Burst:
    """Seconds from the tick, of each Job as it was seen, ascending; and of the last by its creationTimestamp, which has whole seconds.

    `cpu_s`: what the control plane used until then, and the operator, whoever was measured.
    """

    seen_s: tuple[float, ...]
    last_created_s: float
    cpu_s: float


async def measure(divisor: int) -> list[Row]:
    counts = [count // divisor for count, rounds in ROUNDS.items() for _ in range(rounds)]
    batches = [(contender, count) for count in counts for contender in (OURS, NATIVE)]
    async with stage(WITHOUT_PODS, *TUNED) as tuned, tuned.operator() as operator:
        await operator.until_quiet()
        bursts = await run(tuned, batches, operator)
    async with stage(WITHOUT_PODS, *DEFAULTS) as untuned:
        slow = await run(untuned, [(NATIVE, counts[0])])
    by_batch = {each: [burst for batch, burst in zip(batches, bursts, strict=True) if batch == each] for each in batches}
    rows: list[Row] = []
    for count in sorted(set(counts)):
        ours, native = by_batch[OURS, count], by_batch[NATIVE, count]
        rows += _rows(f"{count:,} due: operator", ours, goal_s=statistics.median(each.seen_s[-1] for each in native))
        rows += _rows(f"{count:,} due: native, tuned", native)
    return rows + _rows(f"{counts[0]:,} due: native, defaults", slow)


async def run(where: Stage, batches: Sequence[tuple[Contender, int]], operator: Operator | None = None) -> list[Burst]:
    """One after the other, each created shortly before its minute."""
    bursts = []
    for contender, count in batches:
        burst = await _burst(where, contender, count, operator)
        say(f"{contender.name}, {count} due: last Job after {burst.seen_s[-1]:.2f} s (load {load()})")
        bursts.append(burst)
    return bursts


async def _due(where: Stage, contender: Contender, count: int) -> tuple[str, int]:
    """The namespace in which all of them are there well before the minute in which they are due, and that minute as time.time()."""
    for tries in range(TRIES):
        tick = 60 * int((time.time() + CREATING_S * 2**tries * count + MARGIN_S) // 60 + 1)
        namespace = f"burst-{tick}"
        where.control_plane.create_namespace(namespace)
        bodies = [contender.body(f"{contender.name}-{number}", f"{tick // 60 % 60} * * * *") for number in range(count)]
        await where.create(contender.resource, namespace, bodies)
        if time.time() <= tick - MARGIN_S / 2:
            return namespace, tick
        await sleep_until(tick + DEADLINE_S / 3)  # these come and go
    raise RuntimeError("creating took too long: the machine is too busy to say anything about a burst")


async def _burst(where: Stage, contender: Contender, count: int, operator: Operator | None) -> Burst:
    def used_s() -> float:
        return where.cpu_s + (operator.cpu_s if operator else 0.0)

    namespace, tick = await _due(where, contender, count)
    await sleep_until(tick - 3)
    async with observing(where.cluster, JOBS, namespace) as jobs:
        await sleep_until(tick)
        before_s = used_s()
        await jobs.until(count, DEADLINE_S)
        cpu_s = used_s() - before_s
    return Burst(tuple(sorted(at - tick for at in jobs.seen_at.values())), max(jobs.created_at.values()) - tick, cpu_s)


def _rows(what: str, bursts: Sequence[Burst], goal_s: float | None = None) -> list[Row]:
    def median(value: Callable[[Burst], float]) -> float:
        return statistics.median(map(value, bursts))

    lasts = sorted(each.seen_s[-1] for each in bursts)
    note = f"{lasts[0]:.2f} to {lasts[-1]:.2f}; by creationTimestamp {median(lambda burst: burst.last_created_s):.0f} s"
    goal_text = "tuned native" if goal_s is not None else ""
    return [
        Row(NAME, f"{what}: first Job", median(lambda burst: burst.seen_s[0]), "s"),
        Row(NAME, f"{what}: p50", median(lambda burst: percentile(burst.seen_s, 50)), "s"),
        Row(NAME, f"{what}: p99", median(lambda burst: percentile(burst.seen_s, 99)), "s"),
        Row(NAME, f"{what}: last Job", median(lambda burst: burst.seen_s[-1]), "s", goal=goal_s, goal_text=goal_text, note=note),
        Row(NAME, f"{what}: CPU until then", median(lambda burst: burst.cpu_s), "s"),
    ]
