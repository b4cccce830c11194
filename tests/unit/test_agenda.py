"""What is due by time, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from tests.builders import NOW, at

from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.reconcile.agenda import MAX_SLEEP_S, Agenda


def told(play: Callable[[Agenda[str], VirtualClock], Awaitable[None]]) -> list[str]:
    """What an agenda hands out in the course of a play that begins at 12:00, as `name 12:00:30`."""
    due: list[str] = []

    async def main(clock: VirtualClock) -> None:
        agenda = Agenda[str](clock, lambda name: due.append(f"{name} {clock.now():%H:%M:%S}"))
        task = asyncio.create_task(agenda.run())
        await play(agenda, clock)
        assert not task.done()

    run_virtual(main, NOW)
    return due


def test_items_are_handed_out_when_due_and_once() -> None:
    async def play(agenda: Agenda[str], clock: VirtualClock) -> None:
        agenda.set("late", at("13:30"))
        agenda.set("early", at("12:00:05"))
        agenda.set("middle", at("12:59:59"))
        await clock.run_until(at("20:00"))
        assert len(agenda) == 0

    assert told(play) == ["early 12:00:05", "middle 12:59:59", "late 13:30:00"]


def test_nothing_is_handed_out_early() -> None:
    async def play(agenda: Agenda[str], clock: VirtualClock) -> None:
        agenda.set("a", at("12:00:30"))
        await clock.advance(29.999)
        assert len(agenda) == 1

    assert told(play) == []


def test_what_is_past_is_handed_out_at_once() -> None:
    async def play(agenda: Agenda[str], clock: VirtualClock) -> None:
        agenda.set("a", at("09:00"))
        agenda.set("b", at("12:00"))
        await clock.settle()

    assert told(play) == ["a 12:00:00", "b 12:00:00"]


def test_items_of_one_instant_come_in_the_order_in_which_they_were_set() -> None:
    async def play(agenda: Agenda[str], clock: VirtualClock) -> None:
        for name in "bac":
            agenda.set(name, at("12:10"))
        await clock.run_until(at("12:11"))

    assert told(play) == ["b 12:10:00", "a 12:10:00", "c 12:10:00"]


def test_an_item_set_while_it_sleeps_comes_in_time() -> None:
    async def play(agenda: Agenda[str], clock: VirtualClock) -> None:
        agenda.set("far", at("18:00"))
        await clock.advance(1)
        agenda.set("near", at("12:00:03"))
        await clock.run_until(at("12:00:04"))

    assert told(play) == ["near 12:00:03"]


def test_setting_an_item_again_replaces_its_time() -> None:
    async def play(agenda: Agenda[str], clock: VirtualClock) -> None:
        agenda.set("later", at("12:10"))
        agenda.set("later", at("12:40"))
        agenda.set("earlier", at("12:50"))
        agenda.set("earlier", at("12:20"))
        assert len(agenda) == 2
        await clock.run_until(at("14:00"))

    assert told(play) == ["earlier 12:20:00", "later 12:40:00"]


def test_an_item_set_back_to_its_first_time_comes_once() -> None:
    async def play(agenda: Agenda[str], clock: VirtualClock) -> None:
        for text in ("12:10", "12:40", "12:10"):
            agenda.set("a", at(text))
        await clock.run_until(at("14:00"))

    assert told(play) == ["a 12:10:00"]


def test_none_removes_an_item() -> None:
    async def play(agenda: Agenda[str], clock: VirtualClock) -> None:
        agenda.set("a", at("12:10"))
        agenda.set("a", None)
        agenda.set("never set", None)
        assert len(agenda) == 0
        await clock.run_until(at("14:00"))

    assert told(play) == []


def test_an_item_can_be_set_anew_as_it_is_handed_out() -> None:
    due: list[datetime] = []

    async def main(clock: VirtualClock) -> None:
        def again(name: str) -> None:
            due.append(clock.now())
            agenda.set(name, clock.now() + timedelta(hours=8))

        agenda = Agenda[str](clock, again)
        task = asyncio.create_task(agenda.run())
        agenda.set("a", at("12:00:01"))
        await clock.advance(86_400)
        task.cancel()

    run_virtual(main, NOW)
    assert due == [at("12:00:01"), at("20:00:01"), at("2026-03-03T04:00:01")]


def test_a_clock_that_is_set_forward_is_noticed_within_a_minute() -> None:
    due: list[float] = []

    async def main(clock: VirtualClock) -> None:
        wall = SetClock(clock)
        agenda = Agenda[str](wall, lambda _: due.append(clock.monotonic()))
        task = asyncio.create_task(agenda.run())
        agenda.set("a", NOW + timedelta(hours=6))
        await clock.advance(90)
        wall.ahead = timedelta(days=1)
        await clock.advance(600)
        task.cancel()

    run_virtual(main, NOW)
    assert due == [2 * MAX_SLEEP_S]


def test_a_clock_that_is_set_back_lets_nothing_wait_for_longer() -> None:
    due: list[str] = []

    async def main(clock: VirtualClock) -> None:
        wall = SetClock(clock)
        agenda = Agenda[str](wall, lambda name: due.append(f"{name} {clock.now():%H:%M:%S}"))
        task = asyncio.create_task(agenda.run())
        agenda.set("second try", at("12:05"))
        agenda.set("tick", at("13:00"))
        await clock.advance(90)
        wall.ahead = timedelta(days=-1)
        await clock.advance(600)
        task.cancel()

    run_virtual(main, NOW)
    assert due == ["second try 12:02:00", "tick 12:02:00"]


class SetClock:
    """A wall clock that somebody sets."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.ahead = timedelta()

    def now(self) -> datetime:
        return self._clock.now() + self.ahead

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


def test_next_due_is_the_first_of_what_is_left() -> None:
    async def play(agenda: Agenda[str], clock: VirtualClock) -> None:
        assert agenda.next_due is None
        agenda.set("late", at("13:30"))
        agenda.set("early", at("12:30"))
        assert agenda.next_due == at("12:30")
        agenda.set("early", at("14:00"))
        assert agenda.next_due == at("13:30"), "set anew: no longer due when it was"
        await clock.run_until(at("13:31"))
        assert agenda.next_due == at("14:00")
        agenda.set("early", None)
        assert agenda.next_due is None

    assert told(play) == ["late 13:30:00"]
