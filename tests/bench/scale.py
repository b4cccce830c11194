"""Ten thousand schedules and as many finished runs: starting with them, and being idle with them."""

import asyncio
import time
from datetime import UTC, datetime

from retrain_operator.cluster.protocol import RUNS, SCHEDULES
from tests.bench import objects
from tests.bench.report import Row, say
from tests.bench.stage import TUNED, Stage, stage, written

NAME = "scale"
COUNT = 10_000
NAMESPACE = "default"
IDLE_S = 60.0
EXPECTED_S, LIMIT_S = 330.0, 600.0


async def measure(divisor: int) -> list[Row]:
    count = COUNT // divisor
    async with stage(*TUNED) as where:
        began = time.monotonic()
        await fill(where, count)
        say(f"{count:,} schedules and finished runs made in {time.monotonic() - began:.0f} s")
        async with where.operator() as first:
            settled_s = await first.until_idle()
            await first.until_quiet()
            wrote = written(await first.requests()).total()
            await first.stop()
        async with where.operator() as operator:
            ready_s = await operator.until_ready()
            looked_s = await operator.until_idle()
            looked_cpu_s = operator.cpu_s
            say(f"ready after {ready_s:.1f} s")
            await operator.until_quiet()
            await operator.until_calm()
            calm_cpu_s, peak_mib = operator.cpu_s, operator.peak_rss_mib
            spent = await operator.requests()
            idle_from, cpu_from_s = time.monotonic(), operator.cpu_s
            await asyncio.sleep(IDLE_S / divisor)
            idle_percent = 100 * (operator.cpu_s - cpu_from_s) / (time.monotonic() - idle_from)
            events = spent["create", "events"]
            return [
                Row(NAME, "first start ever: every status written", settled_s, "s", note=f"{wrote:,} writes"),
                Row(NAME, "start to ready", ready_s, "s", goal=15.0),
                Row(NAME, "start to every schedule looked at", looked_s, "s", goal=15.0, note=f"CPU {looked_cpu_s:.1f} s"),
                Row(NAME, "CPU until it is idle (kopf lists once more)", calm_cpu_s, "s"),
                Row(NAME, "writes at start", written(spent).total() + events, goal=0),
                Row(NAME, "RSS, idle", operator.rss_mib, "MiB", goal=300.0, note=f"peak {peak_mib:.0f}"),
                Row(NAME, f"CPU over {IDLE_S / divisor:.0f} s, idle", idle_percent, "% of a core", goal=1.0),
            ]


async def fill(where: Stage, count: int) -> None:
    month = (datetime.now(UTC).month + 1) % 12 + 1  # nothing is due while it is measured
    bodies = [objects.schedule(f"model-{number}", f"{number % 60} {number // 60 % 24} 1 {month} *") for number in range(count)]
    owners = await where.create(SCHEDULES, NAMESPACE, bodies)
    pairs = [objects.finished_run(owner) for owner in owners]
    runs = await where.create(RUNS, NAMESPACE, [body for body, _ in pairs])
    await where.write_status(RUNS, zip(runs, (status for _, status in pairs), strict=True))
