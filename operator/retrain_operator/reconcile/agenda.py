"""Everything that is due by time, in one heap drained by one task: ticks, deadlines and second tries."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Generic, TypeVar

from retrain_operator.clock import Clock

MAX_SLEEP_S = 60.0  # a wall clock that was set, or a machine that slept, is noticed within a minute
SET_BACK = timedelta(seconds=2)  # more than this between two looks is no correction of a clock that runs a little fast

T = TypeVar("T")


class Agenda(Generic[T]):
    """At most one instant per item; setting it again replaces it."""

    def __init__(self, clock: Clock, on_due: Callable[[T], None]) -> None:
        self._clock = clock
        self._on_due = on_due
        self._due: dict[T, datetime] = {}
        self._heap: list[tuple[datetime, int, T]] = []
        self._order = count()
        self._earlier = asyncio.Event()
        self._began: datetime | None = None  # when the monotonic clock was 0, as the wall clock says

    def __len__(self) -> int:
        return len(self._due)

    @property
    def next_due(self) -> datetime | None:
        """When something is due next."""
        return min(self._due.values(), default=None)

    def set(self, item: T, at: datetime | None) -> None:
        """`item` is due at `at` (aware), and at no other time; None removes it."""
        if self._due.get(item) == at:
            return
        if at is None:
            self._due.pop(item, None)
            return
        self._due[item] = at
        heapq.heappush(self._heap, (at, next(self._order), item))
        if self._heap[0][2] == item:
            self._earlier.set()

    async def run(self) -> None:
        """Call `on_due` for every item when its time has come, until cancelled."""
        while True:
            wait_s = self._drain()
            self._earlier.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._earlier.wait()
            except TimeoutError:
                continue

    def _drain(self) -> float:
        """Hands out what is due. Returns the seconds until the next."""
        now = self._clock.now()
        if self._is_set_back(now):
            # What is due in a second would be due in an hour and a second. Who looks too early finds nothing to do, and sets it again.
            waiting = list(self._due)
            self._due.clear()
            for item in waiting:
                self._on_due(item)
        while self._heap:
            at, _, item = self._heap[0]
            if self._due.get(item) != at:  # replaced or removed since
                heapq.heappop(self._heap)
                continue
            if at > now:
                return min(MAX_SLEEP_S, (at - now).total_seconds())
            heapq.heappop(self._heap)
            del self._due[item]
            self._on_due(item)
        return MAX_SLEEP_S

    def _is_set_back(self, now: datetime) -> bool:
        """Whether the wall clock was, since the last time this was asked."""
        before, self._began = self._began, now - timedelta(seconds=self._clock.monotonic())
        return before is not None and self._began < before - SET_BACK
