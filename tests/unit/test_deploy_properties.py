"""What holds of live models whatever happens: random histories of runs, rollbacks, lost answers and crashes, in virtual time.

Two operators at once, without election, each killed and started at random. An observer sees every write of the slot and of its target.
"""

import hashlib
import json
import random
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from tests.behaviour.deployments import deployment, deployment_controller, is_rolled_out, shown
from tests.builders import NOW
from tests.unit.troubled_operator import troubled_operator

from retrain_operator.api.deploy import DeploymentState
from retrain_operator.api.names import Key
from retrain_operator.api.slot import Slot
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.history import Change
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import CONFIG_MAPS, DEPLOYMENTS, RUNS, SCHEDULES, AlreadyExists, Body, Resource, Unavailable
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.operator import operating
from retrain_operator.embedded.runners import Outcome, ScriptedPods

HISTORIES = 8
EPISODE = timedelta(minutes=20)  # of trouble; then everybody behaves
QUIET_S = 7200.0
SLOT, CHURN, API = Key("ml", "churn-production"), Key("ml", "churn"), Key("ml", "api")


class Story:
    """One history, drawn from a seed."""

    def __init__(self, clock: VirtualClock, seed: int) -> None:
        self.clock = clock
        self.draw = random.Random(seed)
        self.trouble = True
        self.violations: list[str] = []
        self.swaps = self.rollbacks = 0
        self.orders: dict[str, str] = {}  # by sha256, of everything that was ever live
        self.current = ""
        self.restored: set[str] = set()  # by rollbacks
        self.target_order, self.target_rollbacks = "", 0
        self.cluster = MemoryCluster(
            clock.now,
            admission=ADMISSION,
            latency_s=lambda: self.draw.choice([0.001, 0.01, 0.2, 3]) if self.trouble else 0.001,
            before_write=self._maybe_lost,
            after_write=self._maybe_lost,
        )
        self.store = self.cluster.store
        self.store.history(CONFIG_MAPS).listeners.append(self._slot_changed)
        self.store.history(DEPLOYMENTS).listeners.append(self._target_changed)

    def _maybe_lost(self, method: str, resource: Resource, key: Key) -> None:
        if self.trouble and self.draw.random() < 0.1:
            raise Unavailable(f"{method} {resource.kind} {key}: no answer")

    def _slot_changed(self, change: Change) -> None:
        assert change.after is not None
        before, after = (_slot(change.before) if change.before else Slot()), _slot(change.after)
        assert after.current is not None
        data = change.after["data"]
        if (data["sha256"], data["uri"], data["run"]) != (after.current.sha256, after.current.uri, after.current.run):
            self.violations.append(f"half a model: {data}")
        if after.rollback != before.rollback:
            if after.rollback is not None and after.rollback.to_sha256 is not None:
                self.rollbacks += 1
                self.current = after.current.sha256
                self.restored.add(self.current)
                if before.previous[0].sha256 != after.current.sha256:
                    self.violations.append(f"rolled back to {after.current.run}, which is not the model before")
            return
        if before.current is None or after.current.run_uid != before.current.run_uid:
            self.swaps += 1
            newest = max(self.orders.values(), default="")
            if after.current.order <= newest:
                self.violations.append(f"{after.current.order} went live after {newest}")
        self.current = after.current.sha256
        self.orders[self.current] = after.current.order

    def _target_changed(self, change: Change) -> None:
        assert change.after is not None
        sha256, before = shown(change.after), shown(change.before) if change.before else None
        if sha256 is None or sha256 == before:
            return
        order = self.orders[sha256]  # a target never shows what was not in the slot
        is_rollback = sha256 in self.restored and (sha256 == self.current or self.target_rollbacks < self.rollbacks)
        if order < self.target_order and not is_rollback:
            self.violations.append(f"the target went from {self.target_order} to {order} without a rollback")
        self.target_order, self.target_rollbacks = order, self.rollbacks

    def pod(self, pod: Body) -> Outcome:
        environment = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
        run_id = environment["RETRAIN_RUN_ID"]
        takes_s = self.draw.choice([0.5, 5, 60, 400])
        if self.draw.random() < 0.2:
            return Outcome(takes_s, exit_code=1)
        sha256 = hashlib.sha256(run_id.encode()).hexdigest()
        result: dict[str, Any] = {"schema": "retrain/v1", "runId": run_id, "mode": "Execute", "outcome": "trained"}
        result |= {"metrics": {"auc": self.draw.random()}, "artifact": {"uri": f"s3://m/{run_id}", "sha256": sha256}}
        return Outcome(takes_s, message=json.dumps(result | {"data": {"version": f"v{self.draw.randrange(4)}"}}), stops_after_s=1)

    def make_run(self, number: int) -> None:
        spec: Body = {
            "trainer": {"image": "t"},
            "schedule": "churn",
            "window": f"w{number}",  # each has a guard of its own, so they overtake each other
            "retry": {"limit": 1, "baseSeconds": self.draw.choice([1, 30, 300])},
            "deploy": {
                "slot": "production",
                "gates": [{"metric": "auc", "min": 0.2}],
                "targets": [{"kind": "Deployment", "name": "api"}],
                "rolloutTimeoutSeconds": self.draw.choice([10, 60, 600]),
                "autoRollback": self.draw.random() < 0.5,
            },
        }
        assert not isinstance(self.store.create(RUNS, "ml", {"metadata": {"name": f"hand-{number}"}, "spec": spec}), AlreadyExists)

    def meddle(self) -> None:
        """A person asks for a rollback or a release, or pauses the target."""
        token = str(self.draw.randrange(10**6))
        what = self.draw.choice(["rollback", "release", "pause", "nothing", "nothing"])
        if what in ("rollback", "release"):
            self._annotate(f"retrain.dev/{what}RequestedAt", token)
        if what == "pause":
            self._pause(self.draw.random() < 0.5)

    def _annotate(self, name: str, token: str) -> None:
        def change(old: Body) -> Body:
            annotations = {**(old["metadata"].get("annotations") or {}), name: token}
            return {**old, "metadata": {**old["metadata"], "annotations": annotations}}

        self.store.update(SCHEDULES, CHURN, change)

    def _pause(self, paused: bool) -> None:
        self.store.update(DEPLOYMENTS, API, lambda old: {**old, "spec": {**old["spec"], "paused": paused}})

    async def tell(self) -> None:
        template = {"spec": {"trainer": {"image": "t"}, "deploy": {"slot": "production"}}}
        churn = {"metadata": {"name": "churn"}, "spec": {"schedule": "0 0 * * *", "suspend": True, "jobTemplate": template}}
        self.store.create(SCHEDULES, "ml", churn)
        self.store.create(DEPLOYMENTS, "ml", deployment("api"))
        operator = partial(troubled_operator, self.cluster, self.clock, self.draw)
        async with JobController(self.cluster, ScriptedPods(self.pod, self.clock), self.clock), deployment_controller(self.cluster):
            async with operator(), operator():
                end, number = self.clock.now() + EPISODE, 0
                while self.clock.now() < end:
                    for _ in range(self.draw.choice([0, 1, 1, 3])):
                        self.make_run(number)
                        number += 1
                    self.meddle()
                    await self.clock.sleep(self.draw.choice([0, 1, 30, 200]))
            self.trouble = False
            self._pause(False)
            async with operating(self.cluster, self.clock):
                await self.clock.sleep(QUIET_S)
                self.writes_at_rest = self.store.version
                await self.clock.sleep(3600)
                self.writes_at_rest = self.store.version - self.writes_at_rest


