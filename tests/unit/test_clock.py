"""Virtual time: nothing waits, everything is in order, and time moves only when no task can go on."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from retrain_operator.clock import Stalled, SystemClock, VirtualClock, run_virtual

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_now_is_the_start_plus_what_was_slept() -> None:
    async def story(clock: VirtualClock) -> list[datetime]:
        seen = [clock.now()]
        await clock.sleep(90.5)
        seen.append(clock.now())
        return seen

    assert run_virtual(story, START) == [START, START + timedelta(seconds=90.5)]


def test_a_start_in_another_zone_is_the_same_instant_in_utc() -> None:
    async def story(clock: VirtualClock) -> datetime:
        return clock.now()

    now = run_virtual(story, START.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert now == START
    assert now.tzinfo is UTC


@pytest.mark.parametrize(
    "sleep",
    [
        pytest.param(lambda clock: clock.sleep(3600), id="the clock's sleep"),
        pytest.param(lambda clock: asyncio.sleep(3600), id="asyncio.sleep"),
        pytest.param(lambda clock: clock.advance(3600), id="advance"),
        pytest.param(lambda clock: clock.run_until(START + timedelta(hours=1)), id="run_until"),
    ],
)
def test_all_ways_to_wait_move_the_same_time(sleep: Callable[[VirtualClock], Awaitable[None]]) -> None:
    async def story(clock: VirtualClock) -> tuple[datetime, float]:
        await sleep(clock)
        return clock.now(), asyncio.get_running_loop().time()

    assert run_virtual(story, START) == (START + timedelta(hours=1), 3600)


def test_a_timeout_is_virtual_too() -> None:
    async def story(clock: VirtualClock) -> datetime:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await asyncio.Event().wait()
        return clock.now()

    assert run_virtual(story, START) == START + timedelta(minutes=10)


def test_sleepers_wake_in_the_order_of_their_instants() -> None:
    async def story(clock: VirtualClock) -> list[float]:
        woken: list[float] = []

        async def sleeper(seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(seconds)

        await asyncio.gather(*(sleeper(seconds) for seconds in (5, 0.5, 3, 86400 * 3, 1)))
        return woken

    assert run_virtual(story, START) == [0.5, 1, 3, 5, 86400 * 3]


def test_two_years_of_timers_pass_without_waiting() -> None:
    """A float of that many seconds cannot hold the nanosecond within which an ordinary loop runs its timers."""

    async def story(clock: VirtualClock) -> datetime:
        for _ in range(2 * 365):
            await clock.sleep(86400.1)
        return clock.now()

    began_s = time.perf_counter()
    assert abs(run_virtual(story, START) - (START + 730 * timedelta(seconds=86400.1))) < timedelta(milliseconds=1)
    assert time.perf_counter() - began_s < 5


def test_settled_means_that_no_task_can_go_on_and_that_no_time_has_passed() -> None:
    async def story(clock: VirtualClock) -> tuple[list[int], datetime]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        handled: list[int] = []

        async def chain() -> None:
            while True:
                number = await queue.get()
                handled.append(number)
                for _ in range(number):
                    await asyncio.sleep(0)
                if number > 1:
                    queue.put_nowait(number - 1)

        task = asyncio.create_task(chain())
        queue.put_nowait(5)
        await clock.settle()
        task.cancel()
        return handled, clock.now()

    assert run_virtual(story, START) == ([5, 4, 3, 2, 1], START)


def test_advance_returns_after_all_that_is_due_at_its_end() -> None:
    async def story(clock: VirtualClock) -> list[str]:
        done: list[str] = []

        async def due_at_the_same_instant() -> None:
            await clock.sleep(60)
            await asyncio.sleep(0)
            done.append("due")

        task = asyncio.create_task(due_at_the_same_instant())
        await clock.advance(60)
        done.append("advanced")
        await task
        return done

    assert run_virtual(story, START) == ["due", "advanced"]


def test_waiting_for_what_no_timer_will_bring_is_an_error_and_not_a_hang() -> None:
    async def story(clock: VirtualClock) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stalled):
        run_virtual(story, START)


def test_threads_are_refused() -> None:
    async def story(clock: VirtualClock) -> None:
        await asyncio.to_thread(time.monotonic)

    with pytest.raises(RuntimeError, match="no threads in virtual time"):
        run_virtual(story, START)


def test_tasks_left_over_are_cancelled() -> None:
    ended: list[str] = []

    async def left_over(clock: VirtualClock) -> None:
        try:
            await clock.sleep(1e9)
        finally:
            ended.append("cancelled")

    async def story(clock: VirtualClock) -> asyncio.Task[None]:
        task = asyncio.create_task(left_over(clock))
        await clock.settle()
        return task

    assert run_virtual(story, START).cancelled()
    assert ended == ["cancelled"]


async def test_the_system_clock_agrees_with_the_loop() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert abs(clock.monotonic() - asyncio.get_running_loop().time()) < 1
    await clock.sleep(0)
