"""Models that go live, or do not: gates, slots, targets. On both clusters."""

import json
from pathlib import Path
from typing import Any

from retrain_operator.cluster.protocol import CONFIG_MAPS, DEPLOYMENTS, EVENTS, RUNS, SCHEDULES, Body
from tests.behaviour.deployments import deployment, is_rolled_out, shown
from tests.behaviour.world import World, condition, is_finished, overdue, phase, run, schedule, trainer

GOOD, BAD, OTHER = "a" * 64, "b" * 64, "c" * 64
SLOT = "churn-production"
DECIDED = ("Deployed", "Blocked", "Held", "Superseded", "Failed", "RolledBack")


def model(sha256: str, *, auc: float = 0.9, data: str = "v1", compared: float | None = None, **deploy: Any) -> Body:
    """Spec of a run that trains this model. compared: what its trainer found for the champion that it was told of."""
    champion = f',"champion":{{"sha256":"%s","metrics":{{"roc_auc":{compared}}}}}' if compared is not None else ""
    fills = ' "$RETRAIN_CHAMPION_SHA256"' if compared is not None else ""
    more = (
        f',"metrics":{{"roc_auc":{auc}}},"evaluation":{{"n":500}},"data":{{"version":"{data}"}},'
        f'"artifact":{{"uri":"file:///models/{sha256[:4]}","sha256":"{sha256}"}}{champion}'
    )
    return trainer(f"answer trained \"$(printf '{more}'{fills})\"", schedule="churn", deploy={"slot": "production"} | deploy)


def is_decided(body: Body) -> bool:
    return body["status"].get("deployment", {}).get("state") in DECIDED


async def deployed(world: World, name: str, spec: Body) -> Body:
    """The run when it is decided what becomes of its model. Of runs of the same second the one with the later name counts as newer."""
    await world.create(RUNS, run(name, spec))
    return await world.wait_for(RUNS, name, is_decided)


def outcome(body: Body) -> tuple[str, str, str]:
    told = condition(body, "Deployed")
    return body["status"]["deployment"]["state"], told["status"], told["reason"]


async def live(world: World) -> Body:
    """The slot's plain keys."""
    slot = await world.get(CONFIG_MAPS, SLOT)
    assert slot is not None
    return dict(slot["data"])


async def test_a_trained_model_goes_live(world: World) -> None:
    async with world.operator():
        first = await deployed(world, "first", model(GOOD))
        event = await world.wait_for_any(EVENTS, lambda body: body["reason"] == "Deployed")
    slot = await world.get(CONFIG_MAPS, SLOT)
    assert slot is not None
    assert outcome(first) == ("Deployed", "True", "Deployed")
    assert condition(first, "Ready")["status"] == "True"
    deployed_at = slot["data"].pop("deployedAt")
    record = json.loads(slot["data"].pop("slot.json"))
    uri = f"file:///models/{GOOD[:4]}"
    assert slot["data"] == {"uri": uri, "sha256": GOOD, "run": "first", "weight": "100", "metrics": '{"roc_auc": 0.9}'}
    assert record["current"]["deployedAt"] == deployed_at
    assert record["current"]["runUid"] == first["metadata"]["uid"]
    labels = {"retrain.dev/schedule": "churn", "retrain.dev/slot": "production", "app.kubernetes.io/managed-by": "retrain-operator"}
    assert slot["metadata"]["labels"] == labels
    assert "ownerReferences" not in slot["metadata"], "a live model's record outlives its schedule"
    assert event["regarding"]["name"] == "first"


