"""Where the API server is and how to prove who we are: in a pod, or from a kubeconfig."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credentials:
    """`authorization` gives the whole header value and is asked before every request, so that rotated tokens are picked up."""

    server: str
    ssl_context: ssl.SSLContext | None
    authorization: Callable[[], str | None]
    namespace: str = "default"
    tls_server_name: str | None = None
    proxy: str | None = None


def load_credentials(*, kubeconfig: str | None = None, context: str | None = None) -> Credentials:
    raise NotImplementedError
