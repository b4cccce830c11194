"""Drift that a real Prometheus tells of, over TLS, comes to a run: on the embedded cluster with the controller in this process, and on a
real one with the operator as a process of its own, with the rights of the shipped manifests."""

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from retrain_operator.api.names import LABEL_ALLOW_READ
from retrain_operator.clock import SystemClock
from retrain_operator.cluster.prometheus import Prometheus, Unreadable
from retrain_operator.cluster.protocol import CONFIG_MAPS, RUNS, SCHEDULES, SECRETS, Body
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.operator import new_cluster, operating
from retrain_operator.embedded.pods import ImageMap
from retrain_operator.embedded.runners import LocalPods
from retrain_operator.settings import Settings
from tests.behaviour.conftest import IMAGES, installed, real_world
from tests.behaviour.embedded_world import EmbeddedWorld
from tests.behaviour.real_world import RealWorld
from tests.behaviour.test_drift import action, watching
from tests.behaviour.world import condition, is_finished, phase
from tests.cluster.install import OPERATOR_NAMESPACE, SERVICE_ACCOUNT
from tests.prometheus.binary import PrometheusUnavailable, find_prometheus
from tests.prometheus.server import Server, prometheus_server

__all__ = ["installed", "real_world"]  # fixtures

DRIFT = """\
# TYPE feature_drift gauge
feature_drift{feature="age"} 0.04
feature_drift{feature="income"} 0.31
"""


@pytest.fixture(scope="session")
def binary() -> Path:
    try:
        return find_prometheus()
    except PrometheusUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@contextlib.asynccontextmanager
async def model_that_drifts() -> AsyncIterator[str]:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=DRIFT)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0)
    try:
        yield f"{server.host}:{server.port}"
    finally:
        await server.close()


@pytest.fixture
async def server(binary: Path, tmp_path: Path) -> AsyncIterator[Server]:
    async with model_that_drifts() as target, prometheus_server(binary, target, tmp_path) as running:
        yield running


def drifting(server: Server, *, token: bool = False) -> Body:
    secret = {"bearerTokenSecret": {"name": "prometheus", "key": "token"}} if token else {}
    source = {"url": server.url, "query": "max(feature_drift)", "caConfigMap": {"name": "ca", "key": "ca.crt"}, **secret}
    return watching(signals=[{"name": "share", "prometheus": source, "above": 0.2}])


def ca(server: Server) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}, "data": {"ca.crt": server.ca}}


async def test_drift_in_prometheus_comes_to_a_run(server: Server, tmp_path: Path) -> None:
    clock = SystemClock()
    cluster = new_cluster(clock)
    world = EmbeddedWorld(cluster)
    async with (
        JobController(cluster, LocalPods(cluster.store, ImageMap(IMAGES), tmp_path), clock),
        operating(cluster, clock, Settings(prometheus_allow=(server.host,))),
    ):
        await world.create(CONFIG_MAPS, ca(server))
        await world.create(SCHEDULES, drifting(server))
        done = await world.wait_for_any(RUNS, is_finished)  # an evaluation before the first scrape has no sample, and starts nothing
    assert phase(done) == "Completed"
    assert done["spec"]["reasons"] == ["share: 0.31 is above 0.2"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        pytest.param("feature_drift{feature='none'}", "gives 0 samples", id="no such series"),
        pytest.param("vector(1) or vector(2) or label_replace(vector(3), 'a', 'b', '', '')", "gives 2 samples", id="two series"),
        pytest.param("max(", "answers 400: invalid parameter", id="no PromQL"),
        pytest.param("up[1m]", "gives a matrix", id="a range"),
        pytest.param("'text'", "gives a string", id="a text"),
        pytest.param("0/0", "gives NaN", id="not a number"),
    ],
)
async def test_what_a_real_server_says(server: Server, query: str, says: str) -> None:
    async with Prometheus([server.host]) as prometheus:
        assert await prometheus.value(server.url, "1 + 1", timeout_s=10, ca=server.ca) == 2.0
        assert await prometheus.value(server.url, "vector(0.5)", timeout_s=10, ca=server.ca) == 0.5
        with pytest.raises(Unreadable) as problem:
            await prometheus.value(server.url, query, timeout_s=10, ca=server.ca)
    assert says in str(problem.value)


@pytest.mark.cluster
async def test_an_administrator_allows_the_host_and_an_owner_the_token(real_world: RealWorld, server: Server) -> None:
    def kubectl(*arguments: str) -> "asyncio.Future[object]":
        return asyncio.ensure_future(asyncio.to_thread(real_world.control_plane.kubectl, "-n", real_world.namespace, *arguments))

    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "prometheus", "labels": {LABEL_ALLOW_READ: "true"}},
        "data": {"token": base64.b64encode(b"s3cret").decode()},
    }
    await real_world.create(CONFIG_MAPS, ca(server))
    await real_world.create(SECRETS, token)
    await real_world.create(SCHEDULES, drifting(server, token=True))

    def message(body: Body) -> str:
        return str(condition(body, "DriftDetected").get("message"))

    async with real_world.operator():
        await real_world.wait_for(SCHEDULES, "churn", lambda body: "is not allowed" in message(body))
    async with real_world.operator("--prometheus-allow", server.host):
        await real_world.wait_for(SCHEDULES, "churn", lambda body: 'cannot get resource "secrets"' in message(body))
        assert await real_world.list(RUNS) == []
        await kubectl("create", "role", "retrain-token", "--verb=get", "--resource=secrets", "--resource-name=prometheus")
        account = f"--serviceaccount={OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"
        await kubectl("create", "rolebinding", "retrain-token", "--role=retrain-token", account)
        told = await real_world.wait_for(SCHEDULES, "churn", lambda body: action(body) == "queued-retrain")
        done = await real_world.wait_for(RUNS, told["status"]["recommendation"]["job"], is_finished)
    assert phase(done) == "Completed", done["status"]
    assert "s3cret" not in real_world.log.read_text()
