"""SKELETON - signatures only, body follows."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from retrain_operator.api.names import Key
from retrain_operator.cluster.protocol import Cluster

RENEW_INTERVAL_S = 2.0
AUTHORITY_S = 10.0
LEASE_DURATION_S = 15.0


class Elector:
    """`identity` is made unique per process by a random suffix."""

    def __init__(
        self,
        cluster: Cluster,
        key: Key,
        identity: str,
        *,
        on_started_leading: Callable[[], None] = lambda: None,
        on_stopped_leading: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        utcnow: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None: ...

    def is_leader(self) -> bool:
        """Pure check on the monotonic clock; ask it before every write."""
        raise NotImplementedError

    async def run(self) -> None:
        """Elects until cancelled, then releases."""
        raise NotImplementedError
