"""Where a benchmark happens: a control plane with the shipped manifests, and operators that can be watched from outside."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import aiohttp

from retrain_operator.api.names import Key
from retrain_operator.cluster.credentials import load_credentials
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.protocol import AlreadyExists, Body, Resource
from tests.cluster.binaries import find_or_build, say_to_stderr
from tests.cluster.controlplane import CONTROLLERS, ControlPlane
from tests.cluster.install import install
from tests.cluster.node import NodeThread
from tests.ports import free_port

TUNED = ("--kube-api-qps=2000", "--kube-api-burst=4000", "--concurrent-cron-job-syncs=50")
DEFAULTS = ("--kube-api-qps=20", "--kube-api-burst=30", "--concurrent-cron-job-syncs=5")
# Pods cost the same CPU that the two controllers are compared by.
WITHOUT_PODS = "--controllers=" + ",".join(each for each in CONTROLLERS if each != "job-controller")
# Not sent for the run that is counted.
BACKGROUND = {("update", "leases"), ("watch", "retrainjobs"), ("watch", "retrainschedules")}
POLL_S = 0.1
WRITERS = 32
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_REQUESTS = re.compile(r'retrain_api_requests_total\{code="2\d\d",resource="(\w+)",verb="(\w+)"\} ([\d.e+]+)')
WRITES = {"create", "update", "patch", "delete"}

Given = TypeVar("Given")
Result = TypeVar("Result")
Requests = Counter[tuple[str, str]]


class Operator:
    """One operator process, seen from outside."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, session: aiohttp.ClientSession) -> None:
        self.pid = process.pid
        self.started_at = time.monotonic()
        self._process = process
        self._base = f"http://127.0.0.1:{port}"
        self._session = session

    async def fetch(self, path: str) -> str | None:
        """The text, or None while it does not answer well."""
        assert self._process.poll() is None, f"the operator ended with {self._process.returncode}"
        try:
            async with self._session.get(self._base + path) as response:
                return await response.text() if response.status == 200 else None
        except aiohttp.ClientError:
            return None

    async def until_ready(self) -> float:
        """Seconds since the process was started."""
        while await self.fetch("/readyz") is None:  # noqa: ASYNC110  # an HTTP endpoint cannot be watched
            await asyncio.sleep(POLL_S)
        return time.monotonic() - self.started_at

    async def until_idle(self) -> float:
        """Nothing is left to look at. Seconds since the process was started."""
        await self.until_ready()
        at_rest = {"retrain_leader": 1, "retrain_queue_depth": 0, "retrain_active_workers": 0}
        while await self._metrics(at_rest) != at_rest:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        return time.monotonic() - self.started_at

    async def until_quiet(self, quiet_s: float = 3.0) -> None:
        """It has written nothing for so long."""
        await self.until_idle()
        before, since = await self.requests(), time.monotonic()
        while time.monotonic() - since < quiet_s:
            await asyncio.sleep(POLL_S)
            if (after := await self.requests()) != before:
                before, since = after, time.monotonic()

    async def until_calm(self, busy_s: float = 0.15, within_s: float = 5.0, deadline_s: float = 180.0) -> None:
        """It has used less than `busy_s` of CPU time `within_s`. Raises TimeoutError."""
        async with asyncio.timeout(deadline_s):
            used_s = float("inf")
            while used_s >= busy_s:
                before_s = self.cpu_s
                await asyncio.sleep(within_s)
                used_s = self.cpu_s - before_s

    async def requests(self) -> Requests:
        """Requests that succeeded so far, by verb and resource, without those that come by themselves."""
        counted: Requests = Counter()
        for resource, verb, count in _REQUESTS.findall(await self.fetch("/metrics") or ""):
            if (verb, resource) not in BACKGROUND:
                counted[verb, resource] += int(float(count))
        return counted

    async def stop(self) -> None:
        """SIGTERM: it releases its Lease, so that the next one need not wait for its end."""
        self._process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self._process.wait, 60)

    @property
    def rss_mib(self) -> float:
        return self._memory("VmRSS")

    @property
    def peak_rss_mib(self) -> float:
        return self._memory("VmHWM")

    @property
    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def _memory(self, field: str) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))

    async def _metrics(self, names: Iterable[str]) -> dict[str, float]:
        """Of one moment."""
        found = re.findall(r"^(\w+) ([\d.e+]+)$", await self.fetch("/metrics") or "", re.MULTILINE)
        return {name: float(value) for name, value in found if name in names}


