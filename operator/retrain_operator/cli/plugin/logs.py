"""`logs`: the trainer's log of a run, by kubectl itself, which started us."""

import argparse
import asyncio
import contextlib
import shutil
from typing import TYPE_CHECKING

from retrain_operator.api.job import Phase
from retrain_operator.api.names import TRAINER_CONTAINER
from retrain_operator.cli.plugin.describe import in_words
from retrain_operator.cli.plugin.session import Exit, Session, Stop, parsed_run
from retrain_operator.cluster.protocol import RUNS

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_to(commands: "Commands", common: argparse.ArgumentParser) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "logs",
        parents=[common],
        help="print the trainer's log of a run",
        description="Print the log of a run's trainer. With -f it waits for the pod to start, and prints until the trainer ends.",
    )
    parser.add_argument("name", help="name of the RetrainJob")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the trainer ends")
    parser.set_defaults(run=_logs)


async def _logs(session: Session, options: argparse.Namespace) -> Exit:
    if shutil.which("kubectl") is None:
        raise Stop("kubectl is not on PATH")
    await session.get(RUNS, options.name)
    async for body in session.follow(RUNS, options.name):
        status = parsed_run(body).status
        if status.phase is not Phase.PENDING:
            break
        if not options.follow:
            raise Stop(f"{options.name} has not started: {in_words(status)}; -f waits for it", Exit.FAILED)
    if status.job_name is None:
        raise Stop(f"{options.name} is {status.phase} and never had a pod: see `kubectl retrain describe {options.name}`", Exit.FAILED)
    arguments = ["logs", f"job/{status.job_name}", "-c", TRAINER_CONTAINER, "-n", session.namespace]
    arguments += [f"--{name}={value}" for name in ("context", "kubeconfig") if (value := getattr(options, name))]
    arguments += ["-f", "--pod-running-timeout=5m"] if options.follow else []
    kubectl = await asyncio.create_subprocess_exec("kubectl", *arguments)
    try:
        return Exit.OK if await kubectl.wait() == 0 else Exit.FAILED
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            kubectl.terminate()
        raise