async def test_a_gate_blocks_a_worse_model_and_says_by_how_much(world: World) -> None:
    gates = [{"metric": "roc_auc", "min": 0.8, "minImprovement": 0.01, "minSamples": 100}]
    async with world.operator():
        await deployed(world, "first", model(GOOD, auc=0.85, gates=gates))
        worse = await deployed(world, "worse", model(BAD, auc=0.82, compared=0.86, gates=gates))
        better = await deployed(world, "young", model(OTHER, auc=0.87, compared=0.86, gates=gates))
        blocked = await world.wait_for_any(EVENTS, lambda body: body["reason"] == "GateFailed")
    assert phase(worse) == "Completed"
    assert condition(worse, "Ready")["status"] == "True"
    assert outcome(worse) == ("Blocked", "False", "GateFailed")
    [verdict] = worse["status"]["deployment"]["gates"]
    assert {name: verdict[name] for name in ("passed", "value", "champion", "improvement")} == {
        "passed": False, "value": 0.82, "champion": 0.86, "improvement": -0.04
    }  # fmt: skip
    assert "0.82 against the current model's 0.86 is worse by 0.04" in condition(worse, "Deployed")["message"]
    assert "is worse by 0.04" in blocked["note"]
    assert outcome(better) == ("Deployed", "True", "Deployed")
    assert better["status"]["deployment"]["previousSha256"] == GOOD
    assert (await live(world))["sha256"] == OTHER


async def test_a_model_that_was_not_compared_is_blocked(world: World) -> None:
    gates = [{"metric": "roc_auc", "minImprovement": 0}]
    async with world.operator():
        await deployed(world, "first", model(GOOD, gates=gates))
        other = await deployed(world, "later", model(BAD, auc=0.99, gates=gates))
    assert outcome(other) == ("Blocked", "False", "GateFailed")
    assert "has not scored the current model on the same holdout" in condition(other, "Deployed")["message"]
    assert (await live(world))["sha256"] == GOOD


