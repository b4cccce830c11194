"""What a start does while runs of the schedule are unfinished: concurrencyPolicy, for ticks and for requests alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import Phase
from retrain_operator.api.schedule import Action, ConcurrencyPolicy
from retrain_operator.rules import reasons
from retrain_operator.rules.observed import ChildRun

_WAIT_REASONS = {ConcurrencyPolicy.FORBID: reasons.CONCURRENCY_FORBID, ConcurrencyPolicy.QUEUE: reasons.CONCURRENCY_QUEUE}
_RANKS = {Phase.RUNNING: 0, Phase.FAILED: 1, Phase.PENDING: 2}  # of a failed one the retry is still to be made: it has the guard


@dataclass(frozen=True, slots=True)
class Verdict:
    """Run, at once; Wait, for a run to finish or until one can be made; or Skip."""

    action: Action
    reason: str = ""  # of Wait and Skip
    run: str | None = None  # the one that is in the way, if it waits for one, or that is replaced


def unfinished(schedule: ObjectMeta, runs: Sequence[ChildRun]) -> tuple[ChildRun, ...]:
    """The runs that stand in the way of another one, whoever made them."""
    return tuple(run for run in runs if run.schedule == schedule.name and not run.is_finished)


def about_to_be_made(schedule: ObjectMeta, name: str, now: datetime, replaces: str | None) -> ChildRun:
    """A run as it will be observed once it is made, for what is decided after it in the same look."""
    return ChildRun(
        name=name,
        uid="",
        owner_uid=schedule.uid,
        schedule=schedule.name,
        phase=Phase.PENDING,
        created=now,
        replaces=replaces,
    )


def for_tick(
    policy: ConcurrencyPolicy, tick: datetime, schedule: ObjectMeta, runs: Sequence[ChildRun], *, in_line: bool, is_missed: bool
) -> Verdict:
    """`in_line`: under missedRunPolicy All, where missed ticks run one after another whatever the policy."""
    active = unfinished(schedule, runs)
    if not active:
        return Verdict(Action.RUN)
    if policy in _WAIT_REASONS:
        return Verdict(Action.WAIT, _WAIT_REASONS[policy], active[0].name)
    if in_line and is_missed:
        # Named as below: of a tick that waits already, only time has passed.
        return Verdict(Action.WAIT, reasons.CATCHING_UP, _to_replace(active).name)
    if policy is ConcurrencyPolicy.ALLOW:
        return Verdict(Action.RUN)
    replaced = _to_replace(active)
    if _began(replaced, runs) < tick:
        return Verdict(Action.RUN, run=replaced.name)
    # The run is newer than the tick: replacing it would bring back what is out of date.
    return Verdict(Action.WAIT, reasons.CATCHING_UP, replaced.name) if in_line else Verdict(Action.SKIP, reasons.SUPERSEDED, replaced.name)


def for_request(policy: ConcurrencyPolicy, schedule: ObjectMeta, runs: Sequence[ChildRun]) -> Verdict:
    """A request is always newer than what runs."""
    active = unfinished(schedule, runs)
    if not active or policy is ConcurrencyPolicy.ALLOW:
        return Verdict(Action.RUN)
    if policy in _WAIT_REASONS:
        return Verdict(Action.WAIT, _WAIT_REASONS[policy], active[0].name)
    return Verdict(Action.RUN, run=_to_replace(active).name)


def unless_blocked(verdict: Verdict, *, is_blocked: bool) -> Verdict:
    """What would start waits while no run can be made."""
    return Verdict(Action.WAIT, reasons.CREATE_FAILED) if is_blocked and verdict.action is Action.RUN else verdict


def _to_replace(active: Sequence[ChildRun]) -> ChildRun:
    """Of several the last of a chain of replacements, which starts only when the ones before are gone; else the one that has the guard."""
    replaced = {run.replaces for run in active}
    ends = [run for run in active if run.name not in replaced] or active  # people can write a circle
    return min(ends, key=lambda run: (_RANKS[run.phase], run.created, run.name))


def _began(run: ChildRun, runs: Sequence[ChildRun]) -> datetime:
    """When its first attempt was made."""
    return next((root.created for root in runs if root.uid == run.root_uid), run.created)
