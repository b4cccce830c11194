"""Time as everything here takes it: an instant for people, a monotonic second for intervals, and a sleep.

`run_virtual` runs the same code in virtual time. Its event loop never waits: when no callback is ready it moves its clock to the next
timer. So `asyncio.sleep`, `asyncio.timeout`, `loop.call_at` and every Clock agree, a year passes as fast as its work can be done, and the
order is the same in every run. "Settled" is exact, not a guess: time moves only when no task can go on.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Protocol, TypeVar

T = TypeVar("T")

# The loop runs timers that are due within this. A float that counts the seconds of half a year cannot hold the system clock's 1e-9 s:
# with that, the timer to which time has just moved would not be due, and the loop would spin.
RESOLUTION_S = 1e-6


class Clock(Protocol):
    def now(self) -> datetime:
        """The instant, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that never jump: the running loop's own time, fit for `loop.call_at`."""

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class VirtualClock:
    """The clock of `run_virtual`. To let time pass is to sleep: everything that is due earlier happens first."""

    def __init__(self, loop: "VirtualLoop", start: datetime) -> None:
        self._loop = loop
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def settle(self) -> None:
        """Return when no other task can go on at this instant. Time does not move."""
        await self._loop.idle()

    async def advance(self, seconds: float) -> None:
        """Let time pass, and all that is due by then be done."""
        await asyncio.sleep(seconds)
        await self.settle()

    async def run_until(self, instant: datetime) -> None:
        """`advance` to an instant; nothing when it has passed."""
        await self.advance(max(0.0, (instant - self.now()).total_seconds()))


class Stalled(RuntimeError):
    """Every task waits for something that no timer will bring: real time would wait for ever."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop without waiting. It knows ready callbacks and timers only: threads, sockets and processes have no virtual time."""

    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self._nothing_ready))
        self._virtual_s = 0.0
        self._idle: list[asyncio.Future[None]] = []
        self._clock_resolution = RESOLUTION_S

    def time(self) -> float:
        return self._virtual_s

    def run_in_executor(  # type: ignore[override]  # narrower than the base: it never returns
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> NoReturn:
        raise RuntimeError(f"no threads in virtual time, asked to run {func!r}")

    async def idle(self) -> None:
        waiter = self.create_future()
        self._idle.append(waiter)
        await waiter

    def _nothing_ready(self, next_timer_in_s: float | None) -> None:
        if self._idle and (next_timer_in_s is None or next_timer_in_s > RESOLUTION_S):
            waiters, self._idle = self._idle, []
            for waiter in waiters:
                if not waiter.done():  # cancelled
                    waiter.set_result(None)
        elif next_timer_in_s is None:
            raise Stalled("every task waits for something that no timer will bring")
        else:
            self._virtual_s += next_timer_in_s


class _JumpingSelector(selectors.SelectSelector):
    """Where an event loop would wait, time moves. Sockets may register (the loop has one to wake itself up) and are never looked at."""

    def __init__(self, nothing_ready: Callable[[float | None], None]) -> None:
        super().__init__()
        self._nothing_ready = nothing_ready

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self._nothing_ready(timeout)
        return []


def run_virtual(main: Callable[[VirtualClock], Coroutine[Any, Any, T]], start: datetime) -> T:
    """Run `main(clock)` to its end in virtual time that begins at `start` (aware, UTC). Tasks left over are cancelled.

    Raises Stalled when it can never end.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(main(VirtualClock(loop, start.astimezone(UTC))))
