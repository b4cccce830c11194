"""The election: never two with authority, whatever the network, the clocks and the processes do; and soon one again afterwards."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.lease import AUTHORITY_S, LEASE_DURATION_S, RENEW_INTERVAL_S, Elector
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import LEASES, Body, Cluster, Resource, Unavailable

KEY = Key("retrain-system", "retrain-operator")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
TAKEOVER_S = LEASE_DURATION_S + RENEW_INTERVAL_S + 0.1
T = TypeVar("T")


class Process:
    """One operator process: its elector, its way to the cluster, its own clock, and what can happen to all three."""

    def __init__(
        self, clock: VirtualClock, cluster: MemoryCluster, name: str, *, clock_rate: float = 1.0, clock_start: float = 0.0
    ) -> None:
        self.told: list[str] = []
        self.unreachable_until = 0.0
        self.answers_lost_until = 0.0
        self.paused_until = 0.0  # SIGSTOP until then: what it has sent arrives, and everything else waits
        self.delay_s = 0.001
        self._clock = clock
        self._cluster = cluster
        self.elector = Elector(
            cast(Cluster, self),
            KEY,
            name,
            on_started_leading=lambda: self.told.append("started"),
            on_stopped_leading=lambda: self.told.append("stopped"),
            monotonic=lambda: clock_start + clock_rate * clock.monotonic(),
            sleep=lambda seconds: self._pass(seconds / clock_rate),
            utcnow=clock.now,
        )
        self.running = asyncio.ensure_future(self.elector.run())

    @property
    def leads(self) -> bool:
        return self.elector.is_leader()

    async def stop(self) -> None:
        """SIGTERM."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def kill(self) -> None:
        """SIGKILL: nothing is released."""
        self.unreachable_until = float("inf")
        await self.stop()

    async def get(self, resource: Resource, key: Key) -> Body | None:
        return await self._call(lambda: self._cluster.get(resource, key))

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Any:
        return await self._call(lambda: self._cluster.create(resource, namespace, body))

    async def replace(self, resource: Resource, key: Key, body: Mapping[str, Any]) -> Any:
        return await self._call(lambda: self._cluster.replace(resource, key, body))

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(self.delay_s)
        if self._clock.monotonic() < self.unreachable_until:
            raise Unavailable("unreachable")
        answer = await call()
        await self._pass(self.delay_s)
        if self._clock.monotonic() < self.answers_lost_until:
            raise Unavailable("the answer was lost")
        return answer

    async def _pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await asyncio.sleep(max(0.0, self.paused_until - self._clock.monotonic()))


