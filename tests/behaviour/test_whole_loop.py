"""The whole loop with the real trainer: data drift, a recommendation, a run, a better model rolled out, a worse one blocked, a rollback."""

import asyncio
from pathlib import Path
from typing import Any

from retrain_operator.cluster.protocol import CONFIG_MAPS, DEPLOYMENTS, RUNS, SCHEDULES, Body
from tests.behaviour.deployments import deployment, is_rolled_out, shown
from tests.behaviour.receiver import Receiver
from tests.behaviour.test_deploy import is_decided, live, outcome
from tests.behaviour.test_plugin import call
from tests.behaviour.test_runs import breast_cancer
from tests.behaviour.world import World

STUMP = {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 1}}
BETTER = {
    "estimator": "sklearn.linear_model.LogisticRegression",
    "params": {"max_depth": None, "max_iter": 5000},
}  # None: the patch removes it
WORSE = {"estimator": "sklearn.dummy.DummyClassifier", "params": {"max_iter": None}}
PATIENCE_S = 150  # the trainer's libraries take long to load on a busy machine


def watched(models: Path, receiver: Receiver) -> Body:
    """A schedule without a cron: drift, and people, start its runs."""
    return {
        "apiVersion": "retrain.dev/v1alpha1",
        "kind": "RetrainSchedule",
        "metadata": {"name": "churn"},
        "spec": {
            "policy": {
                "mode": "Recommend",
                "intervalSeconds": 10,
                "signals": [{"name": "psi", "configMap": {"name": "drift", "key": "psi"}, "above": 0.2}],
            },
            "jobTemplate": {
                "spec": breast_cancer(
                    models,
                    config={"task": "tabular", "target": "target", **STUMP},
                    deploy={
                        "slot": "production",
                        "gates": [{"metric": "accuracy", "min": 0.5, "minImprovement": 0.001}],
                        "targets": [{"kind": "Deployment", "name": "api"}],
                    },
                    notify=[receiver.hook(occasions=["Deployed", "Blocked", "RolledBack", "Failed"])],
                )
            },
        },
    }


def recommends(action: str) -> Any:
    return lambda body: body.get("status", {}).get("recommendation", {}).get("action") == action


async def set_drift(world: World, value: str) -> None:
    await world.patch(CONFIG_MAPS, "drift", {"data": {"psi": value}})


async def trained_with(world: World, config: Body, token: str) -> Body:
    """The run that was asked for with this configuration, when it is decided what becomes of its model, and all have been told."""
    template = {"jobTemplate": {"spec": {"config": {"task": "tabular", "target": "target", **config}}}}
    await world.patch(SCHEDULES, "churn", {"spec": template})
    _, told = await call(world, "trigger", "churn", "--token", token)
    name = told.splitlines()[-1].removeprefix("retrainjob/").removesuffix(" created")
    return await world.wait_for(RUNS, name, lambda body: is_decided(body) and body["status"].get("notified") is True, PATIENCE_S)


async def test_from_drift_to_a_model_that_serves_and_back(world: World, receiver: Receiver, tmp_path: Path) -> None:
    await world.create(DEPLOYMENTS, deployment("api"))
    await world.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "drift"}, "data": {"psi": "0.05"}})
    await world.create(SCHEDULES, watched(tmp_path, receiver))
    async with world.operator("--webhook-allow", receiver.host):
        await world.wait_for(SCHEDULES, "churn", recommends("none"))

        await set_drift(world, "0.31")
        told = await world.wait_for(SCHEDULES, "churn", recommends("recommended"))
        assert told["status"]["recommendation"]["reasons"] == ["psi: 0.31 is above 0.2"]
        assert await world.list(RUNS) == [], "recommended is not executed"

        await world.patch(SCHEDULES, "churn", {"spec": {"policy": {"mode": "Execute"}}})
        await world.wait_for(SCHEDULES, "churn", recommends("queued-retrain"))
        stump = await world.wait_for_any(RUNS, lambda body: body.get("status", {}).get("notified") is True, PATIENCE_S)
        assert (stump["spec"]["trigger"], stump["spec"]["metrics"]) == ("Drift", {"psi": 0.31})
        assert outcome(stump) == ("Deployed", "True", "Deployed")
        await set_drift(world, "0.05")

        better = await trained_with(world, BETTER, "better")
        assert outcome(better) == ("Deployed", "True", "Deployed")
        [verdict] = better["status"]["deployment"]["gates"]
        assert verdict["improvement"] > 0.001
        assert better["status"]["result"]["champion"]["sha256"] == stump["status"]["result"]["artifact"]["sha256"]
        api = await world.get(DEPLOYMENTS, "api")
        assert api is not None
        assert is_rolled_out(api)
        assert shown(api) == better["status"]["result"]["artifact"]["sha256"]

        worse = await trained_with(world, WORSE, "worse")
        assert outcome(worse) == ("Blocked", "False", "GateFailed")
        assert (await live(world))["run"] == better["metadata"]["name"]

        code, rolled_back = await call(world, "rollback", "churn", "--token", "back")
        assert code == 0, rolled_back
        api = await world.get(DEPLOYMENTS, "api")
        assert api is not None
        sha256 = stump["status"]["result"]["artifact"]["sha256"]
        assert (await live(world))["sha256"] == shown(api) == sha256
        await receiver.heard(4)
    runs = [stump["metadata"]["name"], better["metadata"]["name"], worse["metadata"]["name"]]
    assert [(event["data"]["occasion"], event["data"].get("run")) for _, event, _ in receiver.posts[:3]] == [
        ("Deployed", runs[0]),
        ("Deployed", runs[1]),
        ("Blocked", runs[2]),
    ]
    assert [event["data"]["occasion"] for _, event, _ in receiver.posts[3:]] == ["RolledBack"]
    assert len({event["id"] for _, event, _ in receiver.posts}) == 4, "each once"
    await asyncio.to_thread(print, rolled_back)
