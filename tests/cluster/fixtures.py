"""Pytest fixtures for tests that need a real cluster. A plugin: `pytest_plugins = ["tests.cluster.fixtures"]` in tests/conftest.py.

A test asks for `control_plane`, `local_node` or `namespace`, or carries `@pytest.mark.cluster`; one implies the other.
Where the control plane cannot be had, these tests are skipped and the run ends with a line that says so; with CI=true
they fail instead.
"""

import os
import re
import secrets
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.cluster.binaries import BIN_VARIABLE, ControlPlaneUnavailable, find_or_build, say_to_stderr
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import NodeThread

_FIXTURES = {"control_plane", "local_node", "namespace"}
WORKERS_READY = "control planes ready after s"
_summary = pytest.StashKey["Summary"]()


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
    """The one control plane of this run, or of this worker of it, started by the first test that needs it."""
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
        pytestconfig.stash[_summary].ready_after_s.append(running.ready_after_s)
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


class Summary:
    """What a run says of the control plane as its last lines. With workers (`-n`), which each have their own, of all of them."""

    def __init__(self) -> None:
        self.ready_after_s: list[float] = []
        self.not_run: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and "cluster" in report.keywords and "no control plane" in str(report.longrepr):
            self.not_run.append(report.nodeid)

    @pytest.hookimpl(optionalhook=True)  # of xdist
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        self.ready_after_s += getattr(node, "workeroutput", {}).get(WORKERS_READY, [])

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost: after the reporter's own last line
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[WORKERS_READY] = self.ready_after_s
        result = yield
        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        if reporter is None or hasattr(session.config, "workeroutput"):
            return result
        for ready_after_s in self.ready_after_s:
            reporter.write_line(f"control plane: ready after {ready_after_s:.1f} s")
        if self.not_run:
            reporter.section("CLUSTER TESTS DID NOT RUN", red=True, bold=True)
            reporter.write_line(
                f"{len(self.not_run)} cluster tests did not run: no control plane here. To get them: `make controlplane` where the Go "
                f"module proxy can be reached, or set {BIN_VARIABLE} to a folder of ready binaries.",
                red=True,
            )
        return result


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_summary] = Summary()
    config.pluginmanager.register(config.stash[_summary])
