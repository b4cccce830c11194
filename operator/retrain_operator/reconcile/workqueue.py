"""The queue of keys to look at: each at most once, and never one key by two workers at the same time."""

import asyncio
from collections import deque
from enum import StrEnum
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


class WorkQueue:
    """Level-triggered: adding an item says only "look at this", so adding it twice is adding it once."""

    def __init__(self) -> None:
        self._urgent: deque[Item] = deque()
        self._normal: deque[Item] = deque()
        self._waiting: dict[Item, bool] = {}  # whether it is urgent; a deque may still hold it in its former lane
        self._taken: set[Item] = set()
        self._again: dict[Item, bool] = {}  # added while taken: looked at once more afterwards
        self._idle = asyncio.Event()
        self._idle.set()
        self._wakers: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._again)

    def add(self, item: Item, *, urgent: bool = False) -> None:
        """Look at `item` soon; urgent is for what makes a Job, bookkeeping comes after it."""
        self._idle.clear()
        if item in self._taken:
            self._again[item] = urgent or self._again.get(item, False)
            return
        if item in self._waiting and (self._waiting[item] or not urgent):
            return
        self._waiting[item] = urgent
        (self._urgent if urgent else self._normal).append(item)
        self._wake_one()

    async def take(self) -> Item:
        """The next item; give it back with `done`."""
        while not self._waiting:
            waker = asyncio.get_running_loop().create_future()
            self._wakers.append(waker)
            await waker
        while True:
            urgent = bool(self._urgent)
            item = (self._urgent if urgent else self._normal).popleft()
            if self._waiting.get(item) is urgent:
                del self._waiting[item]
                self._taken.add(item)
                return item

    def done(self, item: Item) -> None:
        """The item was looked at."""
        self._taken.discard(item)
        if item in self._again:
            self.add(item, urgent=self._again.pop(item))
        elif not self._waiting and not self._taken:
            self._idle.set()

    async def join(self) -> None:
        """Return when nothing waits and nothing is being looked at."""
        await self._idle.wait()

    def _wake_one(self) -> None:
        while self._wakers:
            waker = self._wakers.popleft()
            if not waker.done():
                waker.set_result(None)
                return
