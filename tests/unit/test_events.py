"""When Kubernetes Events are written: behind what is urgent, and at the end of the process without waiting for that."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.builders import NOW, metadata

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import EVENTS
from retrain_operator.reconcile.events import DRAIN_S, EventRecorder
from retrain_operator.reconcile.workqueue import Item, Kind
from retrain_operator.rules.decision import Event

ITEM = Item(Kind.SCHEDULE, Key("ml", "churn"))


class Slow(MemoryCluster):
    """A write takes some time."""

    def __init__(self, clock: VirtualClock, write_s: float = 0.0) -> None:
        super().__init__(clock.now, latency_s=lambda: write_s / 2)

    @property
    def told(self) -> list[str]:
        return sorted(each["reason"] for each in self.store.list(EVENTS, "ml").items)


def recorder(cluster: Slow, clock: VirtualClock, calm: Callable[[], Awaitable[object]]) -> EventRecorder:
    async def wait() -> None:
        await calm()

    return EventRecorder(cluster, clock, "test", wait)


def record(events: EventRecorder, *reasons: str) -> None:
    for reason in reasons:
        events.record(ITEM, metadata(), Event("Normal", reason, reason))


def test_what_was_recorded_before_the_end_is_written() -> None:
    async def main(clock: VirtualClock) -> list[str]:
        cluster = Slow(clock)
        events = recorder(cluster, clock, asyncio.Event().wait)  # never calm
        writing = asyncio.ensure_future(events.run())
        record(events, "A", "B", "C")
        await clock.sleep(60)
        assert cluster.told == []
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()
        return cluster.told

    assert run_virtual(main, NOW) == ["A", "B", "C"]


def test_an_event_that_is_being_written_at_the_end_is_written_once() -> None:
    async def main(clock: VirtualClock) -> list[str]:
        cluster = Slow(clock, write_s=0.1)
        events = recorder(cluster, clock, lambda: asyncio.sleep(0))
        writing = asyncio.ensure_future(events.run())
        record(events, "A", "B")
        await clock.sleep(0.07)  # it is stored, and the answer is on its way
        assert cluster.told == ["A"]
        writing.cancel()
        await asyncio.wait([writing])
        return cluster.told

    assert run_virtual(main, NOW) == ["A", "B"]


def test_the_end_does_not_wait_for_an_api_server_that_does_not_answer() -> None:
    async def main(clock: VirtualClock) -> float:
        events = recorder(Slow(clock, write_s=3600), clock, lambda: asyncio.sleep(0))
        writing = asyncio.ensure_future(events.run())
        record(events, "A", "B")
        await clock.sleep(1)
        writing.cancel()
        await asyncio.wait([writing])
        return clock.monotonic() - 1

    assert run_virtual(main, NOW) == DRAIN_S
