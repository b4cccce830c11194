"""Many runs that end within a minute: when their statuses are final, and how long anything else has to wait meanwhile."""

import asyncio
import random
import time

from retrain_operator.cluster.protocol import JOBS, RUNS, Body
from tests.bench import objects
from tests.bench.observe import observing
from tests.bench.report import Row, percentile
from tests.bench.stage import TUNED, Operator, stage

NAME = "finish"
COUNT = 500
NAMESPACE = "default"
LONGEST_S = 50.0
PROBE_S = 0.05
EXPECTED_S, LIMIT_S = 110.0, 270.0


def job_ended(body: Body) -> bool:
    conditions = body.get("status", {}).get("conditions") or ()
    return any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)


def run_ended(body: Body) -> bool:
    return body.get("status", {}).get("phase") in ("Completed", "Failed", "Skipped")


async def measure(divisor: int) -> list[Row]:
    count = COUNT // divisor
    chance = random.Random(0)
    runs = [objects.run(f"run-{number}", f"fake/succeed:{chance.uniform(5, LONGEST_S):.1f}s") for number in range(count)]
    async with stage(*TUNED) as where:
        with where.node:
            async with (
                where.operator() as operator,
                observing(where.cluster, JOBS, NAMESPACE, job_ended) as jobs,
                observing(where.cluster, RUNS, NAMESPACE, run_ended) as statuses,
            ):
                await operator.until_quiet()
                cpu_from_s, started = operator.cpu_s, time.time()
                async with asyncio.TaskGroup() as tasks:
                    lags_s: list[float] = []
                    probe = tasks.create_task(_probe(operator, lags_s))
                    await where.create(RUNS, NAMESPACE, runs)
                    await statuses.until(count, 180)
                    probe.cancel()
                cpu_s = operator.cpu_s - cpu_from_s
                await jobs.until(count, 10)
    behind_ms = [1000 * (statuses.seen_at[name] - at) for name, at in jobs.seen_at.items()]
    last_s = max(statuses.seen_at.values()) - max(jobs.seen_at.values())
    lag_ms = [1000 * lag for lag in lags_s]
    return [
        Row(NAME, f"{count} runs: created to all statuses final", max(statuses.seen_at.values()) - started, "s", note=f"CPU {cpu_s:.1f} s"),
        Row(NAME, "last Job's end to last final status", 1000 * last_s, "ms"),
        Row(NAME, "Job's end to its run's final status: p50", percentile(behind_ms, 50), "ms"),
        Row(NAME, "Job's end to its run's final status: p99", percentile(behind_ms, 99), "ms"),
        Row(NAME, "event loop, round trip of a probe: p99", percentile(lag_ms, 99), "ms", note=f"p50 {percentile(lag_ms, 50):.1f}"),
    ]


async def _probe(operator: Operator, lags_s: list[float]) -> None:
    while True:
        sent_at = time.perf_counter()
        await operator.fetch("/healthz")
        lags_s.append(time.perf_counter() - sent_at)
        await asyncio.sleep(PROBE_S)
