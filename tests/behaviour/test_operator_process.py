"""The operator as a process on the real cluster: election, endpoints, what it writes, and what it survives."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from retrain_operator.api.names import Key
from retrain_operator.cluster.protocol import JOBS, LEASES, PODS, RUNS, SCHEDULES
from tests.behaviour.real_world import RealWorld
from tests.behaviour.world import TRAINED, condition, is_finished, overdue, phase, run, schedule, trainer
from tests.cluster.install import operator_process
from tests.ports import free_port

pytestmark = pytest.mark.cluster

WRITES = {"create", "update", "patch", "delete"}


async def fetch(port: int, path: str) -> tuple[int, str]:
    """Status and text; connection errors count as status 0."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
            return response.status, await response.text()
    except aiohttp.ClientError:
        return 0, ""


async def until_ready(port: int) -> None:
    async with asyncio.timeout(60):
        while (await fetch(port, "/readyz"))[0] != 200:  # noqa: ASYNC110  # an HTTP endpoint cannot be watched
            await asyncio.sleep(0.1)


async def at_rest(port: int) -> str:
    """The metrics, once nothing is being looked at: what the API server shows was counted then."""
    async with asyncio.timeout(60):
        while True:
            _, text = await fetch(port, "/metrics")
            if "retrain_queue_depth 0.0" in text and "retrain_active_workers 0.0" in text:
                return text
            await asyncio.sleep(0.1)


def requests(metrics: str) -> Counter[tuple[str, str]]:
    """API requests that went well so far, by verb and resource."""
    found: Counter[tuple[str, str]] = Counter()
    pattern = r'retrain_api_requests_total\{code="2\d\d",resource="(\w+)",verb="(\w+)"\} (\d+)'
    for resource, verb, count in re.findall(pattern, metrics):
        found[verb, resource] += int(count)
    return found


def writes(metrics: str) -> dict[tuple[str, str], int]:
    """Those of them that write."""
    return {key: count for key, count in requests(metrics).items() if key[0] in WRITES}


@contextlib.asynccontextmanager
async def observed_operator(world: RealWorld, *flags: str) -> AsyncIterator[int]:
    """An operator that is ready. Yields the port of its endpoints."""
    port = free_port()
    async with world.operator("--http-port", str(port), *flags):
        await until_ready(port)
        yield port


async def after_one_run(world: RealWorld) -> str:
    """The metrics of an operator, without election, that made the run of one tick."""
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED)))
    await overdue(world, "churn")
    async with observed_operator(world) as port:
        await world.wait_for(SCHEDULES, "churn", lambda body: "lastSuccessfulTime" in body["status"])
        assert (await fetch(port, "/healthz"))[0] == 200
        return await at_rest(port)


async def test_a_successful_run_costs_at_most_seven_writes_and_a_restart_none(real_world: RealWorld) -> None:
    spent = writes(await after_one_run(real_world))
    spent.pop(("create", "events"), None)
    assert spent == {
        ("create", "retrainjobs"): 1,
        ("create", "leases"): 1,  # the guard
        ("create", "jobs"): 1,
        # What happens in quick succession is written once: a short run may end before it was seen to run, or its schedule told of it.
        ("patch", "retrainjobs"): min(2, spent["patch", "retrainjobs"]),
        ("patch", "retrainschedules"): min(2, spent["patch", "retrainschedules"]),
    }
    async with observed_operator(real_world) as port:
        # Something to wait for: once this run is done, everything else was looked at as well.
        await real_world.create(RUNS, run("marker", trainer(TRAINED)))
        await real_world.wait_for(RUNS, "marker", is_finished)
        spent = writes(await at_rest(port))
    assert {key for key in spent if key[1] not in ("events", "jobs")} == {("patch", "retrainjobs")}
    assert spent["create", "jobs"] == 1


async def test_without_election_nothing_starts_on_what_a_watch_told_alone(real_world: RealWorld) -> None:
    asked = requests(await after_one_run(real_world))
    # Another operator may have made the run, and have deleted it since.
    assert asked["get", "retrainschedules"] >= asked["create", "retrainjobs"] == 1
    assert asked["get", "retrainjobs"] >= asked["create", "jobs"] == 1


