"""One laboratory for all tests here: its start costs up to half a minute, until the garbage collector knows the CRDs."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.cluster.controlplane import ControlPlane
from tests.cluster.install import install
from tests.cluster.node import NodeThread
from tests.faults.campaign import find_references
from tests.faults.lab import Lab, laboratory
from tests.faults.plans import References


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lab(control_plane: ControlPlane, local_node: NodeThread) -> AsyncIterator[Lab]:
    """The shipped manifests applied, and everything that watches."""
    async with laboratory(control_plane, install(control_plane, local_node)) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def references(lab: Lab) -> References:
    """Every scenario without faults."""
    return await find_references(lab)
