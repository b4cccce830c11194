"""What one successful run costs the API server."""

import time
from collections import Counter

from retrain_operator.cluster.protocol import SCHEDULES
from tests.bench import objects
from tests.bench.observe import observing
from tests.bench.report import Row
from tests.bench.stage import WRITES, sleep_until, stage, written

NAME = "cost"
NAMESPACE = "default"
EXPECTED_S, LIMIT_S = 100.0, 240.0


async def measure(divisor: int) -> list[Row]:
    del divisor  # there is only one run
    async with stage() as where:
        with where.node:
            async with (
                where.operator() as operator,
                observing(where.cluster, SCHEDULES, NAMESPACE, lambda body: "lastSuccessfulTime" in body.get("status", {})) as succeeded,
            ):
                tick = 60 * int((time.time() + 10) // 60 + 1)
                await where.create(SCHEDULES, NAMESPACE, [objects.schedule("churn", f"{tick // 60 % 60} * * * *", "fake/succeed:3s")])
                await operator.until_quiet()
                before = await operator.requests()
                await sleep_until(tick)
                await succeeded.until(1, 60)
                await operator.until_quiet()
                spent = await operator.requests() - before
    by_kind = ", ".join(f"{verb} {plural} {count}" for (verb, plural), count in sorted(written(spent).items()))
    reads = Counter({kind: count for kind, count in spent.items() if kind[0] not in WRITES})
    read_kinds = ", ".join(f"{verb} {plural} {count}" for (verb, plural), count in sorted(reads.items()))
    return [
        Row(NAME, "writes of one successful run", written(spent).total(), goal=7, note=by_kind),
        Row(NAME, "reads of one successful run", reads.total(), note=read_kinds),
        Row(NAME, "events of one successful run", spent["create", "events"]),
    ]
