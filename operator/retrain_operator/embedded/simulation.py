"""What would happen with a schedule: the operator's own controller on an in-memory cluster, in virtual time, with pods that take no work.

Nothing is decided here. What happened is read from the objects: which runs were made, how their phases went, and what the schedule's
status says about its ticks. Whatever rules there are show up by that.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.protocol import CONFIG_MAPS, LEASES, RUNS, SCHEDULES, Body
from retrain_operator.embedded.simulation_replay import Memory, Moment, Names
from retrain_operator.embedded.simulation_story import Entry, Story

_KEPT = (SCHEDULES, RUNS, LEASES, CONFIG_MAPS)  # owners first; Jobs and pods of finished runs do not matter any more
_NEVER_S = 1e10  # nothing is lost here that a resync would have to find
_AWAKE_S = 61.0  # the agenda notices within a minute that the clock was set
_A_SECOND = timedelta(seconds=1)
_NO_DRIFT = "policy"


@dataclass(frozen=True, slots=True)
class Question:
    """What to simulate. Times are aware, `start` and `end` whole minutes.

    down: when the operator does not run, each (from, to). replay: whether what was met before may be taken from memory.
    """

    schedule: Body
    start: datetime
    end: datetime
    runs_take_s: int = 2400
    fail_rate: float = 0.0
    seed: int = 0
    down: tuple[tuple[datetime, datetime], ...] = ()
    replay: bool = True


def simulate(question: Question) -> Story:
    """What would happen in [start, end). Raises Rejected and InvalidSpec, with messages that say what to do."""
    # Created a second early, so that a tick at the very start counts.
    return run_virtual(lambda clock: _Simulation(question, clock).story(), question.start - _A_SECOND)


class _JumpingClock:
    """A virtual clock that can be set forward or back."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        return self._clock.now() + self._ahead

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def settle(self) -> None:
        await self._clock.settle()

    def set(self, instant: datetime) -> None:
        self._ahead += instant - self.now()


class _Simulation:
    def __init__(self, question: Question, clock: VirtualClock) -> None:
        self._question = question
        self._clock = _JumpingClock(clock)
        metadata = question.schedule["metadata"]
        self._key = Key(metadata.get("namespace") or "default", metadata["name"])
        self._random = Random(question.seed)
        self._failures: list[bool] = []  # of the coming runs, as far as they are drawn
        self._edges = sorted({edge for interval in question.down for edge in interval if edge < question.end} | {question.end})
        self._entries: list[Entry] = []

    async def story(self) -> Story:
        question = self._question
        bodies: list[Body] | None = None
        moment: Moment | None = None
        while True:
            async with self._world(moment) as world:
                if moment is None:
                    spec, cron, ticks = await self._accepted(world)
                    memory = Memory(Names(self._key.name), [int(tick.timestamp()) for tick in ticks])
        raise NotImplementedError
