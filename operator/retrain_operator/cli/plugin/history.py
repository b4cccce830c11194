"""`history`: the runs, newest first."""

import argparse
from typing import TYPE_CHECKING

from retrain_operator.api.base import format_time
from retrain_operator.api.job import Phase
from retrain_operator.cli.plugin.session import Exit, Session, list_runs, parsed_run
from retrain_operator.cli.plugin.table import table
from retrain_operator.cluster.protocol import Body
from retrain_operator.errors import InvalidSpec

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

LIMIT = 20
HEADER = ("NAMESPACE", "NAME", "SCHEDULE", "TRIGGER", "WINDOW", "PHASE", "ATTEMPT", "STARTED", "DURATION", "MODEL", "DEPLOY", "RESULT")


def add_to(commands: "Commands", common: argparse.ArgumentParser) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("history", parents=[common], help="list runs, newest first", description="List runs, newest first.")
    parser.add_argument("schedule", nargs="?", help="only those of this RetrainSchedule")
    parser.add_argument("--window", help="only those of this window, e.g. 2025-26")
    parser.add_argument("--phase", choices=[phase.value for phase in Phase], help="only those in this phase")
    parser.add_argument("--limit", type=_limit, default=LIMIT, help="at most so many (default: %(default)s)")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of the whole cluster")
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="form (default: %(default)s)")
    parser.set_defaults(run=_history)


async def _history(session: Session, options: argparse.Namespace) -> Exit:
    found = await list_runs(
        session, schedule=options.schedule, phase=options.phase, window=options.window, everywhere=options.all_namespaces
    )
    shown = found[: options.limit]
    if options.output != "table":
        session.show({"apiVersion": "v1", "kind": "List", "items": shown}, options.output)
        return Exit.OK
    if not shown:
        session.say("No runs found.")
        return Exit.OK
    columns = list(zip(HEADER, *map(_row, shown), strict=True))[0 if options.all_namespaces else 1 :]
    filled = [column for column in columns if any(column[1:])]  # a terminal is narrow
    header, *rows = zip(*filled, strict=True)
    for line in table(header, rows, session.width):
        session.say(line)
    if hidden := len(found) - len(shown):
        session.say(f"{hidden} more: --limit {len(found)}")
    return Exit.OK


def _row(body: Body) -> tuple[str, ...]:
    run = parsed_run(body)
    spec, status, summary = run.spec, run.status, run.status.summary
    known = ("", "", "", 1) if isinstance(spec, InvalidSpec) else (spec.schedule or "", spec.trigger.value, spec.window or "", spec.attempt)
    return (
        run.metadata.namespace,
        run.metadata.name,
        *known[:3],
        status.phase.value,
        str(known[3]),
        format_time(status.start_time) if status.start_time else "",
        (summary.duration if summary else None) or "",
        (summary.model if summary else None) or "",
        status.deployment.state.value if status.deployment else "",
        (summary.result if summary else None) or "",
    )


def _limit(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1")
    return int(text)
