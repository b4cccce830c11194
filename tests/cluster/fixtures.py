"""Pytest fixtures for tests that need a real cluster. A plugin: `pytest_plugins = ["tests.cluster.fixtures"]` in tests/conftest.py.

A test asks for `control_plane`, `local_node` or `namespace`, or carries `@pytest.mark.cluster`; one implies the other.
Where the control plane cannot be had, these tests are skipped and the run ends with a line that says so; with CI=true
they fail instead.
"""

import os
import re
import secrets
from collections.abc import Generator, Iterator

import pytest

from tests.cluster.binaries import BIN_VARIABLE, ControlPlaneUnavailable, find_or_build, say_to_stderr
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import NodeThread

_FIXTURES = {"control_plane", "local_node", "namespace"}
_not_run = pytest.StashKey[list[str]]()
_ready_after_s = pytest.StashKey[float]()


@pytest.hookimpl(tryfirst=True)  # before -m picks by mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if _FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.cluster)
        elif item.get_closest_marker("cluster"):
            item.fixturenames.insert(0, "control_plane")


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """The one control plane of this run, started by the first test that needs it."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():  # a build takes minutes; say so while it runs
            say_to_stderr(line)

    try:
        binaries = find_or_build(say)
    except ControlPlaneUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI=true and no control plane: {error}", pytrace=False)
        pytest.skip(f"no control plane: {error}")
    with ControlPlane(binaries) as running:
        pytestconfig.stash[_ready_after_s] = running.ready_after_s
        yield running


@pytest.fixture(scope="session")
def local_node(control_plane: ControlPlane) -> Iterator[NodeThread]:
    """Runs the pods of the cluster. `local_node.images` maps images to commands; `python` and `sh` are there."""
    with NodeThread(control_plane) as running:
        yield running


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh namespace, ready for pods. Deleted afterwards, without waiting for it."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    name = f"{test}-{secrets.token_hex(3)}"
    control_plane.create_namespace(name)
    yield name
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.get_closest_marker("cluster") and "no control plane" in str(report.longrepr):
        item.config.stash.setdefault(_not_run, []).append(item.nodeid)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost: after the reporter's own last line
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    result = yield
    config = session.config
    reporter = config.pluginmanager.getplugin("terminalreporter")
    not_run = config.stash.get(_not_run, [])
    if reporter is not None and _ready_after_s in config.stash:
        reporter.write_line(f"control plane: ready after {config.stash[_ready_after_s]:.1f} s")
    if reporter is not None and not_run:
        reporter.section("CLUSTER TESTS DID NOT RUN", red=True, bold=True)
        reporter.write_line(
            f"{len(not_run)} cluster tests did not run: no control plane here. To get them: `make controlplane` where the Go module "
            f"proxy can be reached, or set {BIN_VARIABLE} to a folder of ready binaries.",
            red=True,
        )
    return result
