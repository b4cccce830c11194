"""A run that goes before the status of its schedule tells of it has been made all the same: each row is one way to ask for it.

A controller without watches knows what it is told.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest
from tests.builders import NOW

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.informer import ChangeType
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, AlreadyExists, Body, Resource, Unavailable, WatchEvent
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.reconcile.apply import LATE_S
from retrain_operator.reconcile.controller import FRESH_S, Controller
from retrain_operator.reconcile.workqueue import Item, Kind

SCHEDULE = Key("ml", "churn")
SPEC = {"schedule": "* * * * *", "jobTemplate": {"spec": {"trainer": {"image": "t"}}}}


class Bench(MemoryCluster):
    """A schedule, the runs that were made of it, and an API server that may refuse to write its status."""

    def __init__(self, clock: VirtualClock, **annotations: str) -> None:
        super().__init__(clock.now, admission=ADMISSION, before_write=self._before, after_write=self._after)
        self.controller = Controller(self, clock)
        self.made: list[str] = []
        self.status_fails = False
        self.answers_are_lost = False
        self._define(SPEC | ({"suspend": True} if annotations else {}), annotations)

    def _define(self, spec: Mapping[str, Any], annotations: Mapping[str, str]) -> None:
        metadata = {"name": SCHEDULE.name, "annotations": dict(annotations)}
        assert not isinstance(self.store.create(SCHEDULES, "ml", {"metadata": metadata, "spec": dict(spec)}), AlreadyExists)
        self.controller.take(SCHEDULES, "ADDED", self._stored(SCHEDULES, SCHEDULE.name))

    def _before(self, method: str, resource: Resource, key: Key) -> None:
        if (method, resource) == ("create", RUNS):
            self.made.append(key.name)
        if self.status_fails and (method, resource) == ("patch_status", SCHEDULES):
            raise Unavailable("the webhook of a person does not answer")

    def _after(self, method: str, resource: Resource, key: Key) -> None:
        if self.answers_are_lost and (method, resource) == ("create", RUNS):
            raise Unavailable("the answer was lost")

    def _stored(self, resource: Resource, name: str) -> Body:
        body = self.store.get(resource, Key("ml", name))
        assert body is not None
        return body

    @property
    def status(self) -> dict[str, Any]:
        return dict(self._stored(SCHEDULES, SCHEDULE.name).get("status") or {})

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.controller.reconciler.look_at(Item(Kind.SCHEDULE, SCHEDULE))

    def lose(self, run: str) -> None:
        """By a person; the watch tells of it at once."""
        body = self._stored(RUNS, run)
        self.store.delete(RUNS, Key("ml", run))
        self.controller.take(RUNS, "DELETED", body)

    async def edit(self, change: Mapping[str, Any]) -> None:
        """By a person, of the schedule; its watch tells of it at once."""
        await self.patch(SCHEDULES, SCHEDULE, change)
        self.controller.take(SCHEDULES, "MODIFIED", self._stored(SCHEDULES, SCHEDULE.name))

    async def run_without_telling(self, clock: VirtualClock) -> str:
        """A tick's run that has finished, while the status of the schedule cannot be written."""
        self.status_fails = True
        await clock.sleep(61)
        await self.look(times=2)
        [run] = self.made
        self.finish(run)
        return run

    def finish(self, run: str) -> None:
        told = {"phase": "Completed", "completionTime": "2026-03-02T12:00:30Z", "observedGeneration": 1}
        self.store.patch_status(RUNS, Key("ml", run), told)
        self.controller.take(RUNS, "MODIFIED", self._stored(RUNS, run))


