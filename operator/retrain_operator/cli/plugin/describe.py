"""`describe`: one run, whole: why it exists, what it saw and made, whether it is live, its other attempts, its events."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from retrain_operator.api.base import format_time, parse_time
from retrain_operator.api.contract import RunDetails
from retrain_operator.api.deploy import DeploymentStatus
from retrain_operator.api.job import RetrainJobSpec, RetrainJobStatus
from retrain_operator.cli.plugin.session import Exit, Session, parsed_run
from retrain_operator.cli.plugin.table import table
from retrain_operator.cluster.protocol import EVENTS, RUNS, Body
from retrain_operator.embedded.printer import age
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules.conditions import find
from retrain_operator.rules.observed import RunObserved

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

LABEL_WIDTH = 12


def add_to(commands: "Commands", common: argparse.ArgumentParser) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "describe",
        parents=[common],
        help="tell all about one run",
        description="Tell all about one run: why it exists, its data, metrics and model, its other attempts, its events.",
    )
    parser.add_argument("name", help="name of the RetrainJob")
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text", help="form (default: %(default)s)")
    parser.set_defaults(run=_describe)


async def _describe(session: Session, options: argparse.Namespace) -> Exit:
    body = await session.get(RUNS, options.name)
    run = parsed_run(body)
    kin = await _attempts(session, run)
    events = await _events(session, run.metadata.uid)
    if options.output != "text":
        session.show({"run": body, "attempts": kin, "events": events}, options.output)
        return Exit.OK
    for line in _text(session, run, kin, events):
        session.say(line)
    return Exit.OK


async def _attempts(session: Session, run: RunObserved) -> list[Body]:
    """All attempts of the run's root, first to last; empty when there is only one."""
    root = run.spec.root.uid if not isinstance(run.spec, InvalidSpec) and run.spec.root else run.metadata.uid
    found = (await session.cluster.list(RUNS, session.namespace)).items
    kin = [body for body in found if body["metadata"]["uid"] == root or (body["spec"].get("root") or {}).get("uid") == root]
    return sorted(kin, key=lambda body: body["spec"].get("attempt", 1)) if len(kin) > 1 else []


async def _events(session: Session, uid: str) -> list[Body]:
    """The run's events, oldest first."""
    found = (await session.cluster.list(EVENTS, session.namespace)).items
    return sorted((each for each in found if (each.get("regarding") or {}).get("uid") == uid), key=_event_time)