def _slot(body: Body) -> Slot:
    return Slot.model_validate(json.loads(body["data"]["slot.json"]))


def told(seed: int) -> Story:
    async def main(clock: VirtualClock) -> Story:
        story = Story(clock, seed)
        await story.tell()
        return story

    return run_virtual(main, NOW)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_no_older_model_goes_live_but_by_rollback(seed: int) -> None:
    story = told(seed)
    assert story.violations == []
    deployments = {run["metadata"]["name"]: run["status"].get("deployment") for run in story.store.list(RUNS).items}
    undecided = {name: each for name, each in deployments.items() if each and not DeploymentState(each["state"]).is_decided}
    assert undecided == {}, "what becomes of every model is decided"
    slot, api = story.store.get(CONFIG_MAPS, SLOT), story.store.get(DEPLOYMENTS, API)
    assert slot is not None
    assert api is not None
    assert story.swaps > 1
    assert story.writes_at_rest == 0, "what is decided is left alone"
    assert is_rolled_out(api)
    assert shown(api) == slot["data"]["sha256"] or _given_up(story), "the target shows what the slot says"


def _given_up(story: Story) -> bool:
    """Whether somebody was told that the target did not follow."""
    reasons = {each["reason"] for run in story.store.list(RUNS).items for each in run["status"]["conditions"] if each["type"] == "Deployed"}
    schedule = story.store.get(SCHEDULES, CHURN)
    assert schedule is not None
    return bool(reasons & {"RolloutTimeout", "DeployRefused"}) or (schedule["status"].get("lastRollback") or {}).get("state") == "TimedOut"


def test_the_histories_have_what_they_are_about() -> None:
    stories = [told(seed) for seed in range(4)]
    assert sum(story.rollbacks for story in stories) >= 3
    assert sum(story.swaps for story in stories) >= 10
