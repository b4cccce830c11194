"""`suspend`, `resume`: edits of a schedule that a person could make with kubectl as well."""

import argparse
from typing import TYPE_CHECKING

from retrain_operator.cli.plugin.session import Exit, Session

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

GIT = "Where the schedule is in Git, change it there: the next sync would take this back."


def add_to(commands: "Commands", common: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    for name, word in (("suspend", "hold automatic starts; running work goes on"), ("resume", "let automatic starts go on")):
        parser = commands.add_parser(name, parents=[common], help=word, description=f"{word.capitalize()}. {GIT}")
        parser.add_argument("schedule", help="name of the RetrainSchedule")
        parser.set_defaults(run=_suspend if name == "suspend" else _resume)


async def _suspend(session: Session, options: argparse.Namespace) -> Exit:
    await session.edit(options.schedule, {"spec": {"suspend": True}})
    session.say(f"retrainschedule/{options.schedule} suspended")
    return Exit.OK


async def _resume(session: Session, options: argparse.Namespace) -> Exit:
    await session.edit(options.schedule, {"spec": {"suspend": False}})
    session.say(f"retrainschedule/{options.schedule} resumed")
    return Exit.OK