def _event_time(event: Body) -> str:
    return str(event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _text(session: Session, run: RunObserved, kin: Sequence[Body], events: Sequence[Body]) -> Iterator[str]:
    spec, status = run.spec, run.status
    yield from _fields([("Run", f"{run.metadata.namespace}/{run.metadata.name}")])
    if isinstance(spec, InvalidSpec):
        yield from _fields([("Spec", f"not valid: {spec.message}")])
    else:
        yield from _fields(_why(spec))
    yield from _fields(_state(status))
    if status.result is not None:
        yield from _fields(_made(status.result))
        yield from _metrics(status.result, session.width)
    if status.deployment is not None:
        yield from _deployment(status.deployment, session.width)
    if kin:
        yield from _section("Attempts", ("NAME", "ATTEMPT", "PHASE", "RESULT"), map(_attempt, kin), session.width)
    rows = [_event(session, event) for event in events]
    if rows:
        yield from _section("Events", ("AGE", "TYPE", "REASON", "NOTE"), rows, session.width)


def _why(spec: RetrainJobSpec) -> Iterator[tuple[str, Any]]:
    yield "Schedule", spec.schedule
    yield "Trigger", spec.trigger
    yield "Tick", format_time(spec.scheduled_time) if spec.scheduled_time else None
    yield from (("Because", reason) for reason in spec.reasons or ())
    yield "Retry of", f"{spec.root.name}, attempt {spec.attempt}" if spec.root else None
    yield "Replaces", spec.replaces
    yield "Window", spec.window
    yield "Mode", spec.mode
    yield "Previous", f"{spec.previous.run}, data {spec.previous.data_version}" if spec.previous else None


def in_words(status: RetrainJobStatus) -> str:
    """The phase, and why."""
    ready = find(status.conditions, "Ready")
    known = ready is not None and ready.status != "Unknown"
    return status.phase + (f": {ready.message}" if ready is not None and known and ready.message else "")


def _state(status: RetrainJobStatus) -> Iterator[tuple[str, Any]]:
    guard = status.duplicate_guard
    yield "Phase", in_words(status)
    if status.progress is not None:
        left_s = status.progress.estimated_remaining_seconds
        yield "Progress", f"{status.progress.percentage:.0f} %" + (f", {left_s:.0f} s left" if left_s is not None else "")
    yield "Started", format_time(status.start_time) if status.start_time else None
    yield "Finished", format_time(status.completion_time) if status.completion_time else None
    yield "Took", status.summary.duration if status.summary else None
    yield "Job", status.job_name
    if status.error is not None:
        code = f", exit code {status.error.exit_code}" if status.error.exit_code is not None else ""
        yield "Error", f"{status.error.reason}{code}: {status.error.message}"
    if guard is not None:
        yield "Guard", f"{guard.key}, held by {guard.held_by}" if guard.triggered else guard.key
    following = status.next_attempt
    if following is not None:
        yield "Next attempt", following.job + (", made" if following.made else f" at {format_time(following.time)}")


def _made(result: RunDetails) -> Iterator[tuple[str, Any]]:
    data, config, evaluation, artifact = result.data, result.config, result.evaluation, result.artifact
    yield "Outcome", f"{result.outcome}: {result.reason}" if result.reason else result.outcome
    if data is not None:
        counts = [f"{data.rows} rows" if data.rows is not None else "", f"{data.bytes} bytes" if data.bytes is not None else ""]
        yield "Data", ", ".join(each for each in (data.version or "", *counts) if each)
    if config is not None:
        words = (config.task, config.algorithm, f"tuned, {config.trials} trials" if config.retuned else "")
        yield "Model", " ".join(str(each) for each in words if each)
        yield "Parameters", ", ".join(f"{name}={value}" for name, value in (config.params or {}).items())
    if evaluation is not None:
        yield "Evaluation", ", ".join(str(each) for each in (evaluation.protocol, f"n={evaluation.n}" if evaluation.n else None) if each)
    if artifact is not None:
        yield "Artifact", artifact.uri
        yield "sha256", artifact.sha256
    if result.phase_seconds:
        yield "Seconds", ", ".join(f"{name} {seconds:g}" for name, seconds in result.phase_seconds.items())
    yield "Peak memory", f"{result.peak_rss_mi_b:.0f} MiB" if result.peak_rss_mi_b else None


def _metrics(result: RunDetails, width: int | None) -> Iterator[str]:
    champion = result.champion
    known = champion.metrics if champion is not None else {}
    stderr = (champion.diff_stderr if champion is not None else None) or {}
    rows = []
    for name, value in result.metrics.items():
        row, theirs = [name, _number(value)], known.get(name)
        if champion is not None:
            difference = f"{value - theirs:+.4g}" if value is not None and theirs is not None else ""
            row += [_number(theirs) if name in known else "", difference, _number(stderr[name]) if name in stderr else ""]
        rows.append(row)
    if rows:
        yield from _section("Metrics", ("METRIC", "VALUE", "CHAMPION", "DIFFERENCE", "STDERR")[: len(rows[0])], rows, width)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.6g}"


def _deployment(deployment: DeploymentStatus, width: int | None) -> Iterator[str]:
    yield from _fields(
        [
            ("Deployment", f"{deployment.state}: {deployment.message}" if deployment.message else deployment.state.value),
            ("Slot", f"{deployment.slot}, ConfigMap {deployment.config_map}" if deployment.config_map else deployment.slot),
            ("In place of", deployment.previous_sha256),
        ]
    )
    if deployment.gates:
        rows = [(gate.metric, "passed" if gate.passed else "failed", gate.message) for gate in deployment.gates]
        yield from _section("Gates", ("METRIC", "VERDICT", "WHY"), rows, width)
    if deployment.targets:
        targets = [(f"{each.kind}/{each.name}", "ready" if each.ready else "waits", each.message) for each in deployment.targets]
        yield from _section("Targets", ("TARGET", "STATE", "WHY"), targets, width)


def _attempt(body: Body) -> tuple[str, ...]:
    run = parsed_run(body)
    result = run.status.summary.result if run.status.summary else None
    return run.metadata.name, str(body["spec"].get("attempt", 1)), run.status.phase.value, result or ""


def _event(session: Session, event: Body) -> tuple[str, ...]:
    passed_s = (session.now() - parse_time(_event_time(event))).total_seconds()
    return age(passed_s), event.get("type", ""), event.get("reason", ""), " ".join(str(event.get("note", "")).split())


def _fields(fields: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """What is not known or empty is left out."""
    for label, value in fields:
        if value not in (None, ""):
            yield f"{label + ':':<{LABEL_WIDTH + 2}}{value}"


def _section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], width: int | None) -> Iterator[str]:
    yield f"{title}:"
    for line in table(header, list(rows), width - 2 if width is not None else None):
        yield f"  {line}"