class Election:
    """A cluster and the processes that compete on it."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.cluster = MemoryCluster(clock.now)

    def start(self, name: str, **clock_of_its_own: float) -> Process:
        return Process(self.clock, self.cluster, name, **clock_of_its_own)

    async def start_leader(self, name: str) -> Process:
        """`name` leads, and renewed just now."""
        process = self.start(name)
        await self.clock.advance(1.0)
        assert process.leads
        return process

    async def record(self) -> dict[str, Any]:
        lease = await self.cluster.get(LEASES, KEY)
        assert lease is not None
        spec: dict[str, Any] = lease["spec"]
        return spec

    async def edit(self, **spec: Any) -> None:
        assert await self.cluster.patch(LEASES, KEY, {"spec": spec})

    async def seconds_until(self, happened: Callable[[], bool], *, at_most_s: float = 120.0) -> float:
        began = self.clock.monotonic()
        while not happened():
            assert self.clock.monotonic() < began + at_most_s, "never"
            await self.clock.advance(0.01)
        return self.clock.monotonic() - began


def elect(scenario: Callable[[Election], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        await scenario(Election(clock))

    run_virtual(main, START)


class TestTaking:
    def test_the_first_one_leads_at_once(self) -> None:
        async def scenario(election: Election) -> None:
            a = election.start("a")
            assert await election.seconds_until(lambda: a.leads) < 0.1
            record = await election.record()
            assert record["holderIdentity"] == a.elector.identity
            assert record["leaseDurationSeconds"] == 15
            assert record["leaseTransitions"] == 0
            assert MICRO_TIME.fullmatch(record["acquireTime"])
            assert MICRO_TIME.fullmatch(record["renewTime"])

        elect(scenario)

    def test_two_that_start_together_are_one_leader(self) -> None:
        async def scenario(election: Election) -> None:
            a, b = election.start("same-name"), election.start("same-name")
            await election.clock.advance(60)
            assert sorted([a.leads, b.leads]) == [False, True]

        elect(scenario)

    def test_a_standby_waits_while_the_leader_renews(self) -> None:
        async def scenario(election: Election) -> None:
            a = await election.start_leader("a")
            b = election.start("b")
            await election.clock.advance(3600)
            assert a.leads
            assert (a.told, b.told) == (["started"], [])

        elect(scenario)

    def test_a_released_lease_is_taken_at_the_next_look(self) -> None:
        async def scenario(election: Election) -> None:
            a = await election.start_leader("a")
            b = election.start("b")
            await election.clock.advance(1)
            await a.stop()
            assert (await election.record())["holderIdentity"] == ""
            assert await election.seconds_until(lambda: b.leads) <= RENEW_INTERVAL_S + 0.1
            assert (await election.record())["leaseTransitions"] == 1
            assert a.told == ["started", "stopped"]

        elect(scenario)

    def test_a_killed_leader_is_followed_after_the_lease_has_ended(self) -> None:
        async def scenario(election: Election) -> None:
            a = await election.start_leader("a")
            b = election.start("b")
            await election.clock.advance(1)
            await a.kill()
            assert LEASE_DURATION_S - RENEW_INTERVAL_S <= await election.seconds_until(lambda: b.leads) <= TAKEOVER_S

        elect(scenario)

    def test_a_newcomer_waits_however_old_the_record_says_it_is(self) -> None:
        async def scenario(election: Election) -> None:
            await (await election.start_leader("a")).kill()
            await election.edit(renewTime="2001-01-01T00:00:00.000000Z", acquireTime="2001-01-01T00:00:00.000000Z")
            b = election.start("b")
            assert await election.seconds_until(lambda: b.leads) >= LEASE_DURATION_S

        elect(scenario)

    def test_a_newcomer_waits_as_long_as_the_record_asks_for(self) -> None:
        async def scenario(election: Election) -> None:
            await (await election.start_leader("a")).kill()
            await election.edit(leaseDurationSeconds=60)
            b = election.start("b")
            assert await election.seconds_until(lambda: b.leads) >= 60

        elect(scenario)

    def test_a_lease_without_a_spec_is_free(self) -> None:
        async def scenario(election: Election) -> None:
            await election.cluster.create(LEASES, KEY.namespace, {"metadata": {"name": KEY.name}})
            a = election.start("a")
            assert await election.seconds_until(lambda: a.leads) < 0.1

        elect(scenario)

    def test_a_takeover_whose_answer_was_lost_is_found_out(self) -> None:
        async def scenario(election: Election) -> None:
            a = election.start("a")
            a.answers_lost_until = 1.0
            assert await election.seconds_until(lambda: a.leads) <= RENEW_INTERVAL_S + 0.1
            assert (await election.record())["leaseTransitions"] == 0

        elect(scenario)


class TestAuthority:
    def test_it_ends_ten_seconds_after_the_last_renewal_was_sent(self) -> None:
        async def scenario(election: Election) -> None:
            a = await election.start_leader("a")  # its renewal was sent a second ago
            a.unreachable_until = 100.0
            assert await election.seconds_until(lambda: not a.leads) == pytest.approx(AUTHORITY_S - 1.0, abs=0.02)
            await election.clock.advance(RENEW_INTERVAL_S + 0.1)
            assert a.told == ["started", "stopped"]

        elect(scenario)

    def test_it_comes_back_when_nobody_took_over(self) -> None:
        async def scenario(election: Election) -> None:
            a = await election.start_leader("a")
            a.unreachable_until = election.clock.monotonic() + 60
            await election.clock.advance(60)
            assert not a.leads
            assert await election.seconds_until(lambda: a.leads) <= RENEW_INTERVAL_S + 0.1
            assert a.told == ["started", "stopped", "started"]
            assert (await election.record())["leaseTransitions"] == 0

        elect(scenario)

    @pytest.mark.parametrize("one_way_s", [pytest.param(0.5, id="fast"), pytest.param(4.5, id="slow")])
    def test_it_counts_from_when_the_write_was_sent(self, one_way_s: float) -> None:
        async def scenario(election: Election) -> None:
            a = election.start("a")
            a.delay_s = one_way_s
            assert await election.seconds_until(lambda: a.leads) == pytest.approx(4 * one_way_s, abs=0.02)  # a look and a write
            a.unreachable_until = 100.0
            assert await election.seconds_until(lambda: not a.leads) == pytest.approx(AUTHORITY_S - 2 * one_way_s, abs=0.02)

        elect(scenario)

    def test_an_answer_that_comes_too_late_gives_none(self) -> None:
        async def scenario(election: Election) -> None:
            a = election.start("a")
            a.delay_s = 5.1
            await election.clock.advance(25)
            assert (await election.record())["holderIdentity"] == a.elector.identity
            assert a.told == []

        elect(scenario)

    def test_a_process_that_was_stopped_within_a_renewal_wakes_up_without_it(self) -> None:
        async def scenario(election: Election) -> None:
            a = await election.start_leader("a")
            b = election.start("b")
            a.delay_s = 0.5
            await election.clock.advance(1.2)  # a's renewal is under way, and will succeed
            a.paused_until = 60.0
            await election.seconds_until(lambda: b.leads)
            while election.clock.monotonic() < a.paused_until + 5:
                assert not a.leads
                await election.clock.advance(0.01)
            assert a.told == ["started", "stopped"]
            assert b.told == ["started"]

        elect(scenario)

    def test_it_ends_when_somebody_else_is_seen_to_hold_the_lease(self) -> None:
        async def scenario(election: Election) -> None:
            a = await election.start_leader("a")
            await election.edit(holderIdentity="somebody")
            assert await election.seconds_until(lambda: not a.leads) <= RENEW_INTERVAL_S + 0.1

        elect(scenario)

    def test_a_deleted_lease_is_made_anew_only_when_no_authority_can_be_left(self) -> None:
        async def scenario(election: Election) -> None:
            a = await election.start_leader("a")
            b = election.start("b")
            await election.clock.advance(3600)
            lease = await election.cluster.get(LEASES, KEY)
            assert lease is not None
            assert await election.cluster.delete(LEASES, KEY, uid=lease["metadata"]["uid"])
            assert await election.seconds_until(lambda: not a.leads) <= RENEW_INTERVAL_S + 0.1
            assert LEASE_DURATION_S - RENEW_INTERVAL_S <= await election.seconds_until(lambda: a.leads or b.leads) <= TAKEOVER_S

        elect(scenario)

    def test_a_stop_within_a_renewal_still_releases(self) -> None:
        async def scenario(election: Election) -> None:
            a = await election.start_leader("a")
            a.delay_s = 0.5
            await election.clock.advance(1.7)  # the renewal is written, and its answer is on its way
            await a.stop()
            assert not a.leads
            assert (await election.record())["holderIdentity"] == ""

        elect(scenario)

    def test_a_stop_without_a_cluster_ends_all_the_same(self) -> None:
        async def scenario(election: Election) -> None:
            a = await election.start_leader("a")
            await a.kill()
            assert a.told == ["started", "stopped"]

        elect(scenario)


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
@settings(deadline=None, max_examples=60)
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
        await election.clock.advance(2 * TAKEOVER_S)
        assert sum(process.leads for process in processes) == 1
        assert not watching.done() or watching.result() is None
        watching.cancel()
        for process in processes:
            assert process.told == [("started", "stopped")[turn % 2] for turn in range(len(process.told))]

    elect(scenario)
