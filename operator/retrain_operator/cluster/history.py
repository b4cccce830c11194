"""What happened to one resource, in order, for the watches on it. Bounded: who asks for more gets Expired, as from the API server."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from retrain_operator.api.names import Key
from retrain_operator.cluster.protocol import Body, Expired, WatchEvent


class Change(NamedTuple):
    """One write. `before` is None for a create, `after` for a removal. Both belong to the store: look, do not touch."""

    resource_version: int
    key: Key
    before: Body | None
    after: Body | None


Listener = Callable[[Change], None]
Matches = Callable[[Body], bool]


def event_of(change: Change, matches: Matches) -> WatchEvent | None:
    """What a watch with this selector sees: an object that starts to match is ADDED to it, one that ceases to match is DELETED from it."""
    was = change.before is not None and matches(change.before)
    if change.after is not None and matches(change.after):
        return WatchEvent("MODIFIED" if was else "ADDED", change.after)
    if change.before is not None and was:
        # The last state, at the version of its end: a watch goes on from there.
        metadata = {**change.before["metadata"], "resourceVersion": str(change.resource_version)}
        return WatchEvent("DELETED", {**change.before, "metadata": metadata})
    return None


class History:
    """The last `size` changes, and who wants to hear of new ones at once."""

    def __init__(self, size: int) -> None:
        self._changes: deque[Change] = deque(maxlen=size)
        self._forgotten = 0  # the version of the newest change that is no longer here
        self.listeners: list[Listener] = []

    def record(self, change: Change) -> None:
        if len(self._changes) == self._changes.maxlen:
            self._forgotten = self._changes[0].resource_version
        self._changes.append(change)
        for listener in self.listeners:
            listener(change)

    def since(self, resource_version: int) -> list[Change]:
        """All changes after this version, oldest first. Raises Expired when some of them are forgotten."""
        if resource_version < self._forgotten:
            raise Expired(f"too old resource version: {resource_version} ({self._forgotten})", status=410)
        newest_first: list[Change] = []
        for change in reversed(self._changes):
            if change.resource_version <= resource_version:
                break
            newest_first.append(change)
        return newest_first[::-1]

    def forget(self, resource_version: int) -> None:
        """Compaction, up to and with this version."""
        while self._changes and self._changes[0].resource_version <= resource_version:
            self._changes.popleft()
        self._forgotten = max(self._forgotten, resource_version)


class Feed:
    """Changes for one watch, in order: pushed by the store, taken by one reader."""

    def __init__(self, changes: list[Change]) -> None:
        self._pending: deque[Change | int | None] = deque(changes)
        self._wake: asyncio.Future[None] | None = None

    def push(self, item: Change | int | None) -> None:
        """A change, a bookmark (its version) or the end (None)."""
        self._pending.append(item)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def next(self) -> Change | int | None:
        while not self._pending:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return self._pending.popleft()
