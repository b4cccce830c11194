"""An operator that dies again and again, for histories in virtual time."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence

from retrain_operator.clock import VirtualClock
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.embedded.operator import operating


@contextlib.asynccontextmanager
async def troubled_operator(
    cluster: MemoryCluster,
    clock: VirtualClock,
    draw: random.Random,
    *,
    up_s: Sequence[float] = (0.5, 5, 60, 600),
    down_s: Sequence[float] = (0, 1, 60),
) -> AsyncIterator[None]:
    """Killed and started again until the trouble is over; `up_s` and `down_s` are what is drawn from."""

    async def live() -> None:
        while True:
            async with operating(cluster, clock):
                await clock.sleep(draw.choice(up_s))
            await clock.sleep(draw.choice(down_s))

    task = asyncio.create_task(live())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
