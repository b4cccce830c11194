"""A schedule's memory of its runs: how the last ones went, and which records may go."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import VERSION_MAX, Phase, Previous
from retrain_operator.api.schedule import LastTrained, RetrainScheduleSpec, RetrainScheduleStatus
from retrain_operator.rules.observed import ChildRun

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Account:
    """How the runs went, counted once each although their records are pruned."""

    last_successful_time: datetime | None
    last_failure_time: datetime | None
    consecutive_failures: int
    last_trained: LastTrained | None
    last_run: ChildRun | None  # the last to finish; None when nothing finished since the status was written


def account(status: RetrainScheduleStatus, runs: Sequence[ChildRun]) -> Account:
    """The status' account carried on with the runs that finished since."""
    counted_through = max(status.last_successful_time or _NEVER, status.last_failure_time or _NEVER)
    was_active = {active.name for active in status.active}
    # A run that ends in the same second as one already counted is known by having been active.
    fresh = sorted(
        (
            run
            for run in runs
            if run.completion_time
            and not run.has_next
            and not run.tells_nothing
            and (run.completion_time > counted_through or run.name in was_active)
        ),
        key=lambda run: (run.completion_time or _NEVER, run.name),
    )
    # A run may be heard of after one that finished later: it is counted, but no time goes back, or that one would be counted again.
    successful, failed = status.last_successful_time, status.last_failure_time
    failures, trained, last_run = status.consecutive_failures, status.last_trained, None
    for run in fresh:
        assert run.completion_time is not None
        at = run.completion_time
        if at >= counted_through:
            last_run = run
        if run.phase is Phase.FAILED:
            if at >= (successful or _NEVER):
                failures += 1
            failed = max(at, failed or _NEVER)
            continue
        if at >= (failed or _NEVER):
            failures = 0
        successful = max(at, successful or _NEVER)
        if run.trained and (trained is None or at >= trained.completion_time):
            trained = LastTrained(
                run=run.name,
                data_version=run.data_version,
                config_hash=run.config_hash,
                completion_time=at,
                metrics=dict(run.metrics) or None,
            )
    return Account(successful, failed, failures, trained, last_run)


def previous_of(last: LastTrained | None) -> Previous | None:
    """What the next run is told of the last one that trained. A trainer may call its data's version what it likes, however long."""
    if last is None:
        return None
    version, config_hash = (text if text is None or len(text) <= VERSION_MAX else None for text in (last.data_version, last.config_hash))
    return Previous(run=last.run, data_version=version, config_hash=config_hash, completion_time=last.completion_time)


@dataclass(frozen=True, slots=True)
class Pruning:
    """Which records go now, oldest first, and when the next one's time to live is over."""

    runs: tuple[ChildRun, ...]
    wake_at: datetime | None


def prunable(
    spec: RetrainScheduleSpec, schedule: ObjectMeta, runs: Sequence[ChildRun], now: datetime, in_slots: frozenset[str] = frozenset()
) -> Pruning:
    """Finished runs beyond the history limits, and those whose time to live is over. All were counted before: see `account`.

    A run and its further attempts count once, by how the last one ended, and go together. Only runs that this schedule made: what a person
    made, a person removes, or its own time to live. `in_slots`: UIDs of the runs whose models are live, or are ones to go back to.
    """
    own = [run for run in runs if run.owner_uid == schedule.uid and not run.gone]
    stay = [run for run in own if not run.is_finished or _is_needed(run, runs, in_slots)]
    may_go = sorted((run for run in own if run not in stay), key=_ended)
    busy, attempts_of = {_root(run) for run in stay}, defaultdict[str, list[ChildRun]](list)
    for run in may_go:
        attempts_of[_root(run)].append(run)
    counted = sorted((attempts for root, attempts in attempts_of.items() if root not in busy), key=lambda attempts: _ended(attempts[-1]))
    failed = [attempts for attempts in counted if attempts[-1].phase is Phase.FAILED]
    others = [attempts for attempts in counted if attempts[-1].phase is not Phase.FAILED]
    beyond = failed[: max(0, len(failed) - spec.failed_jobs_history_limit)]
    beyond += others[: max(0, len(others) - spec.successful_jobs_history_limit)]
    gone = [run for attempts in beyond for run in attempts]
    kept = [run for run in may_go if run not in gone]
    expired = [run for run in kept if run.expires_at is not None and run.expires_at <= now]
    later = [run.expires_at for run in kept if run.expires_at is not None and run.expires_at > now]
    return Pruning((*gone, *expired), min(later, default=None))


def _root(run: ChildRun) -> str:
    """UID of the first attempt."""
    return run.root_uid or run.uid


def _ended(run: ChildRun) -> tuple[datetime, str]:
    return run.completion_time or run.created, run.name


def _is_needed(run: ChildRun, runs: Sequence[ChildRun], in_slots: frozenset[str]) -> bool:
    """Whether something still reads the record: then it stays, whatever limits and times say."""
    if run.deploying or run.telling or run.uid in in_slots:
        return True
    # An attempt whose forerunner has not noted that it was made would be made again.
    is_noted = run.root_uid is None or not any(each.next_pending and run.root_uid in (each.uid, each.root_uid) for each in runs)
    # A run that was replaced leads its replacement to what that one waits for: see Replacements.replaces_unfinished.
    is_replaced = any(each.replaces == run.name and not each.is_finished for each in runs)
    return is_replaced or not is_noted
