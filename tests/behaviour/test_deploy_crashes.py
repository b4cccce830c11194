"""An operator that dies in the middle of a deployment, and the one after it: no half model, nothing twice, nothing forgotten."""

import json

import pytest

from retrain_operator.api.names import Key
from retrain_operator.cluster.protocol import CONFIG_MAPS, DEPLOYMENTS, RUNS, SCHEDULES, Resource, Unavailable
from tests.behaviour.deployments import deployment, shown
from tests.behaviour.embedded_world import EmbeddedWorld
from tests.behaviour.test_deploy import BAD, GOOD, SLOT, is_decided, live, model, outcome
from tests.behaviour.test_rollback import TARGETS, of_churn
from tests.behaviour.world import run

FAULTS = [
    pytest.param("before", "patch_status", RUNS, id="between the slot and the run's status"),
    pytest.param("before", "patch_spec", DEPLOYMENTS, id="between the slot and the target"),
    pytest.param("after", "create", CONFIG_MAPS, id="the slot was written, and the answer was lost"),
    pytest.param("after", "patch_spec", DEPLOYMENTS, id="the target was written, and the answer was lost"),
]


class Fault:
    """From the slot's first write on, this write fails: nothing comes behind it."""

    def __init__(self, world: EmbeddedWorld, when: str, method: str, resource: Resource) -> None:
        self._world, self._fails = world, (method, resource.plural)
        self.cluster = world.memory
        setattr(self.cluster, f"{when}_write", self)

    def __call__(self, method: str, resource: Resource, key: Key) -> None:
        slot = self.cluster.store.get(CONFIG_MAPS, Key(self._world.namespace, SLOT))
        if slot is not None and (method, resource.plural) == self._fails:
            raise Unavailable("injected: no answer")

    def over(self) -> None:
        self.cluster.before_write = self.cluster.after_write = None


@pytest.mark.parametrize(("when", "method", "resource"), FAULTS)
async def test_the_next_operator_goes_on_where_it_stopped(
    embedded_world: EmbeddedWorld, when: str, method: str, resource: Resource
) -> None:
    world = embedded_world
    await world.create(DEPLOYMENTS, deployment("api"))
    fault = Fault(world, when, method, resource)
    gates = [{"metric": "roc_auc", "min": 0.8, "minImprovement": 0}]
    async with world.operator():
        await world.create(RUNS, run("first", model(GOOD, targets=TARGETS, gates=gates)))
        await world.wait_for(CONFIG_MAPS, SLOT, lambda body: True)
    fault.over()
    async with world.operator():
        done = await world.wait_for(RUNS, "first", is_decided)
    api = await world.get(DEPLOYMENTS, "api")
    assert api is not None
    assert outcome(done) == ("Deployed", "True", "Deployed")
    assert [each["passed"] for each in done["status"]["deployment"]["gates"]] == [True]
    assert shown(api) == GOOD
    assert json.loads((await live(world))["slot.json"])["serial"] == 1, "swapped once"


async def test_a_rollback_acts_once_over_a_crash(embedded_world: EmbeddedWorld) -> None:
    world = embedded_world
    await world.create(SCHEDULES, of_churn())
    async with world.operator():
        for name, sha256 in (("m1", GOOD), ("m2", "c" * 64), ("m3", BAD)):
            await world.create(RUNS, run(name, model(sha256)))
            await world.wait_for(RUNS, name, is_decided)
        fault = Fault(world, "before", "patch_status", SCHEDULES)
        await world.patch(SCHEDULES, "churn", {"metadata": {"annotations": {"retrain.dev/rollbackRequestedAt": "t"}}})
        await world.wait_for(CONFIG_MAPS, SLOT, lambda body: body["data"]["run"] == "m2")
    fault.over()
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("lastHandledRollbackRequestedAt") == "t")
    assert told["status"]["lastRollback"]["run"] == "m2"
    assert (await live(world))["run"] == "m2", "and not the one before it"