async def test_metrics_and_probes_are_served(real_world: RealWorld) -> None:
    text = await after_one_run(real_world)
    assert 'retrain_ticks_total{action="Run",reason="Scheduled"} 1.0' in text
    assert 'retrain_runs_finished_total{phase="Completed",reason="Completed"} 1.0' in text
    assert "retrain_tick_to_job_seconds_count 1.0" in text
    assert "retrain_leader 1.0" in text


async def test_one_of_two_replicas_writes_and_the_other_takes_over_at_once_on_sigterm(real_world: RealWorld) -> None:
    lease = f"lease-{real_world.namespace}"
    flags = ["--namespace", real_world.namespace, "--lease-namespace", "retrain-system"]
    environment = {"RETRAIN_OPERATOR_LEASE_NAME": lease}
    first_port, second_port = free_port(), free_port()
    log = real_world.log
    with operator_process(real_world.kubeconfig, log, *flags, "--http-port", str(first_port), environment=environment) as first:
        await until_ready(first_port)
        await _holder(real_world, lease, unlike="")
        with operator_process(real_world.kubeconfig, log, *flags, "--http-port", str(second_port), environment=environment):
            await until_ready(second_port)  # a standby is ready too
            await real_world.create(RUNS, run("one", trainer(TRAINED)))
            await real_world.wait_for(RUNS, "one", is_finished)
            assert writes(await at_rest(first_port))
            assert writes((await fetch(second_port, "/metrics"))[1]) == {}
            holder = await _holder(real_world, lease, unlike="")
            first.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(first.wait, 15) == 0
            await _holder(real_world, lease, unlike=holder)
            await real_world.create(RUNS, run("two", trainer(TRAINED)))
            await real_world.wait_for(RUNS, "two", is_finished)


async def _holder(world: RealWorld, lease: str, *, unlike: str) -> str:
    """Who holds the lease, once that is somebody, and somebody else."""
    async with asyncio.timeout(30):
        while True:
            body = await world.cluster.get(LEASES, Key("retrain-system", lease))
            holder = (body or {}).get("spec", {}).get("holderIdentity") or ""
            if holder not in ("", unlike):
                return str(holder)
            await asyncio.sleep(0.2)


async def test_kopf_run_starts_it_too(real_world: RealWorld) -> None:
    await real_world.create(RUNS, run("once", trainer(TRAINED)))
    port = free_port()
    environment = {
        **os.environ,
        "KUBECONFIG": str(real_world.kubeconfig),
        "RETRAIN_OPERATOR_LEADER_ELECTION": "false",
        "RETRAIN_OPERATOR_NAMESPACES": real_world.namespace,
        "RETRAIN_OPERATOR_HTTP_PORT": str(port),
    }
    command = [sys.executable, "-m", "kopf", "run", "-m", "retrain_operator.handlers", "--namespace", real_world.namespace]
    with real_world.log.open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        done = await real_world.wait_for(RUNS, "once", is_finished)
        assert phase(done) == "Completed"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def test_it_outlives_an_api_server_that_restarts(real_world: RealWorld) -> None:
    async with observed_operator(real_world):
        await real_world.create(RUNS, run("before", trainer(TRAINED)))
        await real_world.wait_for(RUNS, "before", is_finished)
        server = real_world.control_plane.apiserver
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(server.wait_until_ready)
        await real_world.create(RUNS, run("after", trainer(TRAINED)))
        done = await real_world.wait_for(RUNS, "after", is_finished)
    assert phase(done) == "Completed"


async def test_it_says_what_is_wrong_when_there_is_no_cluster(tmp_path: Path) -> None:
    missing = tmp_path / "no-such-kubeconfig"
    command = [sys.executable, "-m", "retrain_operator", "operator", "--kubeconfig", str(missing)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no cluster to talk to" in done.stderr
    assert "Traceback" not in done.stderr


async def test_pods_are_restricted_and_have_no_token(real_world: RealWorld) -> None:
    await real_world.create(RUNS, run("once", trainer(TRAINED)))
    async with real_world.operator():
        done = await real_world.wait_for(RUNS, "once", is_finished)
        [pod] = await real_world.list(PODS)
        job = await real_world.get(JOBS, "once")
    assert condition(done, "Ready")["status"] == "True"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert job is not None
    assert job["spec"]["podFailurePolicy"]["rules"][0]["action"] == "Ignore"
