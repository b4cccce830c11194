"""`retrain operator`: run the operator on a cluster."""

import argparse
import asyncio
import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from retrain_operator import logs, settings
from retrain_operator.cluster.allowed import parse_allowed
from retrain_operator.cluster.protocol import ClusterError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

log = logging.getLogger(__name__)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_something = action.default not in (None, "", []) and action.const is not True
        return super()._get_help_string(action) if says_something else action.help


def add_to(commands: "Commands") -> None:
    """Add the subcommand."""
    defaults = settings.from_environment()
    parser = commands.add_parser(
        "operator",
        help="run the operator on a cluster",
        description="Run the operator. Flags can be given in the environment too: RETRAIN_OPERATOR_NAMESPACES (comma-separated), "
        "RETRAIN_OPERATOR_HTTP_PORT and so on.",
        formatter_class=_Help,
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--all-namespaces", "-A", action="store_true", help="watch the whole cluster (the default)")
    where.add_argument("--namespace", "-n", action="append", default=[], help="watch only this namespace; may be repeated")
    parser.add_argument(
        "--leader-election", action=argparse.BooleanOptionalAction, default=defaults.leader_election, help="let only one replica write"
    )
    lease_help = "namespace of the leader's Lease; the pod's own if unset"
    parser.add_argument("--lease-namespace", default=defaults.lease_namespace, help=lease_help)
    parser.add_argument("--http-host", default=defaults.http_host, help="address of /healthz, /readyz and /metrics")
    parser.add_argument("--http-port", type=int, default=defaults.http_port, help="port of /healthz, /readyz and /metrics")
    parser.add_argument(
        "--prometheus-allow",
        type=_hosts,
        metavar="HOST:PORT[,...]",
        default=",".join(defaults.prometheus_allow),
        help="servers that drift policies may query, e.g. prometheus.monitoring:9090; none if unset",
    )
    parser.add_argument(
        "--webhook-allow",
        type=_hosts,
        metavar="HOST:PORT[,...]",
        default=",".join(defaults.webhook_allow),
        help="receivers of notifications, e.g. hooks.example.com:443; none if unset",
    )
    parser.add_argument("--log-format", choices=("plain", "json"), default=defaults.log_format, help="format of log lines")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default=defaults.log_level, help="least level")
    parser.add_argument(
        "--progress-interval",
        type=settings.seconds,
        default=defaults.progress_interval_s,
        metavar="SECONDS",
        help="read the log of a running run this often, to show its progress in its status; 0: never",
    )
    parser.add_argument("--kubeconfig", default=defaults.kubeconfig, help="kubeconfig file; in a pod its service account is used")
    parser.add_argument("--context", default=defaults.context, help="context of the kubeconfig")
    parser.set_defaults(run=run, defaults=defaults)


def run(options: argparse.Namespace) -> int:
    """Exit code 0 after SIGTERM, 1 when there is no cluster to talk to."""
    from retrain_operator import handlers  # kopf takes half a second to import, which no other command should pay

    chosen = settings_of(options)
    logs.configure(chosen.log_format, chosen.log_level)
    try:
        asyncio.run(handlers.serve(chosen))
    except ClusterError as error:
        print(f"retrain operator: {error}", file=sys.stderr)
        return 1
    return 0


def settings_of(options: argparse.Namespace) -> settings.Settings:
    """What the flags say, and the environment where they say nothing."""
    base: settings.Settings = options.defaults
    return replace(
        base,
        namespaces=() if options.all_namespaces else tuple(options.namespace) or base.namespaces,
        leader_election=options.leader_election,
        lease_namespace=options.lease_namespace,
        http_host=options.http_host,
        http_port=options.http_port,
        prometheus_allow=options.prometheus_allow,
        webhook_allow=options.webhook_allow,
        log_format=options.log_format,
        log_level=options.log_level,
        progress_interval_s=options.progress_interval,
        kubeconfig=options.kubeconfig,
        context=options.context,
    )


def _hosts(text: str) -> tuple[str, ...]:
    try:
        return parse_allowed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
