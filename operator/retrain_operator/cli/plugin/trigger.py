"""`trigger`: a run now, and, with --wait, how it goes to its end, further attempts included."""

import argparse
import asyncio
from typing import TYPE_CHECKING

from retrain_operator.api.job import Phase
from retrain_operator.api.names import ANNOTATION_REQUESTED_AT
from retrain_operator.api.schedule import Action, TickDecision
from retrain_operator.cli.plugin.session import Exit, Session, Stop, new_token, parsed_run, parsed_schedule
from retrain_operator.cli.spans import span_s
from retrain_operator.cluster.protocol import RUNS, SCHEDULES
from retrain_operator.rules.conditions import find

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

ANSWER_WITHIN_S = 30.0  # an operator at work answers within a second


def add_to(commands: "Commands", common: argparse.ArgumentParser) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "trigger",
        parents=[common],
        help="start a run now",
        description="Start a run of a schedule now, by the annotation retrain.dev/requestedAt, and tell what the operator makes of it. "
        "It works for a suspended schedule too, and keeps to concurrencyPolicy and guard.",
    )
    parser.add_argument("schedule", help="name of the RetrainSchedule")
    parser.add_argument("--token", help="token of the request; the time if unset. A token that was used already starts nothing")
    parser.add_argument("--wait", action="store_true", help="follow the run to its end")
    parser.add_argument("--timeout", type=span_s, default=3600, metavar="SPAN", help="with --wait, how long, e.g. 90s or 2h (default: 1h)")
    parser.set_defaults(run=_trigger)


async def _trigger(session: Session, options: argparse.Namespace) -> Exit:
    token = options.token or new_token(session)
    before = parsed_schedule(await session.get(SCHEDULES, options.schedule)).status
    if before.last_handled_requested_at == token:
        raise Stop(f"token {token} was acted on already: choose another", Exit.FAILED)
    await session.edit(options.schedule, {"metadata": {"annotations": {ANNOTATION_REQUESTED_AT: token}}})
    session.say(f"retrainschedule/{options.schedule} asked for a run, token {token}")
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            answer = await _decision(session, options.schedule, token, final=False)
    except TimeoutError:
        raise Stop(f"no answer within {ANSWER_WITHIN_S:.0f} s; the request stands, is the operator running?", Exit.TIMEOUT) from None
    session.say(_told(answer))
    if not options.wait:
        return Exit.FAILED if answer.action is Action.SKIP else Exit.OK
    try:
        async with asyncio.timeout(options.timeout):
            if answer.action is Action.WAIT:
                answer = await _decision(session, options.schedule, token, final=True)
                session.say(_told(answer))
            if answer.action is Action.SKIP or answer.job is None:
                return Exit.FAILED
            return await _to_the_end(session, answer.job)
    except TimeoutError:
        raise Stop(f"not finished within {options.timeout} s; it goes on", Exit.TIMEOUT) from None


async def _decision(session: Session, schedule: str, token: str, *, final: bool) -> TickDecision:
    """What the operator decided about the request. `final`: not that it waits."""
    async for body in session.follow(SCHEDULES, schedule):
        status = parsed_schedule(body).status
        ready, last = find(status.conditions, "Ready"), status.last_request
        if last is not None and last.requested_at == token and not (final and last.action is Action.WAIT):
            return last
        if ready is not None and ready.status == "False":
            raise Stop(f"the schedule cannot start runs: {ready.reason}: {ready.message}", Exit.FAILED)
    raise AssertionError("a watch is begun again for ever")


def _told(answer: TickDecision) -> str:
    match answer.action:
        case Action.RUN:
            return f"retrainjob/{answer.job} created"
        case Action.WAIT:
            return f"waits for {answer.job or 'its run to be made'}: {answer.reason}"
        case Action.SKIP:
            return f"no run: {answer.reason}" + (f" ({answer.job})" if answer.job else "")


async def _to_the_end(session: Session, name: str) -> Exit:
    """Follow a run and the attempts after it, a line for each change."""
    told = ""
    async for body in session.follow(RUNS, name):
        status = parsed_run(body).status
        ready = find(status.conditions, "Ready")
        line = f"{name}: {status.phase}" + (f": {ready.message}" if ready is not None and ready.status != "Unknown" else "")
        if status.progress is not None:
            line += f", {status.progress.percentage:.0f} %"
        if line != told:
            session.say(line)
            told = line
        following = status.next_attempt
        if following is not None and following.made:
            return await _to_the_end(session, following.job)
        if status.phase.is_finished and following is None:
            return Exit.FAILED if status.phase is Phase.FAILED else Exit.OK
    raise AssertionError("a watch is begun again for ever")
