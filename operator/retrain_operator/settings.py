"""How one operator process runs: from flags, or from RETRAIN_OPERATOR_* variables where kopf owns the command line."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from retrain_operator.cluster.allowed import parse_allowed

T = TypeVar("T")

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
    progress_interval_s: float = 30.0  # between two readings of a running run's log; 0: none is read
    kubeconfig: str | None = None
    context: str | None = None
    instance: str = field(default_factory=socket.gethostname)

    @property
    def watched(self) -> tuple[str | None, ...]:
        """Namespaces to list and watch; None is all of them."""
        return self.namespaces or (None,)


def seconds(text: str) -> float:
    """A span of time. Raises ValueError when it is none, or negative."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("write a number of seconds, 0 or more")
    return value


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from RETRAIN_OPERATOR_NAMESPACES (comma-separated), _LEADER_ELECTION, _LEASE_NAMESPACE, _HTTP_PORT and so on.

    Raises ValueError, with the variable's name, when a port or an interval is not a number, or a host has no port.
    """

    def read(name: str) -> str | None:
        return environment.get(PREFIX + name) or None

    def parsed(name: str, parse: Callable[[str], T], default: T) -> T:
        text = read(name)
        try:
            return parse(text) if text else default
        except ValueError as error:
            raise ValueError(f"{PREFIX}{name}={text}: {error}") from None

    defaults = Settings()
    election = read("LEADER_ELECTION")
    return Settings(
        namespaces=tuple(each.strip() for each in (read("NAMESPACES") or "").split(",") if each.strip()),
        leader_election=election.lower() in _TRUE if election else defaults.leader_election,
        lease_namespace=read("LEASE_NAMESPACE") or environment.get("POD_NAMESPACE") or None,
        lease_name=read("LEASE_NAME") or defaults.lease_name,
        http_host=read("HTTP_HOST") or defaults.http_host,
        http_port=parsed("HTTP_PORT", int, defaults.http_port),
        prometheus_allow=parsed("PROMETHEUS_ALLOW", parse_allowed, defaults.prometheus_allow),
        webhook_allow=parsed("WEBHOOK_ALLOW", parse_allowed, defaults.webhook_allow),
        log_format=read("LOG_FORMAT") or defaults.log_format,
        log_level=read("LOG_LEVEL") or defaults.log_level,
        progress_interval_s=parsed("PROGRESS_INTERVAL", seconds, defaults.progress_interval_s),
        kubeconfig=read("KUBECONFIG"),
        context=read("CONTEXT"),
    )
