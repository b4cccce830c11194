"""Signals as the operator reads them: what comes of a ConfigMap or Secret that is not as it should be, and of a read that hangs."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from tests.builders import at
from tests.unit.fake_api import serving
from tests.unit.test_drift import watched
from tests.unit.test_prometheus import samples

from retrain_operator.api.names import LABEL_ALLOW_READ, Key
from retrain_operator.clock import SystemClock, VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.prometheus import Prometheus
from retrain_operator.cluster.protocol import CONFIG_MAPS, EVENTS, RUNS, SCHEDULES, SECRETS, Body, Forbidden, Resource, Unavailable
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.embedded.operator import operating
from retrain_operator.reconcile.controller import Controller
from retrain_operator.reconcile.signals import READ_TIMEOUT_S, READS_AT_ONCE, SignalReader
from retrain_operator.reconcile.workqueue import Item, Kind
from retrain_operator.rules.observed import Readings, ScheduleObserved

START = at("2026-03-02T12:00")
PSI = {"name": "psi", "configMap": {"name": "drift", "key": "psi"}, "above": 0.2}


class Faulty(MemoryCluster):
    """Reads of some ConfigMaps fail, or the first so many of all."""

    outages = 0

    async def get(self, resource: Resource, key: Key) -> Body | None:
        if resource is CONFIG_MAPS and key.name == "hangs":
            await asyncio.Event().wait()
        if resource is CONFIG_MAPS and key.name == "forbidden":
            raise Forbidden('configmaps "forbidden" is forbidden')
        if resource is CONFIG_MAPS and (key.name == "unavailable" or self.outages > 0):
            self.outages -= 1
            raise Unavailable("no answer")
        return await super().get(resource, key)


def config_map(name: str = "drift", **data: str) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "ml"}, "data": data}


def schedule(name: str = "churn", signals: Any = (PSI,), **policy: Any) -> Body:
    return {
        "apiVersion": "retrain.dev/v1alpha1",
        "kind": "RetrainSchedule",
        "metadata": {"name": name, "namespace": "ml"},
        "spec": {
            "policy": {"mode": "Execute", "signals": list(signals), **policy},
            "jobTemplate": {"spec": {"trainer": {"image": "trainer:1"}}},
        },
    }


def virtually(steps: Callable[[Faulty, VirtualClock, Controller], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        cluster = Faulty(clock.now, admission=ADMISSION)
        async with operating(cluster, clock) as controller:
            await clock.settle()
            await steps(cluster, clock, controller)

    run_virtual(main, START)


async def status_of(cluster: MemoryCluster, name: str = "churn") -> Body:
    body = await cluster.get(SCHEDULES, Key("ml", name))
    assert body is not None
    return dict(body["status"])


def drift_detected(status: Body) -> str:
    [condition] = [each for each in status["conditions"] if each["type"] == "DriftDetected"]
    return f"{condition['status']} {condition['reason']}: {condition['message']}"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param({"name": "gone", "key": "psi"}, "ConfigMap gone does not exist", id="no ConfigMap"),
        pytest.param({"name": "drift", "key": "kl"}, "ConfigMap drift has no key kl", id="no key"),
        pytest.param({"name": "drift", "key": "text"}, "ConfigMap drift, key text: 'high' is no finite number", id="no number"),
        pytest.param({"name": "drift", "key": "nan"}, "ConfigMap drift, key nan: 'NaN' is no finite number", id="NaN"),
        pytest.param({"name": "drift", "key": "long"}, f"key long: '{'9' * 40}' is no finite number", id="a long text is cut"),
        pytest.param({"name": "forbidden", "key": "psi"}, 'ConfigMap forbidden: configmaps "forbidden" is forbidden', id="no right"),
        pytest.param({"name": "unavailable", "key": "psi"}, "ConfigMap unavailable: no answer", id="no answer"),
        pytest.param({"name": "hangs", "key": "psi"}, "ConfigMap hangs: no answer from the API server in 10 s", id="hangs"),
    ],
)
def test_unreadable(source: Body, says: str) -> None:
    async def steps(cluster: Faulty, clock: VirtualClock, controller: Controller) -> None:
        await cluster.apply(config_map(psi="0.3", text="high", nan="NaN", long="9" * 400))
        await cluster.apply(schedule(signals=[PSI | {"configMap": source}]))
        await clock.advance(3 * 300)
        status = await status_of(cluster)
        assert drift_detected(status).startswith("Unknown SignalUnreadable: psi cannot be read: ")
        assert says in drift_detected(status)
        assert status["recommendation"]["action"] == "none"
        assert status["signals"][0] | {"definition": ""} == {
            "name": "psi", "definition": "", "breaches": 0, "readable": False, "message": status["signals"][0]["message"],
        }  # fmt: skip
        assert (await cluster.list(RUNS, "ml")).items == []
        events = [each for each in (await cluster.list(EVENTS, "ml")).items if each["reason"] == "SignalUnreadable"]
        assert len(events) == 1, "once, and not at every evaluation"

    virtually(steps)


def test_each_evaluation_is_one_write() -> None:
    async def steps(cluster: Faulty, clock: VirtualClock, controller: Controller) -> None:
        writes: list[tuple[str, datetime]] = []
        await cluster.apply(config_map(psi="0.1"))
        await cluster.apply(schedule(intervalSeconds=60))
        await clock.settle()
        cluster.after_write = lambda method, resource, key: writes.append((f"{method} {resource.kind}", clock.now()))
        await clock.advance(600)
        assert [write for write, _ in writes] == ["patch_status RetrainSchedule"] * 10
        assert {later - earlier for (_, earlier), (_, later) in pairwise(writes)} == {timedelta(seconds=60)}
        assert drift_detected(await status_of(cluster)) == "False NoDrift: no signal fires"
        assert controller.metrics.registry.get_sample_value("retrain_drift_evaluations_total", {"action": "none"}) == 11

    virtually(steps)


def test_an_api_server_that_is_away_for_a_while_costs_no_evaluation() -> None:
    async def steps(cluster: Faulty, clock: VirtualClock, controller: Controller) -> None:
        cluster.outages = 6
        await cluster.apply(config_map(psi="0.3"))
        await cluster.apply(schedule(intervalSeconds=86_400))
        await clock.advance(45)
        assert (await status_of(cluster))["recommendation"]["action"] == "queued-retrain"
        assert not [each for each in (await cluster.list(EVENTS, "ml")).items if each["reason"] == "SignalUnreadable"]

    virtually(steps)


def test_signals_that_hang_hold_up_no_other_schedule() -> None:
    async def steps(cluster: Faulty, clock: VirtualClock, controller: Controller) -> None:
        hanging = {"name": "hangs", "key": "psi"}
        for i in range(3 * READS_AT_ONCE):
            await cluster.apply(schedule(f"slow-{i}", [PSI | {"configMap": hanging}]))
        ticking = schedule("ticks")
        ticking["spec"] = {"schedule": "* * * * *", "jobTemplate": ticking["spec"]["jobTemplate"]}
        await cluster.apply(ticking)
        await cluster.apply(schedule("local", [{"name": "age", "staleness": {"maxAgeSeconds": 1}}]))
        await clock.advance(1)
        assert (await status_of(cluster, "ticks"))["nextScheduleTime"]
        assert drift_detected(await status_of(cluster, "local"))
        await clock.advance(4 * READ_TIMEOUT_S)
        for i in range(3 * READS_AT_ONCE):
            assert drift_detected(await status_of(cluster, f"slow-{i}")).startswith("Unknown SignalUnreadable")

    virtually(steps)


@pytest.mark.parametrize("dies", ["before the status", "after the create"])
def test_an_operator_that_dies_in_the_middle_of_an_evaluation_makes_one_run(dies: str) -> None:
    async def main(clock: VirtualClock) -> None:
        cluster = Faulty(clock.now, admission=ADMISSION)
        is_up = True

        def before(method: str, resource: Resource, key: Key) -> None:
            nonlocal is_up
            is_up = is_up and not (dies == "before the status" and method == "patch_status" and resource is SCHEDULES and made())
            if not is_up:
                raise Unavailable("it is dead")

        def after(method: str, resource: Resource, key: Key) -> None:
            nonlocal is_up
            if dies == "after the create" and method == "create" and resource is RUNS:
                is_up = False
                raise Unavailable("it is dead")

        def made() -> int:
            return len(cluster.store.list(RUNS).items)

        await cluster.apply(config_map(psi="0.3"))
        await cluster.apply(schedule())
        cluster.before_write, cluster.after_write = before, after
        async with operating(cluster, clock):
            await clock.advance(5)
        assert made() == 1
        assert "recommendation" not in await status_of(cluster)
        cluster.before_write = cluster.after_write = None
        await cluster.apply(config_map(psi="0.1"))
        async with operating(cluster, clock):
            await clock.advance(5)
        status = await status_of(cluster)
        [run] = (await cluster.list(RUNS, "ml")).items
        assert (status["recommendation"]["action"], status["recommendation"]["job"]) == ("queued-retrain", run["metadata"]["name"])
        assert run["spec"]["metrics"] == {"psi": 0.3}
        assert [each["name"] for each in status["driftRuns"]] == [run["metadata"]["name"]]

    run_virtual(main, START)


# Prometheus, in real time, for it has sockets.


async def readings_of(cluster: MemoryCluster, prometheus: Prometheus, observed: ScheduleObserved) -> Readings:
    noticed: asyncio.Queue[Sequence[Item]] = asyncio.Queue()
    reader = SignalReader(cluster, prometheus, SystemClock(), noticed.put_nowait)
    assert reader.readings(observed) is None
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(reader.run())
        async with asyncio.timeout(10):
            await noticed.get()
        work.cancel()
    readings = reader.readings(observed)
    assert readings is not None
    return readings


def secret(*, labels: dict[str, str], **data: bytes) -> Body:
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prometheus", "namespace": "ml", "labels": labels}, "data": encoded}


class ReadLog(MemoryCluster):
    """Writes down which Secrets are read."""

    secrets: tuple[str, ...] = ()

    async def get(self, resource: Resource, key: Key) -> Body | None:
        if resource is SECRETS:
            self.secrets += (key.name,)
        return await super().get(resource, key)


OPTED_IN = {LABEL_ALLOW_READ: "true"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(secret(labels=OPTED_IN, token=b"s3cret\n"), None, id="with its label: sent"),
        pytest.param(secret(labels={}, token=b"s3cret"), f'does not carry the label {LABEL_ALLOW_READ}: "true"', id="without: not sent"),
        pytest.param(secret(labels={LABEL_ALLOW_READ: "no"}, token=b"s3cret"), "does not carry the label", id="label no: not sent"),
        pytest.param(secret(labels=OPTED_IN, other=b"s3cret"), "Secret prometheus has no key token", id="no such key"),
        pytest.param(secret(labels=OPTED_IN, token=b"a\r\nHost: evil"), "is not one line that can be sent", id="a token with a line end"),
        pytest.param(secret(labels=OPTED_IN, token=b"\xff"), "is not one line that can be sent", id="a token that is no text"),
        pytest.param(None, "Secret prometheus does not exist", id="no Secret"),
    ],
)
async def test_a_bearer_token(body: Body | None, says: str | None) -> None:
    seen: list[str | None] = []

    async def answer(request: Any) -> Any:
        seen.append(request.headers.get("Authorization"))
        return await samples("0.3")(request)

    clock = SystemClock()
    cluster = ReadLog(clock.now)
    if body is not None:
        await cluster.apply(body)
    async with serving(answer) as url, Prometheus([url.removeprefix("http://")]) as prometheus:
        source = {"url": url, "query": "up", "bearerTokenSecret": {"name": "prometheus", "key": "token"}}
        observed = watched(signals=[{"name": "share", "prometheus": source, "above": 0.2}])
        reading = (await readings_of(cluster, prometheus, observed)).values["share"]
    if says is None:
        assert (reading.value, seen) == (0.3, ["Bearer s3cret"])
    else:
        assert (reading.value, seen) == (None, [])
        assert says in reading.problem
        assert "s3cret" not in reading.problem


async def test_no_secret_is_read_for_a_host_that_is_not_allowed() -> None:
    cluster = ReadLog(SystemClock().now)
    await cluster.apply(secret(labels=OPTED_IN, token=b"s3cret"))
    source = {"url": "http://evil:9090", "query": "up", "bearerTokenSecret": {"name": "prometheus", "key": "token"}}
    async with Prometheus(["prometheus:9090"]) as prometheus:
        observed = watched(signals=[{"name": "share", "prometheus": source, "above": 0.2}])
        reading = (await readings_of(cluster, prometheus, observed)).values["share"]
    assert "is not allowed" in reading.problem
    assert cluster.secrets == ()


async def test_an_edit_while_signals_are_read_reads_again() -> None:
    cluster = ReadLog(SystemClock().now)
    noticed: asyncio.Queue[Sequence[Item]] = asyncio.Queue()
    await cluster.apply(config_map(psi="0.3"))
    reader = SignalReader(cluster, None, SystemClock(), noticed.put_nowait)
    observed = watched()
    newer = replace(observed, metadata=observed.metadata.model_copy(update={"generation": 2}))
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(reader.run())
        assert reader.readings(observed) is None
        assert await noticed.get() == [Item(Kind.SCHEDULE, observed.metadata.key)]
        assert reader.readings(newer) is None, "what was read is of another policy"
        await noticed.get()
        work.cancel()
    assert reader.readings(newer) is not None