@pytest.mark.parametrize("ends", [pytest.param(False, id="unfinished"), pytest.param(True, id="finished")])
@pytest.mark.parametrize("status_fails", [pytest.param(False, id="told next"), pytest.param(True, id="its status cannot be written")])
@pytest.mark.parametrize("asked", [pytest.param({}, id="tick"), pytest.param({"retrain.dev/requestedAt": "now"}, id="request")])
def test_a_run_that_is_deleted_before_it_was_told_is_not_made_again(asked: dict[str, str], status_fails: bool, ends: bool) -> None:
    async def main(clock: VirtualClock) -> Bench:
        on = Bench(clock, **asked)
        on.status_fails = status_fails
        await clock.sleep(61 if not asked else 1)
        await on.look(times=1 if not ends else 2 if status_fails else 1)
        [run] = on.made
        if ends:
            on.finish(run)
        on.lose(run)
        await on.look(times=3)
        on.status_fails = False
        await on.look(times=3)
        return on

    on = run_virtual(main, NOW)
    [run] = on.made
    told = on.status["lastRequest"] if asked else on.status["lastDecision"]
    assert (told["action"], told["job"], on.status.get("active", [])) == ("Run", run, [])
    assert ("lastSuccessfulTime" in on.status) is ends


def test_a_run_whose_create_may_arrive_once_more_keeps_its_name_although_its_record_is_to_go() -> None:
    async def main(clock: VirtualClock) -> list[bool]:
        on = Bench(clock)
        await on.look()
        await on.edit({"spec": {"successfulJobsHistoryLimit": 0}})
        await on.look()
        await clock.sleep(61)
        on.answers_are_lost = True
        await on.look()
        on.answers_are_lost = False
        await on.look(times=3)
        on.finish(on.made[0])
        await on.look(times=3)
        is_there = [on.store.get(RUNS, Key("ml", on.made[0])) is not None]
        await clock.sleep(LATE_S)
        await on.look()
        return [*is_there, on.store.get(RUNS, Key("ml", on.made[0])) is not None]

    assert run_virtual(main, NOW) == [True, False]


def test_an_edit_that_tells_nothing_of_a_run_does_not_have_it_forgotten() -> None:
    async def main(clock: VirtualClock) -> Bench:
        on = Bench(clock)
        run = await on.run_without_telling(clock)
        await on.edit({"metadata": {"annotations": {"example.com/owner": "me"}}})
        on.lose(run)
        on.status_fails = False
        await on.look(times=3)
        return on

    on = run_virtual(main, NOW)
    assert (on.made, on.status["lastDecision"]["action"]) == (["churn-29540881"], "Run")


def test_a_process_that_begins_with_a_status_older_than_a_run_does_not_take_it_for_told() -> None:
    async def main(clock: VirtualClock) -> Bench:
        on = Bench(clock)
        run = await on.run_without_telling(clock)
        await on.patch(SCHEDULES, SCHEDULE, {"metadata": {"annotations": {"example.com/owner": "me"}}})
        on.controller = Controller(on, clock)
        on.controller.take(SCHEDULES, "ADDED", on._stored(SCHEDULES, SCHEDULE.name))
        on.controller.take(RUNS, "ADDED", on._stored(RUNS, run))
        on.lose(run)
        on.status_fails = False
        await on.look(times=3)
        return on

    on = run_virtual(main, NOW)
    assert (len(on.made), on.status["lastDecision"]["action"]) == (1, "Run")


@pytest.mark.parametrize("first", [pytest.param(SCHEDULES, id="after its schedule"), pytest.param(RUNS, id="before its schedule")])
def test_a_run_that_a_new_process_first_hears_of_while_it_goes_is_not_made_again(first: Resource) -> None:
    async def main(clock: VirtualClock) -> Bench:
        on = Bench(clock)
        await on.look()
        run = await on.run_without_telling(clock)
        await on.patch(RUNS, Key("ml", run), {"metadata": {"finalizers": ["example.com/keep"]}})
        on.store.delete(RUNS, Key("ml", run))
        on.controller = Controller(on, clock)
        listed = {SCHEDULES: SCHEDULE.name, RUNS: run}
        for resource in sorted(listed, key=lambda each: each is not first):
            on.controller.take(resource, "ADDED", on._stored(resource, listed[resource]))
        body = on._stored(RUNS, run)
        await on.patch(RUNS, Key("ml", run), {"metadata": {"finalizers": None}})
        on.controller.take(RUNS, "DELETED", body)
        on.status_fails = False
        await on.look(times=3)
        return on

    on = run_virtual(main, NOW)
    assert (len(on.made), on.status["lastDecision"]["action"]) == (1, "Run")


