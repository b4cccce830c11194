"""`retrain`: one command, its subcommands in a file each."""

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from retrain_operator.cli import demo, operate, simulate


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="retrain", description="Keep machine-learning models fresh on Kubernetes.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('retrain-operator')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    try:
        for command in (operate, demo, simulate):
            command.add_to(commands)
    except ValueError as error:  # of a variable in the environment, which is a flag's default
        parser.error(str(error))
    options = parser.parse_args(argv)
    code: int = options.run(options)
    return code
