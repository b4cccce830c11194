"""A real control plane on this machine: etcd, kube-apiserver and kube-controller-manager, for tests and development.

    with ControlPlane(find_or_build(say)) as control_plane:
        control_plane.kubectl("apply", "-f", "crds/")

RBAC is on, certificates are made at each start, ports are free ones, everything lies in one temporary folder and ends
with this process. There is no scheduler and no kubelet: `node.LocalNode` assigns pods to itself through their `binding`
subresource.
"""

import json
import math
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.cluster.certificates import Authority, signing_key
from tests.cluster.component import POLL_S, Component, StartFailed
from tests.ports import free_ports

Body = dict[str, Any]
LOOPBACK = "127.0.0.1"
START_ATTEMPTS = 3  # a free port can be taken by somebody else before the server binds it
# Without those that need real nodes, a cloud, services or storage: each one costs informers, memory and start-up time.
CONTROLLERS = (
    "clusterrole-aggregation-controller", "cronjob-controller", "deployment-controller", "disruption-controller",
    "garbage-collector-controller", "job-controller", "namespace-controller", "pod-garbage-collector-controller",
    "replicaset-controller", "resourcequota-controller", "root-ca-certificate-publisher-controller",
    "serviceaccount-controller", "serviceaccount-token-controller", "ttl-after-finished-controller",
    "validatingadmissionpolicy-status-controller",
)  # fmt: skip


