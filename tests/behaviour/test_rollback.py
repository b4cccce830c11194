"""Rollback and release by annotation, and what they hold: on both clusters."""

import json

from retrain_operator.cluster.protocol import CONFIG_MAPS, DEPLOYMENTS, EVENTS, SCHEDULES, Body
from tests.behaviour.deployments import deployment, shown
from tests.behaviour.test_deploy import BAD, GOOD, OTHER, SLOT, deployed, live, model, outcome
from tests.behaviour.world import World, condition, schedule

TARGETS = [{"kind": "Deployment", "name": "api"}]


async def ask(world: World, what: str, token: str) -> Body:
    """The schedule when it has acted on the annotation."""
    name = f"retrain.dev/{what}RequestedAt"
    await world.patch(SCHEDULES, "churn", {"metadata": {"annotations": {name: token}}})
    field = {"rollback": "lastHandledRollbackRequestedAt", "release": "lastHandledReleaseRequestedAt"}[what]
    return await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get(field) == token)


def of_churn(targets: list[Body] | None = None) -> Body:
    """A schedule that is suspended: its runs come by hand."""
    return schedule("churn", {"trainer": {"image": "sh"}, "deploy": {"slot": "production", "targets": targets or []}}, suspend=True)


async def test_a_rollback_restores_the_model_before_and_holds_the_data_that_made_the_bad_one(world: World) -> None:
    await world.create(DEPLOYMENTS, deployment("api"))
    await world.create(SCHEDULES, of_churn(TARGETS))
    async with world.operator():
        await deployed(world, "a-good", model(GOOD, data="v1", targets=TARGETS))
        await deployed(world, "b-bad", model(BAD, data="v2", targets=TARGETS))
        assert (await live(world))["sha256"] == BAD
        await ask(world, "rollback", "t1")
        done = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"]["lastRollback"]["state"] == "RolledBack")
        restored = await live(world)
        api = await world.get(DEPLOYMENTS, "api")
        same_data = await deployed(world, "c-again", model(OTHER, data="v2", targets=TARGETS))
        new_data = await deployed(world, "d-fresh", model(OTHER, data="v3", targets=TARGETS))
        event = await world.wait_for_any(EVENTS, lambda body: body["reason"] == "RolledBack")
    assert (restored["sha256"], restored["run"]) == (GOOD, "a-good")
    assert json.loads(restored["slot.json"])["hold"]["dataVersions"] == ["v2"]
    assert done["status"]["lastRollback"]["sha256"] == GOOD
    assert "RetrainJob a-good" in event["note"]
    assert api is not None
    assert shown(api) == GOOD
    assert outcome(same_data) == ("Held", "False", "HeldByRollback")
    assert "releaseRequestedAt" in condition(same_data, "Deployed")["message"]
    assert outcome(new_data) == ("Deployed", "True", "Deployed")
    assert (await live(world))["sha256"] == OTHER


async def test_a_token_acts_once_and_a_release_lifts_the_hold(world: World) -> None:
    await world.create(SCHEDULES, of_churn())
    async with world.operator():
        for name, sha256 in (("m1", GOOD), ("m2", OTHER), ("m3", BAD)):
            await deployed(world, name, model(sha256))
        await ask(world, "rollback", "t1")
        assert (await live(world))["run"] == "m2"
    # As if somebody restored the schedule from a backup: the slot remembers.
    await world.patch_status(SCHEDULES, "churn", {"lastHandledRollbackRequestedAt": None})
    async with world.operator():
        await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("lastHandledRollbackRequestedAt") == "t1")
        assert (await live(world))["run"] == "m2"
        await ask(world, "rollback", "t2")
        assert (await live(world))["run"] == "m1"
        impossible = await ask(world, "rollback", "t3")
        held = await deployed(world, "m4", model("d" * 64))
        await ask(world, "release", "r1")
        released = await deployed(world, "m5", model("e" * 64))
    assert impossible["status"]["lastRollback"]["state"] == "Impossible"
    assert "no previous model" in impossible["status"]["lastRollback"]["message"]
    assert outcome(held) == ("Held", "False", "HeldByRollback")
    assert outcome(released) == ("Deployed", "True", "Deployed")
    slot = await world.get(CONFIG_MAPS, SLOT)
    assert slot is not None
    assert "hold" not in json.loads(slot["data"]["slot.json"])


async def test_a_rollback_that_another_overtakes_is_told_to_its_end(world: World) -> None:
    await world.create(DEPLOYMENTS, deployment("api"))
    await world.create(SCHEDULES, of_churn(TARGETS))
    async with world.operator():
        for name, sha256 in (("m1", GOOD), ("m2", OTHER), ("m3", BAD)):
            await deployed(world, name, model(sha256, targets=TARGETS))
        await world.patch(DEPLOYMENTS, "api", {"spec": {"paused": True}})  # no target follows
        first = await ask(world, "rollback", "t1")
        second = await ask(world, "rollback", "t2")
        # Nothing is left to go back to: it is answered when the one before has ended.
        await world.patch(SCHEDULES, "churn", {"metadata": {"annotations": {"retrain.dev/rollbackRequestedAt": "t3"}}})
        await world.patch(DEPLOYMENTS, "api", {"spec": {"paused": False}})
        done = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"]["lastRollback"]["state"] == "RolledBack")
        impossible = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"]["lastRollback"]["requestedAt"] == "t3")
        event = await world.wait_for_any(EVENTS, lambda body: "another rollback took its place" in body["note"])
        api = await world.get(DEPLOYMENTS, "api")
    assert [each["status"]["lastRollback"]["state"] for each in (first, second)] == ["RollingOut", "RollingOut"]
    assert "RetrainJob m2" in event["note"]
    assert (done["status"]["lastRollback"]["requestedAt"], done["status"]["lastRollback"]["run"]) == ("t2", "m1")
    assert impossible["status"]["lastRollback"]["state"] == "Impossible"
    assert api is not None
    assert shown(api) == GOOD
    assert (await live(world))["run"] == "m1"
