"""SKELETON - signatures only, body follows."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Literal, NamedTuple

from retrain_operator.api.names import Key
from retrain_operator.cluster.protocol import Body, Cluster, Listing, Resource

RESYNC_INTERVAL_S = 600.0  # a lost watch event is found within ten minutes

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
OnEvent = Callable[[ChangeType, Body], None]


class Seen(NamedTuple):
    uid: str
    version: int


class Change(NamedTuple):
    type: ChangeType
    body: Body


def missed_changes(known: Mapping[Key, Seen], listing: Listing, *, deleted_meanwhile: Container[str] | None = None) -> list[Change]:
    """What the watch did not tell.

    deleted_meanwhile: uids whose deletion was heard since the list was asked for, or None when nothing could be heard (no watch running).
    """
    raise NotImplementedError


class Informer:
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
    ) -> None:
        self.synced = asyncio.Event()

    @property
    def heard_at(self) -> float:
        """Monotonic time of the last sign of life of the quietest of the namespaces; -inf before the first list."""
        raise NotImplementedError

    async def run(self) -> None:
        """Lists and watches until cancelled."""
        raise NotImplementedError

    async def resync(self) -> None:
        """Lists now and reports what the watch missed. The caller calls it every RESYNC_INTERVAL_S. Raises ClusterError."""
        raise NotImplementedError