class Stage:
    """A control plane. `cluster` is admin's, `kubeconfig` the operator's own."""

    def __init__(self, control_plane: ControlPlane, node: NodeThread, cluster: KubeCluster, kubeconfig: Path) -> None:
        self.control_plane = control_plane
        self.node = node
        self.cluster = cluster
        self.kubeconfig = kubeconfig
        self.log = control_plane.folder / "operator.log"

    @property
    def cpu_s(self) -> float:
        """CPU time of etcd, the API server and the controller manager so far."""
        plane = self.control_plane
        return sum(cpu_s(each.pid) for each in (plane.etcd, plane.apiserver, plane.controller_manager))

    @contextlib.asynccontextmanager
    async def operator(
        self, *flags: str, module: str = "retrain_operator", environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[Operator]:
        """As shipped: the whole cluster, with election. SIGKILL at the end unless it was stopped."""
        port = free_port()
        command = [sys.executable, "-m", module, "operator", "--http-host", "127.0.0.1", "--http-port", str(port), *flags]
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), **(environment or {})}
        with self.log.open("ab") as output:
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            async with aiohttp.ClientSession() as session:
                yield Operator(process, port, session)
        except BaseException:
            print(*self.log.read_text().splitlines()[-10:], sep="\n", file=sys.stderr)
            raise
        finally:
            process.kill()
            process.wait()

    async def create(self, resource: Resource, namespace: str, bodies: Iterable[Body]) -> list[Body]:
        """All of them, many at once, in order."""

        async def one(body: Body) -> Body:
            answer = await self.cluster.create(resource, namespace, body)
            assert not isinstance(answer, AlreadyExists)
            return answer

        return await at_once(one, list(bodies))

    async def write_status(self, resource: Resource, pairs: Iterable[tuple[Body, Body]]) -> None:
        """Of objects as they were read, with the statuses that they get."""

        async def one(pair: tuple[Body, Body]) -> None:
            body, status = pair
            metadata = body["metadata"]
            key = Key(metadata["namespace"], metadata["name"])
            answer = await self.cluster.patch_status(resource, key, status, resource_version=metadata["resourceVersion"])
            assert isinstance(answer, dict)

        await at_once(one, list(pairs))


@contextlib.asynccontextmanager
async def stage(*controller_manager_flags: str) -> AsyncIterator[Stage]:
    """A fresh control plane, ready for an operator."""
    with ControlPlane(find_or_build(say_to_stderr), controller_manager_flags=controller_manager_flags) as control_plane:
        node = NodeThread(control_plane)
        kubeconfig = install(control_plane, node)
        async with KubeCluster(load_credentials(kubeconfig=str(control_plane.kubeconfig))) as cluster:
            yield Stage(control_plane, node, cluster, kubeconfig)


async def at_once(call: Callable[[Given], Awaitable[Result]], items: Sequence[Given]) -> list[Result]:
    """`call` for each, WRITERS at a time; results in order."""
    results: dict[int, Result] = {}
    waiting = iter(enumerate(items))

    async def work() -> None:
        for number, item in waiting:
            results[number] = await call(item)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(WRITERS):
            tasks.create_task(work())
    return [results[number] for number in range(len(items))]


def cpu_s(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def written(requests: Requests) -> Requests:
    """Of these, the writes that are not events."""
    return Counter({(verb, plural): count for (verb, plural), count in requests.items() if verb in WRITES and plural != "events"})


async def sleep_until(instant_s: float) -> None:
    """`instant_s` as time.time()."""
    await asyncio.sleep(max(0.0, instant_s - time.time()))