def test_a_status_that_only_tells_that_the_spec_cannot_work_tells_of_no_run() -> None:
    async def main(clock: VirtualClock) -> Bench:
        on = Bench(clock)
        await on.look()
        run = await on.run_without_telling(clock)
        on.status_fails = False
        for zone in ("Nowhere/Land", None):
            await on.edit({"spec": {"timeZone": zone}})
            await on.look()
            if zone is not None:
                on.lose(run)
        await on.look(times=3)
        return on

    on = run_virtual(main, NOW)
    assert (len(on.made), on.status["lastDecision"]["action"]) == (1, "Run")


def test_ticks_that_a_run_overtook_stay_passed_over_when_the_policy_becomes_all() -> None:
    async def main(clock: VirtualClock) -> Bench:
        on = Bench(clock)
        await on.look()
        on.status_fails = True
        await clock.sleep(5 * 60 + 1)
        await on.look()  # of the five ticks the newest has its run
        await on.edit({"spec": {"missedRunPolicy": "All", "maxCatchUp": 5}})
        on.status_fails = False
        await on.look(times=2)
        while on.status.get("active"):
            on.finish(on.made[-1])
            on.lose(on.made[-1])
            await on.look(times=3)
        return on

    on = run_virtual(main, NOW)
    assert on.made == ["churn-29540885"]
    [overtaken] = on.status["recentDecisions"]
    assert (overtaken["reason"], overtaken["count"]) == ("Superseded", 4)


def test_once_it_is_told_nothing_is_remembered_of_it() -> None:
    async def main(clock: VirtualClock) -> Bench:
        on = Bench(clock)
        await clock.sleep(61)
        await on.look()
        on.lose(on.made[0])
        await on.look(times=2)
        return on

    on = run_virtual(main, NOW)
    assert on.controller.cache.untold(SCHEDULE) == ()


def test_a_standby_forgets_what_the_leader_has_told() -> None:
    async def main(clock: VirtualClock) -> list[int]:
        leader = Bench(clock)
        standby = Controller(leader, clock)
        found = []

        def hear(resource: Resource, change: ChangeType, name: str, body: Body | None = None) -> None:
            standby.take(resource, change, body or leader._stored(resource, name))
            found.append(len(standby.cache.untold(SCHEDULE)))

        await clock.sleep(61)
        await leader.look()
        [run] = leader.made
        hear(SCHEDULES, "ADDED", SCHEDULE.name)
        hear(RUNS, "ADDED", run)
        body = leader._stored(RUNS, run)
        leader.lose(run)
        hear(RUNS, "DELETED", run, body)
        await leader.patch(SCHEDULES, SCHEDULE, {"metadata": {"annotations": {"example.com/owner": "me"}}})
        hear(SCHEDULES, "MODIFIED", SCHEDULE.name)  # an edit tells nothing
        leader.controller.take(SCHEDULES, "MODIFIED", leader._stored(SCHEDULES, SCHEDULE.name))
        await leader.look(times=2)
        hear(SCHEDULES, "MODIFIED", SCHEDULE.name)
        return found

    assert run_virtual(main, NOW) == [0, 0, 1, 1, 0]


@pytest.mark.parametrize("heard", [pytest.param(True, id="its deletion was told"), pytest.param(False, id="or not")])
def test_a_schedule_that_was_made_anew_asks_for_its_own_runs(heard: bool) -> None:
    async def main(clock: VirtualClock) -> Bench:
        asked = {"retrain.dev/requestedAt": "now"}
        on = Bench(clock, **asked)
        await on.look()
        body = on._stored(SCHEDULES, SCHEDULE.name)
        on.lose(on.made[0])
        on.store.delete(SCHEDULES, SCHEDULE)
        if heard:
            on.controller.take(SCHEDULES, "DELETED", body)
        on._define(SPEC | {"suspend": True}, asked)
        await on.look(times=2)
        return on

    assert len(run_virtual(main, NOW).made) == 2


