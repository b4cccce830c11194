"""One tick alone, and the time until its Job is there."""

import re
import time

from retrain_operator.cluster.protocol import JOBS, SCHEDULES
from tests.bench import objects
from tests.bench.observe import observing
from tests.bench.paced_operator import PERIOD_S, first_tick, real_time
from tests.bench.report import Row, percentile, say
from tests.bench.stage import TUNED, WITHOUT_PODS, stage

NAME = "lone"
TICKS = 50
NAMESPACE = "default"
START_S = 30.0  # for the operator to start and to look at everything; the ticks of that time are not counted
EXPECTED_S, LIMIT_S = 230.0, 330.0


async def measure(divisor: int) -> list[Row]:
    count = TICKS // divisor
    async with stage(WITHOUT_PODS, *TUNED) as where:
        start = time.time()
        first = first_tick(start) + 60 * round(START_S / PERIOD_S)
        ticks = {f"lone-{number}": first + 60 * number for number in range(count)}
        bodies = [objects.schedule(name, f"{tick // 60 % 60:.0f} * * * *") for name, tick in ticks.items()]
        async with observing(where.cluster, JOBS, NAMESPACE) as jobs:
            await where.create(SCHEDULES, NAMESPACE, bodies)
            async with where.operator(module="tests.bench.paced_operator", environment={"PACED_FROM": str(start)}) as operator:
                await operator.until_quiet()
                assert not jobs.seen_at
                assert time.time() < real_time(first, start), "the operator took too long to start"
                say(f"{count} ticks, one every {PERIOD_S:.0f} s")
                await jobs.until(count, PERIOD_S * count + 60)
                told = await operator.fetch("/metrics") or ""
    schedule_of = {job: re.sub(r"-\d+$", "", job) for job in jobs.seen_at}
    taken_ms = [1000 * (at - real_time(ticks[schedule_of[job]], start)) for job, at in jobs.seen_at.items()]
    own = re.search(r"^retrain_tick_to_job_seconds_sum ([\d.e-]+)$", told, re.MULTILINE)
    assert own is not None
    note = f"mean by the operator's own metric {1000 * float(own[1]) / count:.0f} ms"
    return [
        Row(NAME, f"tick to Job, {count} times: p50", percentile(taken_ms, 50), "ms", note=note),
        Row(NAME, f"tick to Job, {count} times: p99", percentile(taken_ms, 99), "ms", goal=150.0),
    ]
