"""How one operator process runs: from flags, or from RETRAIN_OPERATOR_* variables where kopf owns the command line."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from retrain_operator.cluster.prometheus import parse_allowed

PREFIX = "RETRAIN_OPERATOR_"
_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a user can choose about the process."""

    namespaces: tuple[str, ...] = ()  # empty: the whole cluster
    leader_election: bool = True
    lease_namespace: str | None = None  # the pod's own, or the kubeconfig's
    lease_name: str = "retrain-operator"
    http_host: str = "0.0.0.0"
    http_port: int = 8080
    prometheus_allow: tuple[str, ...] = ()  # host:port of each server that a drift policy may ask; empty: none
    webhook_allow: tuple[str, ...] = ()  # host:port of each receiver of notifications; empty: none
    log_format: str = "plain"
    log_level: str = "info"
    kubeconfig: str | None = None
    context: str | None = None
    instance: str = field(default_factory=socket.gethostname)

    @property
    def watched(self) -> tuple[str | None, ...]:
        """Namespaces to list and watch; None is all of them."""
        return self.namespaces or (None,)


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from RETRAIN_OPERATOR_NAMESPACES (comma-separated), _LEADER_ELECTION, _LEASE_NAMESPACE, _HTTP_PORT and so on.

    Raises ValueError when a port is not a number, or a host has none.
    """

    def read(name: str) -> str | None:
        return environment.get(PREFIX + name) or None

    defaults = Settings()
    election = read("LEADER_ELECTION")
    return Settings(
        namespaces=tuple(each.strip() for each in (read("NAMESPACES") or "").split(",") if each.strip()),
        leader_election=election.lower() in _TRUE if election else defaults.leader_election,
        lease_namespace=read("LEASE_NAMESPACE") or environment.get("POD_NAMESPACE") or None,
        lease_name=read("LEASE_NAME") or defaults.lease_name,
        http_host=read("HTTP_HOST") or defaults.http_host,
        http_port=int(read("HTTP_PORT") or defaults.http_port),
        prometheus_allow=parse_allowed(read("PROMETHEUS_ALLOW") or ""),
        webhook_allow=parse_allowed(read("WEBHOOK_ALLOW") or ""),
        log_format=read("LOG_FORMAT") or defaults.log_format,
        log_level=read("LOG_LEVEL") or defaults.log_level,
        kubeconfig=read("KUBECONFIG"),
        context=read("CONTEXT"),
    )
