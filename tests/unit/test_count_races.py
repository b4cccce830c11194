"""A run and its retries count once, however late the news of them: each row is one order of events.

A controller without watches knows what it is told.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.builders import NOW, at

from retrain_operator.api.base import format_time
from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, AlreadyExists, Body, Resource
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.reconcile.controller import Controller
from retrain_operator.reconcile.workqueue import Item, Kind

SCHEDULE = Key("ml", "churn")
SPEC = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"trainer": {"image": "t"}}}}
ELEVEN = format_time(at("11:00"))
FAILED = {"phase": "Failed", "completionTime": ELEVEN, "error": {"reason": "Flaky"}, "observedGeneration": 1}
COUNTED = {"active": None, "consecutiveFailures": 1}  # what another operator writes
RETRIED = {"nextAttempt": {"job": "a-r1", "time": format_time(at("11:01")), "made": False}}
ENDS: dict[str, dict[str, Any]] = {
    "fails": FAILED,
    "fails-for-now": FAILED | RETRIED,
    "is-retried": {"nextAttempt": {"made": True}},
    "completes": FAILED | {"phase": "Completed", "error": None},
}
COUNTS: dict[str, dict[str, Any]] = {
    "failure": COUNTED | {"lastFailureTime": ELEVEN},
    "earlier-failure": COUNTED | {"lastFailureTime": format_time(at("10:00"))},
    "success": COUNTED | {"consecutiveFailures": 0, "lastSuccessfulTime": ELEVEN},
}


class Bench(MemoryCluster):
    """Counts reads of runs."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock.now, admission=ADMISSION)
        self.reads = 0
        self.controller = Controller(self, clock)

    async def get(self, resource: Resource, key: Key) -> Body | None:
        self.reads += resource is RUNS
        return await super().get(resource, key)

    def made(self, resource: Resource, name: str, spec: Mapping[str, Any]) -> None:
        created = self.store.create(resource, "ml", {"metadata": {"name": name}, "spec": dict(spec)})
        assert not isinstance(created, AlreadyExists)

    def tell(self, resource: Resource, name: str, status: Mapping[str, Any]) -> None:
        assert isinstance(self.store.patch_status(resource, Key("ml", name), dict(status)), dict)

    def hear(self, resource: Resource, name: str) -> None:
        body = self.store.get(resource, Key("ml", name))
        assert body is not None
        self.controller.take(resource, "MODIFIED", body)

    @property
    def status(self) -> dict[str, Any]:
        body = self.store.get(SCHEDULES, SCHEDULE)
        assert body is not None
        status: dict[str, Any] = body["status"]
        return status


async def play(on: Bench, story: str) -> None:
    """Words of a story: "make RUN", "hear RUN" or "hear schedule", "delete RUN", "RUN" with one of ENDS, "count" with one of COUNTS by
    another operator, and "look" with the runs that the status calls active afterwards."""
    on.made(SCHEDULES, "churn", SPEC)
    on.hear(SCHEDULES, "churn")
    for step in story.split(", "):
        match step.split():
            case ["make", run]:
                on.made(RUNS, run, {"schedule": "churn", "trainer": {"image": "t"}})
            case ["hear", "schedule"]:
                on.hear(SCHEDULES, "churn")
            case ["hear", run]:
                on.hear(RUNS, run)
            case ["delete", run]:
                on.store.delete(RUNS, Key("ml", run))
            case ["count", what]:
                on.tell(SCHEDULES, "churn", COUNTS[what])
            case ["look", *active]:
                await on.controller.reconciler.look_at(Item(Kind.SCHEDULE, SCHEDULE))
                assert [each["name"] for each in on.status.get("active", [])] == active, step
            case [run, end]:
                on.tell(RUNS, run, ENDS[end])


# The story, the failures in a row in the end, and how often a run was read.
ORDERS = [
    pytest.param("make a, hear a, look a, a fails, hear a, look, look", 1, 0, id="all in order: counted once, and nothing is read for it"),
    pytest.param(
        "make a, hear a, a fails, count failure, hear schedule, look, hear a, look",
        1,
        1,
        id="another operator counted it before its end was heard of: not called active, not counted again",
    ),
    pytest.param(
        "make a, hear a, look a, a fails, count failure, hear schedule, look, hear a, look",
        1,
        1,
        id="the same of one that was called active here",
    ),
    pytest.param(
        "make a, hear a, a fails, count failure, delete a, hear schedule, look", 1, 1, id="counted and pruned by another operator: gone"
    ),
    pytest.param(
        "make a, hear a, count earlier-failure, hear schedule, look a, a fails, hear a, look",
        2,
        1,
        id="it goes on, and the status tells of another one: active, then counted",
    ),
    pytest.param(
        "make a, hear a, look a, a fails-for-now, hear a, look a, make a-r1, a is-retried, hear a-r1, hear a, look a-r1, "
        "a-r1 fails, hear a-r1, look, look",
        1,
        0,
        id="a retried run: active between its attempts, counted with the last one",
    ),
    pytest.param(
        "make a, a fails-for-now, make a-r1, a is-retried, hear a, hear a-r1, a-r1 fails, count failure, hear schedule, look, "
        "hear a-r1, look",
        1,
        1,
        id="a retry that another operator saw end: not counted again",
    ),
    pytest.param(
        "make a, hear a, a completes, count success, hear schedule, look, make b, hear b, look b, b fails, hear b, hear a, look",
        1,
        1,
        id="a success that was counted before does not end a row that began since",
    ),
]


@pytest.mark.parametrize(("story", "failures", "reads"), ORDERS)
def test_counted_once(story: str, failures: int, reads: int) -> None:
    async def main(clock: VirtualClock) -> Bench:
        bench = Bench(clock)
        await play(bench, story)
        return bench

    bench = run_virtual(main, NOW)
    assert (bench.status["consecutiveFailures"], bench.reads) == (failures, reads)