async def test_a_slow_old_run_does_not_take_the_slot_from_a_newer_one(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    slow = model(BAD)
    slow["trainer"]["command"][-1] = f"while [ ! -e {gate} ]; do sleep 0.05; done; " + slow["trainer"]["command"][-1]
    async with world.operator():
        await world.create(RUNS, run("slow", {**slow, "window": "old"}))
        old = await world.wait_for(RUNS, "slow", lambda body: phase(body) == "Running")
        # Names decide between two runs of the same second.
        new = await deployed(world, "young", {**model(GOOD), "window": "new"})
        gate.touch()
        late = await world.wait_for(RUNS, "slow", is_decided)
    assert old["metadata"]["creationTimestamp"] <= new["metadata"]["creationTimestamp"]
    assert outcome(new) == ("Deployed", "True", "Deployed")
    assert outcome(late) == ("Superseded", "False", "NewerDeployed")
    assert (await live(world))["sha256"] == GOOD


async def test_a_config_map_that_is_not_a_slot_is_left_alone(world: World) -> None:
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": SLOT}, "data": {"uri": "theirs"}}
    await world.create(CONFIG_MAPS, theirs)
    async with world.operator():
        refused = await deployed(world, "first", model(GOOD))
    assert outcome(refused) == ("Failed", "False", "SlotTaken")
    assert "delete or rename it" in condition(refused, "Deployed")["message"]
    assert await live(world) == {"uri": "theirs"}


async def test_a_run_without_schedule_and_guard_key_has_no_slot(world: World) -> None:
    spec = model(GOOD)
    del spec["schedule"]
    async with world.operator():
        refused = await deployed(world, "lonely", spec)
    assert outcome(refused) == ("Failed", "False", "SlotUnnamed")
    assert "retrain.dev/guard-key" in condition(refused, "Deployed")["message"]


async def test_a_target_is_deployed_when_its_rollout_is_complete(world: World) -> None:
    await world.create(DEPLOYMENTS, deployment("api", deploy_from="other, churn"))
    await world.wait_for(DEPLOYMENTS, "api", is_rolled_out)
    spec = model(GOOD, targets=[{"kind": "Deployment", "name": "api"}])
    async with world.operator():
        await world.create(RUNS, run("first", spec))
        rolling = await world.wait_for(RUNS, "first", lambda body: condition(body, "Deployed").get("reason") == "RollingOut")
        done = await world.wait_for(RUNS, "first", is_decided)
    api = await world.get(DEPLOYMENTS, "api")
    assert api is not None
    assert phase(rolling) == "Completed"
    assert condition(rolling, "Deployed")["status"] == "Unknown"
    assert condition(rolling, "Ready")["status"] == "True"
    assert outcome(done) == ("Deployed", "True", "Deployed")
    assert done["status"]["deployment"]["targets"] == [{"kind": "Deployment", "name": "api", "ready": True, "message": ""}]
    assert is_rolled_out(api)
    assert shown(api) == GOOD


async def test_a_target_that_has_not_opted_in_is_left_alone_and_so_is_the_slot(world: World) -> None:
    await world.create(DEPLOYMENTS, deployment("api", deploy_from="another"))
    async with world.operator():
        refused = await deployed(world, "first", model(GOOD, targets=[{"kind": "Deployment", "name": "api"}]))
        missing = await deployed(world, "second", model(GOOD, targets=[{"kind": "Deployment", "name": "nowhere"}]))
        unserved = await deployed(world, "third", model(GOOD, targets=[{"kind": "InferenceService", "name": "churn"}]))
    api = await world.get(DEPLOYMENTS, "api")
    assert outcome(unserved) == ("Failed", "False", "TargetNotFound")
    assert outcome(refused) == ("Failed", "False", "TargetNotOptedIn")
    assert "retrain.dev/deploy-from: churn" in condition(refused, "Deployed")["message"]
    assert outcome(missing) == ("Failed", "False", "TargetNotFound")
    assert api is not None
    assert shown(api) is None
    assert await world.get(CONFIG_MAPS, SLOT) is None


async def test_a_rollout_that_hangs_is_rolled_back_when_asked_for(world: World) -> None:
    await world.create(DEPLOYMENTS, deployment("api"))
    targets: dict[str, Any] = {"targets": [{"kind": "Deployment", "name": "api"}], "rolloutTimeoutSeconds": 10, "autoRollback": True}
    async with world.operator():
        await deployed(world, "first", model(GOOD, **targets))
        await world.patch(DEPLOYMENTS, "api", {"spec": {"paused": True}})
        hung = await deployed(world, "second", model(BAD, **targets))
        same_data = await deployed(world, "third", model(OTHER, **targets))
    api = await world.get(DEPLOYMENTS, "api")
    assert api is not None
    assert outcome(hung) == ("RolledBack", "False", "RolloutTimeout")
    message = condition(hung, "Deployed")["message"]
    assert "not complete within 10 s: Deployment api: it is paused" in message
    assert f"Rolled back to the model of RetrainJob first, sha256 {GOOD}" in message
    assert outcome(same_data) == ("Held", "False", "HeldByRollback")
    assert shown(api) == GOOD
    assert (await live(world))["sha256"] == GOOD


async def test_a_rollout_that_hangs_is_told_and_left_otherwise(world: World) -> None:
    await world.create(DEPLOYMENTS, deployment("api", paused=True))
    targets: dict[str, Any] = {"targets": [{"kind": "Deployment", "name": "api"}], "rolloutTimeoutSeconds": 10}
    async with world.operator():
        hung = await deployed(world, "first", model(GOOD, **targets))
    assert outcome(hung) == ("Failed", "False", "RolloutTimeout")
    assert (await live(world))["sha256"] == GOOD


async def test_records_of_models_that_are_live_or_to_go_back_to_are_kept(world: World) -> None:
    spec = model(GOOD)
    del spec["schedule"]
    limits = {"successfulJobsHistoryLimit": 0}
    await world.create(SCHEDULES, schedule("churn", {**spec, "deploy": {"slot": "production", "historyLimit": 1}}, **limits))
    await overdue(world, "churn")
    async with world.operator():
        first = await world.wait_for_any(RUNS, is_decided)
        await world.patch(SCHEDULES, "churn", {"metadata": {"annotations": {"retrain.dev/requestedAt": "again"}}})
        told = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("lastHandledRequestedAt") == "again")
        second = told["status"]["lastRequest"]["job"]
        await world.wait_for(RUNS, second, is_decided)  # the same artifact: the first run's record is nothing to go back to
        await world.gone(RUNS, first["metadata"]["name"])
        kept = await world.get(RUNS, second)
    assert kept is not None
    assert is_finished(kept)
