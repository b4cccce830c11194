"""Shell completion: kubectl calls `kubectl_complete-retrain` with the words typed so far and offers the lines that it prints.

The last line is a number for the shell: 4 keeps it from offering files as well, 0 lets it.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise

from retrain_operator.cli.plugin.main import parser
from retrain_operator.cluster.credentials import load_credentials
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, ClusterError, Resource

NO_FILES, FILES = ":4", ":0"
NAMES_WITHIN_S = 2.0  # a person waits for the answer with a finger on the key
_NAMED = {"schedule": SCHEDULES, "name": RUNS}  # positional arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Print what the last word can become. Returns 0: a shell shows no errors."""
    *before, word = (argv if argv is not None else sys.argv[1:]) or [""]
    found, directive = candidates(before, word)
    for each in sorted(found):
        if each.startswith(word):
            print(each)
    print(directive)
    return 0


def candidates(before: Sequence[str], word: str) -> tuple[Iterable[str], str]:
    """What can stand after `before`, and the directive for the shell."""
    commands = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)).choices
    name = next((each for each in before if each in commands), None)
    if name is None:
        return commands, NO_FILES
    actions = commands[name]._actions
    options = {option: action for action in actions for option in action.option_strings}
    asking = options.get(before[-1])
    if asking is not None and asking.nargs != 0:
        return (asking.choices or (), NO_FILES) if asking.choices else ((), FILES)
    if word.startswith("-"):
        return options, NO_FILES
    wanted = next((_NAMED[action.dest] for action in actions if not action.option_strings and action.dest in _NAMED), None)
    return (_names(wanted, before) if wanted is not None else ()), NO_FILES


def _names(resource: Resource, before: Sequence[str]) -> list[str]:
    given = {option: value for option, value in pairwise(before) if option.startswith("-")}
    namespace = given.get("-n") or given.get("--namespace")

    async def listed() -> list[str]:
        credentials = load_credentials(kubeconfig=given.get("--kubeconfig"), context=given.get("--context"))
        async with asyncio.timeout(NAMES_WITHIN_S), KubeCluster(credentials) as cluster:
            found = await cluster.list(resource, namespace or credentials.namespace)
        return [body["metadata"]["name"] for body in found.items]

    try:
        return asyncio.run(listed())
    except (ClusterError, TimeoutError):
        return []
