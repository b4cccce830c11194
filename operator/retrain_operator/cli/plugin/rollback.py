"""`rollback`, `release`: the slot's previous model comes back, and models go live again, followed to what became of it."""

import argparse
import asyncio
from typing import TYPE_CHECKING

from retrain_operator.api.deploy import RollbackState
from retrain_operator.api.names import ANNOTATION_RELEASE_AT, ANNOTATION_ROLLBACK_AT
from retrain_operator.cli.plugin.session import Exit, Session, Stop, new_token, parsed_schedule
from retrain_operator.cli.spans import span_s
from retrain_operator.cluster.protocol import SCHEDULES

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_to(commands: "Commands", common: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    parser = commands.add_parser(
        "rollback",
        parents=[common],
        help="bring the slot's previous model back",
        description="Bring the previous model of a schedule's slot back, to the slot and to its targets, and wait until it is seen there. "
        "Automatic deploys are held until there are other data, or until `release`.",
    )
    parser.set_defaults(run=_rollback)
    _common(parser)
    parser = commands.add_parser(
        "release",
        parents=[common],
        help="let models go live again after a rollback",
        description="Lift the hold that a rollback put on automatic deploys.",
    )
    parser.set_defaults(run=_release)
    _common(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("schedule", help="name of the RetrainSchedule")
    parser.add_argument("--token", help="token of the request; the time if unset. A token that was used already does nothing")
    parser.add_argument("--timeout", type=span_s, default=600, metavar="SPAN", help="how long to wait, e.g. 90s or 2h (default: 10m)")


async def _rollback(session: Session, options: argparse.Namespace) -> Exit:
    token = options.token or new_token(session)
    await session.get(SCHEDULES, options.schedule)
    await session.edit(options.schedule, {"metadata": {"annotations": {ANNOTATION_ROLLBACK_AT: token}}})
    session.say(f"retrainschedule/{options.schedule} asked for a rollback, token {token}")
    told = ""
    try:
        async with asyncio.timeout(options.timeout):
            async for body in session.follow(SCHEDULES, options.schedule):
                last = parsed_schedule(body).status.last_rollback
                if last is None or last.requested_at != token:
                    continue
                line = f"{last.state}: {last.message}" if last.message else last.state.value
                if line != told:
                    session.say(line)
                    told = line
                if last.state is not RollbackState.ROLLING_OUT:
                    return Exit.OK if last.state is RollbackState.ROLLED_BACK else Exit.FAILED
    except TimeoutError:
        raise Stop(f"not done within {options.timeout} s; the request stands", Exit.TIMEOUT) from None
    raise AssertionError("a watch is begun again for ever")


async def _release(session: Session, options: argparse.Namespace) -> Exit:
    token = options.token or new_token(session)
    await session.get(SCHEDULES, options.schedule)
    await session.edit(options.schedule, {"metadata": {"annotations": {ANNOTATION_RELEASE_AT: token}}})
    try:
        async with asyncio.timeout(options.timeout):
            async for body in session.follow(SCHEDULES, options.schedule):
                if parsed_schedule(body).status.last_handled_release_requested_at == token:
                    session.say(f"retrainschedule/{options.schedule} released: the next model may go live")
                    return Exit.OK
    except TimeoutError:
        raise Stop(f"not done within {options.timeout} s; the request stands", Exit.TIMEOUT) from None
    raise AssertionError("a watch is begun again for ever")
