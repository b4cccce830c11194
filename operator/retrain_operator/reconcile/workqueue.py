"""The queue of keys to look at: each at most once, and never one key by two workers at the same time."""

import asyncio
from collections import deque
from enum import IntEnum, StrEnum
from typing import NamedTuple

from retrain_operator.api.names import Key


class Kind(StrEnum):
    """What a key names."""

    SCHEDULE = "schedule"
    RUN = "run"


class Item(NamedTuple):
    """One object to look at."""

    kind: Kind
    key: Key

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Urgency(IntEnum):
    """What comes first: what makes a Job, and bookkeeping behind all of it."""

    START = 0  # a run that has no Job yet
    DUE = 1  # something whose time has come, such as a tick
    LATER = 2


class WorkQueue:
    """Level-triggered: adding an item says only "look at this", so adding it twice is adding it once."""

    def __init__(self) -> None:
        self._lanes: dict[Urgency, deque[Item]] = {urgency: deque() for urgency in Urgency}
        self._waiting: dict[Item, Urgency] = {}  # a deque may still hold it in its former lane
        self._taken: set[Item] = set()
        self._again: dict[Item, Urgency] = {}  # added while taken: looked at once more afterwards
        self._idle = asyncio.Event()
        self._idle.set()
        self._urgent = 0  # of those that wait
        self._calm = asyncio.Event()
        self._calm.set()
        self._wakers: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._again)

    @property
    def active(self) -> int:
        """How many items are being looked at."""
        return len(self._taken)

    def add(self, item: Item, urgency: Urgency = Urgency.LATER) -> None:
        """Look at `item` soon."""
        self._idle.clear()
        if item in self._taken:
            self._again[item] = min(urgency, self._again.get(item, urgency))
            return
        before = self._waiting.get(item)
        if before is not None and before <= urgency:
            return
        self._waiting[item] = urgency
        self._lanes[urgency].append(item)
        if urgency is not Urgency.LATER and before in (None, Urgency.LATER):
            self._urgent += 1
            self._calm.clear()
        self._wake_one()

    async def take(self) -> Item:
        """The next item; give it back with `done`."""
        while not self._waiting:
            waker = asyncio.get_running_loop().create_future()
            self._wakers.append(waker)
            await waker
        while True:
            urgency = next(each for each, lane in self._lanes.items() if lane)
            item = self._lanes[urgency].popleft()
            if self._waiting.get(item) is urgency:
                break
        del self._waiting[item]
        self._taken.add(item)
        if urgency is not Urgency.LATER:
            self._urgent -= 1
            if not self._urgent:
                self._calm.set()
        return item

    def done(self, item: Item) -> None:
        """The item was looked at."""
        self._taken.discard(item)
        if item in self._again:
            self.add(item, self._again.pop(item))
        elif not self._waiting and not self._taken:
            self._idle.set()

    async def calm(self) -> None:
        """Return when all that waits can wait: what is less urgent than everything here keeps out of its way."""
        await self._calm.wait()

    async def join(self) -> None:
        """Return when nothing waits and nothing is being looked at."""
        await self._idle.wait()

    def _wake_one(self) -> None:
        while self._wakers:
            waker = self._wakers.popleft()
            if not waker.done():
                waker.set_result(None)
                return
