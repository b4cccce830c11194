"""Reports every change of a resource's objects, whatever happens to the watch: list, watch, and compare after a gap.

It remembers (uid, version) of each object and no bodies.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from retrain_operator.api.names import Key
from retrain_operator.cluster.comparison import Change, ChangeType, Seen, missed_changes
from retrain_operator.cluster.protocol import Cluster, Resource
from retrain_operator.cluster.reflector import OnEvent, Reflector

__all__ = ["RESYNC_INTERVAL_S", "Change", "ChangeType", "Informer", "OnEvent", "Seen", "missed_changes"]

RESYNC_INTERVAL_S = 600.0  # what a watch has lost without a sign is found within ten minutes


class Informer:
    """Of the given namespaces; [None] is all of them.

    `on_event(type, body)` is called for ADDED, MODIFIED and DELETED, never twice for one version. The body of a deletion that was found by
    comparing has only the namespace, the name and the uid. What `on_event` raises ends `run`.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        namespaces: Sequence[str | None],
        *,
        label_selector: str = "",
        on_event: OnEvent,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        known_besides: Callable[[], Mapping[Key, Seen]] = dict,
    ) -> None:
        self.synced = asyncio.Event()
        self._reflectors = [
            Reflector(
                cluster,
                resource,
                namespace,
                label_selector,
                on_event=on_event,
                on_listed=self._check_synced,
                monotonic=monotonic,
                sleep=sleep,
                known_besides=known_besides,
            )
            for namespace in namespaces
        ]

    @property
    def heard_at(self) -> float:
        """Monotonic time of the last list, event or bookmark, of the namespace where that is longest ago. -inf before the first list."""
        return min(reflector.heard_at for reflector in self._reflectors)

    async def run(self) -> None:
        """Until cancelled. Failures of the cluster never end it, but that it was restored from a backup does: Restored."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in self._reflectors:
                tasks.create_task(reflector.follow())

    async def resync(self) -> None:
        """Lists now, beside the watch, and reports what that missed. For every RESYNC_INTERVAL_S. Raises ClusterError, Restored."""
        for reflector in self._reflectors:
            await reflector.resync()

    def _check_synced(self) -> None:
        if self.heard_at > -math.inf:
            self.synced.set()
