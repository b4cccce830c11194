"""Where the API server is and how to prove who we are: in a pod, or from a kubeconfig.

The `kubernetes` package reads both and keeps tokens fresh (a mounted token once a minute, an exec plugin's when it ends). Client
certificates and the CA are read once, at the start.
"""

import math
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kubernetes import config
from kubernetes.client import Configuration

from retrain_operator.cluster.protocol import ClusterError, Unavailable

KUBECONFIG_DEFAULT = "~/.kube/config"
TOKEN_FRESH_S = 1.0  # asking the package anew costs as much as a tenth of a request
SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach one API server.

    `authorization` gives the value of the HTTP header, or None, and is asked before every request. It raises Unavailable when the token
    cannot be read. `namespace` is the one of the pod or of the kubeconfig's context.
    """

    server: str
    ssl_context: ssl.SSLContext | None
    authorization: Callable[[], str | None]
    namespace: str = "default"
    tls_server_name: str | None = None
    proxy: str | None = None
    # The same as files, for kopf, which makes a TLS context of its own.
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    verify: bool = True


def load_credentials(*, kubeconfig: str | None = None, context: str | None = None) -> Credentials:
    """Arguments first, then $KUBECONFIG, then the pod's service account, then ~/.kube/config. Raises ClusterError when there is none."""
    files = kubeconfig or os.environ.get("KUBECONFIG")
    try:
        if files or context or "KUBERNETES_SERVICE_HOST" not in os.environ:
            return _from_kubeconfig(files or KUBECONFIG_DEFAULT, context)
        return _from_service_account()
    except (config.ConfigException, OSError) as error:
        raise ClusterError(f"no cluster to talk to: {error}") from error


def _from_kubeconfig(files: str, context: str | None) -> Credentials:
    configuration = Configuration()
    config.load_kube_config(files, context, client_configuration=configuration)  # type: ignore[no-untyped-call]
    contexts, current = config.list_kube_config_contexts(files)  # type: ignore[no-untyped-call]
    chosen = next(each for each in contexts if each["name"] == context) if context else current
    return _credentials(configuration, chosen["context"].get("namespace") or "default")


def _from_service_account() -> Credentials:
    configuration = Configuration()
    config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    return _credentials(configuration, SERVICE_ACCOUNT_NAMESPACE.read_text().strip())


def _credentials(configuration: Configuration, namespace: str) -> Credentials:
    header: str | None = None
    asked_at = -math.inf

    def authorization() -> str | None:
        nonlocal header, asked_at
        if time.monotonic() - asked_at < TOKEN_FRESH_S:
            return header
        try:
            token = configuration.get_api_key_with_prefix("BearerToken")
        except (config.ConfigException, OSError) as error:
            raise Unavailable(f"the service account token cannot be read: {error}") from error
        header = token.strip() if token else None  # a line end would make the header invalid
        asked_at = time.monotonic()
        return header

    server = configuration.host.rstrip("/")
    return Credentials(
        server=server,
        ssl_context=_ssl_context(configuration) if server.startswith("https:") else None,
        authorization=authorization,
        namespace=namespace,
        tls_server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
        ca_file=configuration.ssl_ca_cert,
        certificate_file=configuration.cert_file,
        key_file=configuration.key_file,
        verify=configuration.verify_ssl,
    )


def _ssl_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    # Many clusters' own CA lacks the key identifiers that Python 3.13 began to require; kubectl accepts those too.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
