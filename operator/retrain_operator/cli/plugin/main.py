"""The plugin's command line: options that every subcommand has, the connection, and what becomes of errors."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from retrain_operator.cli import simulate
from retrain_operator.cli.plugin import describe, edit, history, logs, rollback, trigger
from retrain_operator.cli.plugin.session import Command, Exit, Session, Stop
from retrain_operator.cluster.credentials import load_credentials
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.protocol import ClusterError


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    whole = argparse.ArgumentParser(
        prog="kubectl retrain",
        description="Retrain models: start runs, see how they went, roll back.",
        epilog="Exit codes: 0 well, 1 the run failed or the request made none, 2 wrong use, 3 not in time.",
    )
    whole.add_argument("--version", action="version", version=f"%(prog)s {version('retrain-operator')}")
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-n", "--namespace", help="namespace; the kubeconfig's own if unset")
    common.add_argument("--context", help="context of the kubeconfig")
    common.add_argument("--kubeconfig", help="kubeconfig file")
    for module in (trigger, history, describe, rollback, edit, logs):
        module.add_to(commands, common)
    simulate.add_to(commands)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand. Returns the exit code."""
    options = parser().parse_args(argv)
    if options.command == "simulate":
        code: int = options.run(options)
        return code
    try:
        return asyncio.run(_run(options.run, options))
    except Stop as stop:
        print(f"kubectl retrain: {stop.message}", file=sys.stderr)
        return stop.code
    except ClusterError as error:
        print(f"kubectl retrain: {error.message}", file=sys.stderr)
        return Exit.FAILED
    except KeyboardInterrupt:
        return 130  # as a shell reports SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` has read enough
        return Exit.OK


async def _run(command: Command, options: argparse.Namespace) -> int:
    credentials = load_credentials(kubeconfig=options.kubeconfig, context=options.context)
    width = os.get_terminal_size().columns if sys.stdout.isatty() else None
    # Its own name: what a person asked for must not read as if the operator had.
    async with KubeCluster(credentials, manager="kubectl-retrain") as cluster:
        return await command(Session(cluster, options.namespace or credentials.namespace, width=width), options)