class ApiError(Exception):
    """The API server refused. `status` is the HTTP status, the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class KubectlError(Exception):
    """kubectl ended with another code than 0. Carries what it wrote to stderr."""


class ControlPlane:
    """One control plane. `start` or `with`; afterwards `server`, `ca`, `admin`, `kubeconfig` say how to reach it.

    Flags given here come after ours, so they win: `controller_manager_flags=["--kube-api-qps=20",
    "--kube-api-burst=30"]`. `apiserver`, `etcd` and `controller_manager` can be killed, started, paused and resumed one
    by one; data and port stay.
    """

    def __init__(
        self,
        binaries: Path,
        *,
        apiserver_flags: Sequence[str] = (),
        controller_manager_flags: Sequence[str] = (),
    ) -> None:
        self.binaries = binaries
        self._apiserver_flags = apiserver_flags
        self._controller_manager_flags = controller_manager_flags

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Ready to serve, and namespaces get their service account, when it returns. Raises StartFailed."""
        started = time.monotonic()
        for attempt in range(1, START_ATTEMPTS + 1):
            self._prepare()
            try:
                self._start_components()
            except StartFailed as error:
                self.stop()
                if attempt == START_ATTEMPTS or "address already in use" not in str(error):
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                self.ready_after_s = time.monotonic() - started
                return

    def stop(self) -> None:
        for component in (self.controller_manager, self.apiserver, self.etcd):
            component.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_components(self) -> None:
        self.etcd.start()
        self.apiserver.start()
        self.apiserver.wait_until_ready()
        self.controller_manager.start()  # not earlier: it gives up when the API server takes over 10 s
        self.controller_manager.wait_until_ready()
        self.wait_for("/api/v1/namespaces/default/serviceaccounts", "default")

    def _prepare(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="retrain-cluster-"))
        etcd_port, peer_port, self.port, manager_port = free_ports(4)
        self.server = f"https://{LOOPBACK}:{self.port}"
        authority = Authority(self.folder)
        self.ca = authority.certificate
        self.admin = authority.issue("admin", "admin", organizations=["system:masters"])
        self.node_certificate = authority.issue("node", "system:node:local", organizations=["system:nodes"], hosts=[LOOPBACK])
        service_hosts = [LOOPBACK, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.0.0.1"]
        serving = authority.issue("apiserver", "kube-apiserver", hosts=service_hosts)
        kubelet_client = authority.issue("apiserver-kubelet-client", "kube-apiserver-kubelet-client", organizations=["system:masters"])
        manager = authority.issue("controller-manager", "system:kube-controller-manager")
        token_key = signing_key(self.folder / "service-account.key")
        self._tls = ssl.create_default_context(cafile=self.ca)
        self._tls.load_cert_chain(self.admin.certificate, self.admin.key)
        self.kubeconfig = self._write_kubeconfig(
            "admin", {"client-certificate": str(self.admin.certificate), "client-key": str(self.admin.key)}
        )
        manager_kubeconfig = self._write_kubeconfig(
            "controller-manager", {"client-certificate": str(manager.certificate), "client-key": str(manager.key)}
        )
        etcd_client, etcd_peer = f"http://{LOOPBACK}:{etcd_port}", f"http://{LOOPBACK}:{peer_port}"
        self.etcd = Component(
            [
                self.binaries / "etcd", "--name=local", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync",
                f"--listen-client-urls={etcd_client}", f"--advertise-client-urls={etcd_client}",
                f"--listen-peer-urls={etcd_peer}", f"--initial-advertise-peer-urls={etcd_peer}",
                f"--initial-cluster=local={etcd_peer}", "--log-level=warn", "--quota-backend-bytes=4294967296",
            ],
            self.folder / "etcd.log",
            lambda: True,  # the API server is ready only when etcd is
        )  # fmt: skip
        self.apiserver = Component(
            [
                self.binaries / "kube-apiserver", f"--etcd-servers={etcd_client}",
                f"--bind-address={LOOPBACK}", f"--advertise-address={LOOPBACK}", f"--secure-port={self.port}",
                f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}",
                f"--client-ca-file={self.ca}", "--authorization-mode=Node,RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-signing-key-file={token_key}", f"--service-account-key-file={token_key}",
                f"--kubelet-client-certificate={kubelet_client.certificate}",
                f"--kubelet-client-key={kubelet_client.key}", f"--kubelet-certificate-authority={self.ca}",
                "--kubelet-preferred-address-types=InternalIP", "--service-cluster-ip-range=10.0.0.0/24",
                "--endpoint-reconciler-type=none",  # nobody reaches this server through a Service
                "--disable-admission-plugins=TaintNodesByCondition",  # its taint is lifted by a controller we do not run
                *self._apiserver_flags,
            ],
            self.folder / "kube-apiserver.log",
            lambda: self._answers(f"{self.server}/readyz"),
        )  # fmt: skip
        self.controller_manager = Component(
            [
                self.binaries / "kube-controller-manager", f"--kubeconfig={manager_kubeconfig}",
                f"--bind-address={LOOPBACK}", f"--secure-port={manager_port}",
                f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}",
                f"--service-account-private-key-file={token_key}", f"--root-ca-file={self.ca}",
                "--use-service-account-credentials=true", "--leader-elect=false",
                f"--controllers={','.join(CONTROLLERS)}",
                "--kube-api-qps=2000", "--kube-api-burst=4000",  # the defaults (20 and 30) would make tests wait
                *self._controller_manager_flags,
            ],
            self.folder / "kube-controller-manager.log",
            lambda: self._answers(f"https://{LOOPBACK}:{manager_port}/healthz"),
        )  # fmt: skip

    # How to reach it

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Body:
        """One call as admin; a PATCH is a JSON merge patch. Raises ApiError."""
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(
            self.server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content_type, "Accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=30) as response:
                answer: Body = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, error.read().decode(errors="replace")) from None

    def wait_for(self, collection: str, name: str, until: Callable[[Body], bool] = lambda _: True, *, deadline_s: float = 60.0) -> Body:
        """The object as soon as it is there and `until` holds, by a watch. Raises TimeoutError with its last state.

        `collection` is the path of a list, such as `/apis/batch/v1/namespaces/ml/jobs`.
        """
        last: Body | None = None
        for change in self._changes(f"{collection}?watch=true&fieldSelector=metadata.name%3D{name}", deadline_s):
            last = change["object"]
            if change["type"] != "DELETED" and until(last):
                return last
        raise TimeoutError(f"{collection}/{name} not as wanted within {deadline_s} s; last seen: {json.dumps(last)}")

    def wait_until_gone(self, collection: str, name: str, *, deadline_s: float = 60.0) -> None:
        """Raises TimeoutError."""
        try:
            version = self.request("GET", f"{collection}/{name}")["metadata"]["resourceVersion"]
        except ApiError as error:
            if error.status == 404:
                return
            raise
        path = f"{collection}?watch=true&fieldSelector=metadata.name%3D{name}&resourceVersion={version}"
        if not any(change["type"] == "DELETED" for change in self._changes(path, deadline_s)):
            raise TimeoutError(f"{collection}/{name} still there after {deadline_s} s")

    def _changes(self, path: str, deadline_s: float) -> Iterator[Body]:
        """Watches until the deadline, again where the API server closed it or is away."""
        until = time.monotonic() + deadline_s
        while (left_s := until - time.monotonic()) > 0:
            url = f"{self.server}{path}&timeoutSeconds={math.ceil(left_s)}"
            try:
                with urllib.request.urlopen(url, context=self._tls, timeout=left_s) as lines:
                    yield from map(json.loads, lines)
            except urllib.error.HTTPError as error:
                with error:
                    raise ApiError(error.code, error.read().decode(errors="replace")) from None
            except OSError:  # refused, reset or timed out
                time.sleep(POLL_S)

    def create_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Pods can be made in it when this returns: its service account is there."""
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": dict(labels or {})}})
        self.wait_for(f"/api/v1/namespaces/{name}/serviceaccounts", "default")

    def kubectl(
        self, *arguments: str | Path, stdin: str | None = None, kubeconfig: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs kubectl as admin, or with another kubeconfig. Raises KubectlError unless `check` is off."""
        done = subprocess.run(
            [str(self.binaries / "kubectl"), *map(str, arguments)],
            input=stdin, capture_output=True, text=True, check=False,
            env={**os.environ, "KUBECONFIG": str(kubeconfig or self.kubeconfig), "KUBECACHEDIR": str(self.folder / "kube")},
        )  # fmt: skip
        if check and done.returncode:
            raise KubectlError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done

    def kubeconfig_for(self, namespace: str, service_account: str, *, valid_for_s: int = 24 * 3600) -> Path:
        """A kubeconfig with a token of this service account: exactly its rights, nothing of admin's."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        answer = self.request("POST", path, {"spec": {"expirationSeconds": valid_for_s}})
        token = answer["status"]["token"]
        return self._write_kubeconfig(f"{namespace}-{service_account}", {"token": token}, namespace)

    def _write_kubeconfig(self, name: str, user: Mapping[str, str], namespace: str = "default") -> Path:
        path = self.folder / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        cluster = {"server": self.server, "certificate-authority": str(self.ca)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": name, "user": dict(user)}],
            "contexts": [{"name": name, "context": {"cluster": "local", "user": name, "namespace": namespace}}],
            "current-context": name,
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def _answers(self, url: str) -> bool:
        try:
            with urllib.request.urlopen(url, context=self._tls, timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False
