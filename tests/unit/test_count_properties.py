"""Every run is counted once, a run and its retries as one, whatever order its news come in: random histories in virtual time.

Two operators at once, without election, each killed and started at random, whose watches are not in step: the news of a run may come
minutes after those of the schedule that counted it. An observer that sees every write keeps the account.
"""

import json
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile

import pytest
from tests.builders import NOW
from tests.unit.troubled_operator import troubled_operator

from retrain_operator.api.job import Phase
from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.history import Change
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, Body, Resource, Unavailable, WatchEvent
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.operator import operating
from retrain_operator.embedded.runners import Outcome, ScriptedPods
from retrain_operator.reconcile import edge

HISTORIES = 6
EPISODE = timedelta(hours=2)
QUIET_S = 3600.0
KEY = Key("ml", "churn")


class LateWatches(MemoryCluster):
    """A cluster whose watches are each behind by as long as a draw says."""

    def __init__(self, clock: VirtualClock, draw: random.Random) -> None:
        super().__init__(
            clock.now, admission=ADMISSION, before_write=self._lost, after_write=self._lost, latency_s=lambda: draw.choice([0.001, 0.2])
        )
        self.clock = clock
        self.draw = draw
        self.trouble = True

    def _lost(self, method: str, resource: Resource, key: Key) -> None:
        if self.trouble and self.draw.random() < 0.05:
            raise Unavailable(f"{method} {resource.kind} {key}: no answer")

    async def watch(
        self, resource: Resource, namespace: str | None, *, resource_version: str, label_selector: str = ""
    ) -> AsyncGenerator[WatchEvent, None]:
        async for event in super().watch(resource, namespace, resource_version=resource_version, label_selector=label_selector):
            if self.trouble:
                await self.clock.sleep(self.draw.choice([0, 0, 0.3, 2, 20]))
            yield event


@dataclass
class Account:
    """Runs that ended and tell of how training goes, by UID: when, which, and whether it failed."""

    ended: dict[str, tuple[datetime, str, bool]] = field(default_factory=dict)

    def run_changed(self, change: Change) -> None:
        if change.after is None:
            return
        run = edge.child_run(change.after)
        if run.is_finished and run.completion_time and not run.has_next and not run.tells_nothing:
            self.ended[run.uid] = (run.completion_time, run.name, run.phase is Phase.FAILED)

    def failures(self) -> int:
        newest_first = sorted(self.ended.values(), reverse=True)
        return sum(1 for _ in takewhile(lambda each: each[2], newest_first))


def pod(draw: random.Random, body: Body) -> Outcome:
    environment = {each["name"]: each.get("value") for each in body["spec"]["containers"][0]["env"]}
    answer = {"schema": "retrain/v1", "runId": environment["RETRAIN_RUN_ID"], "mode": "Execute", "outcome": "trained"}
    code = draw.choice([0, 1, 1, 4])
    message = json.dumps(answer | {"artifact": {"uri": "s3://m/x", "sha256": "0" * 64}}) if code == 0 else ""
    return Outcome(draw.choice([2, 5, 60, 200]), code, message)


async def tell(clock: VirtualClock, seed: int) -> tuple[LateWatches, Account]:
    draw = random.Random(seed)
    cluster, account = LateWatches(clock, draw), Account()
    cluster.store.history(RUNS).listeners.append(account.run_changed)
    spec = {
        "schedule": draw.choice(["*/7 * * * *", "* * * * *"]),
        "concurrencyPolicy": draw.choice(["Forbid", "Queue", "Replace"]),
        "failedJobsHistoryLimit": draw.choice([0, 1, 3]),
        "jobTemplate": {"spec": {"trainer": {"image": "t"}, "retry": {"limit": 1, "baseSeconds": draw.choice([1, 20])}}},
    }
    cluster.store.create(SCHEDULES, "ml", {"metadata": {"name": "churn"}, "spec": spec})

    operator = partial(troubled_operator, cluster, clock, draw, up_s=(5, 60, 600, 3600))
    async with JobController(cluster, ScriptedPods(lambda body: pod(draw, body), clock), clock):
        async with operator(), operator():
            await clock.sleep(EPISODE.total_seconds())
        cluster.trouble = False
        cluster.store.update(SCHEDULES, KEY, lambda old: {**old, "spec": {**old["spec"], "suspend": True}})
        async with operating(cluster, clock):
            await clock.sleep(QUIET_S)
    return cluster, account


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_every_run_is_counted_once(seed: int) -> None:
    async def main(clock: VirtualClock) -> tuple[LateWatches, Account]:
        return await tell(clock, seed)

    cluster, account = run_virtual(main, NOW)
    stored = cluster.store.get(SCHEDULES, KEY)
    assert stored is not None
    status = edge.schedule(edge.slim(stored), ()).status
    assert len(account.ended) > 5
    assert status.consecutive_failures == account.failures(), sorted(account.ended.values())[-6:]
    for told, failed in ((status.last_failure_time, True), (status.last_successful_time, False)):
        assert told == max((at for at, _, has_failed in account.ended.values() if has_failed is failed), default=None)
