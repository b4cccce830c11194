"""What all trials share: the control plane, the observer, the zygote, and the operator's own rights."""

import asyncio
import contextlib
import secrets
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from retrain_operator.api.names import Key
from retrain_operator.cluster.credentials import load_credentials
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.protocol import JOBS, RUNS, SCHEDULES, AlreadyExists, Body, Cluster, Resource
from tests.cluster.controlplane import ControlPlane
from tests.faults.gate import Upstream
from tests.faults.observer import Observer
from tests.faults.operators import Zygote

_PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Lab:
    """Everything that a trial needs."""

    control_plane: ControlPlane
    admin: Cluster
    observer: Observer
    zygote: Zygote
    upstream: Upstream
    credentials: dict[str, Any]  # the kubeconfig of the operator's service account
    folder: Path
    namespaces: list[str] = field(default_factory=list)

    async def namespace(self) -> str:
        """A fresh one, ready for pods."""
        name = f"fault-{secrets.token_hex(4)}"
        await asyncio.to_thread(self.control_plane.create_namespace, name)
        self.namespaces.append(name)
        return name

    def drop_namespaces(self) -> None:
        """At the end, and not of each trial: the local node does not outlive a namespace that goes while a pod is bound to it."""
        for name in self.namespaces:
            self.control_plane.request("DELETE", f"/api/v1/namespaces/{name}")

    async def edit(self, resource: Resource, key: Key, patch: Body) -> None:
        """JSON merge patch as admin."""
        path = f"/apis/{resource.group}/{resource.version}/namespaces/{key.namespace}/{resource.plural}/{key.name}"
        await asyncio.to_thread(self.control_plane.request, "PATCH", path, patch)

    def kubeconfig(self, name: str, server: str) -> Path:
        """The operator's own credentials for a gate."""
        content = self.credentials | {"clusters": [{"name": "local", "cluster": {"server": server}}]}
        path = self.folder / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content))
        return path


@contextlib.asynccontextmanager
async def laboratory(control_plane: ControlPlane, kubeconfig: Path) -> AsyncIterator[Lab]:
    """`kubeconfig`: of the operator's service account (`install`). Logs of the operators are kept until the end."""
    tls = ssl.create_default_context(cafile=control_plane.ca)
    admin_tls = ssl.create_default_context(cafile=control_plane.ca)
    admin_tls.load_cert_chain(control_plane.admin.certificate, control_plane.admin.key)
    with tempfile.TemporaryDirectory(prefix="retrain-faults-") as folder:
        async with (
            KubeCluster(load_credentials(kubeconfig=str(control_plane.kubeconfig))) as admin,
            Observer(control_plane.server, admin_tls) as observer,
            Upstream(control_plane.server, tls) as upstream,
            Zygote() as zygote,
        ):
            await _until_collected(admin, control_plane)
            credentials = yaml.safe_load(kubeconfig.read_text())
            lab = Lab(control_plane, admin, observer, zygote, upstream, credentials, Path(folder))
            yield lab
            await asyncio.to_thread(lab.drop_namespaces)


async def _until_collected(admin: Cluster, control_plane: ControlPlane) -> None:
    """Return when the garbage collector knows the CRDs: it looks for new ones every half minute, and until then deletes nothing of them."""
    namespace = f"fault-{secrets.token_hex(4)}"
    await asyncio.to_thread(control_plane.create_namespace, namespace)
    template = {"trainer": {"image": "none"}}
    schedule = await _create(
        admin, SCHEDULES, namespace, {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": template}}, None
    )
    run = await _create(admin, RUNS, namespace, template | {"suspend": True}, schedule)
    pod = {"restartPolicy": "Never", "containers": [{"name": "none", "image": "none"}]}
    await _create(admin, JOBS, namespace, {"suspend": True, "template": {"spec": pod}}, run)
    await admin.delete(SCHEDULES, Key(namespace, _PROBE), uid=schedule["metadata"]["uid"])
    for resource in (RUNS, JOBS):
        path = f"/apis/{resource.group}/{resource.version}/namespaces/{namespace}/{resource.plural}"
        await asyncio.to_thread(control_plane.wait_until_gone, path, _PROBE)
    await asyncio.to_thread(control_plane.request, "DELETE", f"/api/v1/namespaces/{namespace}")


async def _create(admin: Cluster, resource: Resource, namespace: str, spec: Body, owner: Body | None) -> Body:
    metadata: Body = {"name": _PROBE}
    if owner is not None:
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": _PROBE, "uid": owner["metadata"]["uid"]}
        metadata["ownerReferences"] = [reference | {"controller": True}]
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
    answer = await admin.create(resource, namespace, body)
    assert not isinstance(answer, AlreadyExists)
    return answer
