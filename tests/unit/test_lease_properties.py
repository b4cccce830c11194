"""The election: never two with authority, whatever the network, the clocks and the processes do; and soon one again afterwards."""

import asyncio
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.election import Election, Process, elect

from retrain_operator.cluster.lease import LEASE_DURATION_S

FAULTS: dict[str, Callable[[Process, float, float], None]] = {
    "unreachable": lambda process, now, seconds: setattr(process, "unreachable_until", now + seconds),
    "answers lost": lambda process, now, seconds: setattr(process, "answers_lost_until", now + seconds),
    "paused": lambda process, now, seconds: setattr(process, "paused_until", now + seconds),
    "slow": lambda process, now, seconds: setattr(process, "delay_s", seconds / 10),
    "fast": lambda process, now, seconds: setattr(process, "delay_s", seconds / 1000),
}
Fault = tuple[float, int, str, float]  # seconds after the one before, which process, what, for how many seconds

faults = st.lists(
    st.tuples(
        st.floats(0, 20),
        st.integers(0, 2),
        st.sampled_from([*FAULTS, "killed", "stopped"]),
        st.sampled_from([1.0, 4.0, 9.0, 12.0, 30.0, 90.0]),
    ),
    max_size=12,
)


@given(faults=faults, rates=st.tuples(*[st.sampled_from([0.97, 1.0, 1.03])] * 3))
@settings(max_examples=60)
def test_never_two_with_authority_and_one_again_in_the_end(faults: Sequence[Fault], rates: tuple[float, float, float]) -> None:
    async def scenario(election: Election) -> None:
        processes = [election.start(f"p{index}", clock_rate=rate, clock_start=1000.0 * index) for index, rate in enumerate(rates)]
        gone: list[Process] = []

        async def watch() -> None:
            while True:
                assert sum(process.leads for process in [*processes, *gone]) <= 1
                await asyncio.sleep(0.05)

        watching = asyncio.ensure_future(watch())
        for after_s, index, what, seconds in faults:
            await election.clock.advance(after_s)
            if what in FAULTS:
                FAULTS[what](processes[index], election.clock.monotonic(), seconds)
                continue
            gone.append(processes[index])
            await (gone[-1].kill() if what == "killed" else gone[-1].stop())
            processes[index] = election.start(f"p{index}", clock_rate=rates[index], clock_start=1000.0 * index)
        await election.clock.advance(100)
        for process in processes:
            process.delay_s = 0.001
        await election.clock.advance(3 * LEASE_DURATION_S)
        assert sum(process.leads for process in processes) == 1
        assert not watching.done() or watching.result() is None
        watching.cancel()
        for process in processes:
            assert process.told == [("started", "stopped")[turn % 2] for turn in range(len(process.told))]

    elect(scenario)