EDITS = [
    pytest.param({"suspend": True}, id="suspended"),
    pytest.param({"schedule": "30 * * * *"}, id="given other ticks"),
]


@pytest.mark.parametrize("edit", EDITS)
def test_a_tick_whose_run_was_made_without_an_answer_is_not_told_as_skipped(edit: Mapping[str, Any]) -> None:
    async def main(clock: VirtualClock) -> Bench:
        on = Bench(clock)
        await on.look()
        on.answers_are_lost = True
        await clock.sleep(61)
        await on.look()
        await on.edit({"spec": edit})  # and the watch of runs is behind
        await on.look(times=2)
        return on

    on = run_virtual(main, NOW)
    assert (on.status["lastDecision"]["action"], on.status.get("recentDecisions", [])) == ("Run", [])


@pytest.mark.parametrize(("fresh_s", "runs"), [pytest.param(0.0, 1, id="it reads first"), pytest.param(FRESH_S, 2, id="else it would")])
def test_a_second_operator_makes_no_run_again_that_went_before_it_heard_of_it(fresh_s: float, runs: int) -> None:
    async def main(clock: VirtualClock) -> Bench:
        on = Bench(clock)
        second = Controller(on, clock, fresh_s=fresh_s)
        await on.look()
        second.take(SCHEDULES, "ADDED", on._stored(SCHEDULES, SCHEDULE.name))
        await clock.sleep(61)
        await on.look(times=2)
        on.finish(on.made[0])
        on.lose(on.made[0])
        await on.look(times=2)
        await second.reconciler.look_at(Item(Kind.SCHEDULE, SCHEDULE))
        return on

    assert len(run_virtual(main, NOW).made) == runs


def test_what_is_heard_of_one_namespace_confirms_nothing_in_another() -> None:
    async def main(clock: VirtualClock) -> float:
        on = Bench(clock)
        await clock.sleep(100)  # each namespace has a watch of its own, and this one is silent
        elsewhere = on._stored(SCHEDULES, SCHEDULE.name)["metadata"] | {"namespace": "elsewhere", "uid": "elsewhere"}
        on.controller.take(SCHEDULES, "MODIFIED", {"metadata": elsewhere, "spec": SPEC})
        return on.controller.reconciler.age_s(SCHEDULES, SCHEDULE)

    assert run_virtual(main, NOW) == 100


def test_what_the_leader_before_did_last_is_listed_where_a_watch_is_silent() -> None:
    class Deaf(Bench):
        async def watch(
            self, resource: Resource, namespace: str | None, *, resource_version: str, label_selector: str = ""
        ) -> AsyncGenerator[WatchEvent, None]:
            await asyncio.Event().wait()
            yield WatchEvent("BOOKMARK", {})

    async def main(clock: VirtualClock) -> Bench:
        on = Deaf(clock)
        standby = asyncio.ensure_future(on.controller.run())
        await clock.sleep(62)  # the leader makes the run of 12:01, counts it, and keeps no record of it; then it dies
        on.store.patch_status(SCHEDULES, SCHEDULE, {"decidedThrough": "2026-03-02T12:01:00Z", "effectiveSchedule": "* * * * * Etc/UTC"})
        await clock.sleep(8)
        await on.controller.lead()
        await on.controller.settled()
        standby.cancel()
        return on

    assert run_virtual(main, NOW).made == []


def test_nothing_is_decided_between_two_terms() -> None:
    async def main(clock: VirtualClock) -> list[list[str]]:
        on = Bench(clock)
        process = asyncio.ensure_future(on.controller.run())
        await on.controller.lead()
        await on.controller.settled()
        on.controller.stop_leading()
        await clock.sleep(90)  # the tick of 12:01 comes up; authority is back at once, and what was missed is still to be listed
        found = [list(on.made)]
        await on.controller.lead()
        await on.controller.settled()
        process.cancel()
        return [*found, list(on.made)]

    assert run_virtual(main, NOW) == [[], ["churn-29540881"]]
