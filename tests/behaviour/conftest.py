"""Worlds for the behaviour tests: each test runs on the embedded cluster and on the real one."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from retrain_operator.clock import SystemClock
from retrain_operator.cluster.credentials import load_credentials
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.embedded.operator import local_pods, new_cluster
from tests.behaviour.deployments import deployment_controller
from tests.behaviour.embedded_world import EmbeddedWorld
from tests.behaviour.real_world import RealWorld
from tests.behaviour.world import World
from tests.cluster.controlplane import ControlPlane
from tests.cluster.install import TRAINER_IMAGE, install
from tests.cluster.node import NodeThread

IMAGES: dict[str, list[str]] = {"sh": [], TRAINER_IMAGE: [sys.executable, "-m", "retrain_trainer"]}


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane, local_node: NodeThread) -> Path:
    """The shipped manifests applied, all but the Deployment. The kubeconfig of the operator's service account."""
    local_node.images.add("sh", IMAGES["sh"])
    return install(control_plane, local_node)


@pytest.fixture
async def embedded_world(tmp_path: Path) -> AsyncIterator[EmbeddedWorld]:
    clock = SystemClock()
    cluster = new_cluster(clock)
    async with local_pods(cluster, IMAGES, tmp_path, clock), deployment_controller(cluster):
        yield EmbeddedWorld(cluster)


@pytest.fixture
async def real_world(control_plane: ControlPlane, installed: Path, namespace: str, tmp_path: Path) -> AsyncIterator[RealWorld]:
    log = tmp_path / "operator.log"
    async with KubeCluster(load_credentials(kubeconfig=str(control_plane.kubeconfig))) as admin:
        yield RealWorld(admin, control_plane, namespace, installed, log)
    if log.exists():
        print(log.read_text())  # pytest shows it when the test failed


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.cluster)])
def world(request: pytest.FixtureRequest) -> World:
    """The cluster that the test runs on."""
    chosen: World = request.getfixturevalue(f"{request.param}_world")
    return chosen
