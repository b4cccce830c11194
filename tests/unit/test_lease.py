"""The election, case by case."""

import re

import pytest
from tests.unit.election import KEY, Election, elect

from retrain_operator.cluster.kube import WRITE_TIMEOUT_S
from retrain_operator.cluster.lease import AUTHORITY_S, LEASE_DURATION_S, RENEW_INTERVAL_S
from retrain_operator.cluster.protocol import LEASES

MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
TAKEOVER_S = LEASE_DURATION_S + RENEW_INTERVAL_S + 0.1


def test_a_write_that_was_begun_with_authority_ends_before_another_can_lead() -> None:
    assert AUTHORITY_S + WRITE_TIMEOUT_S <= LEASE_DURATION_S


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

    def test_a_gap_between_two_renewals_is_told_although_the_second_closed_it(self) -> None:
        async def scenario(election: Election) -> None:
            a = await election.start_leader("a")
            a.delay_s = 2.4
            a.unreachable_until = election.clock.monotonic() + 7  # one renewal fails, and the answer to the next comes after the end
            await election.seconds_until(lambda: not a.leads)
            await election.seconds_until(lambda: a.leads, at_most_s=RENEW_INTERVAL_S)
            # What was refused in between is looked at again only by who is told that a new term begins.
            assert a.told == ["started", "stopped", "started"]

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
