"""What must hold of every history, whatever went wrong: each rule on its own, from the observer's history alone. No I/O."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from tests.faults.endstate import Difference, differences
from tests.faults.generator import ticks
from tests.faults.history import Body, History, Life, Version
from tests.faults.slots import not_live, not_one_record, out_of_order
from tests.faults.truth import FINISHED, has_ended, lagging

KNOWABLE_S = 1.5  # after this the operator knows of an edit, when nothing is wrong with its watch
UNDECIDED_S = 5.0  # a tick this young may still be on its way
AUTOMATIC = ("Schedule", "Drift")  # a trigger by hand works under suspend, and what runs is retried
EXCLUSIVE = ("Forbid", "Replace", "Queue")
LABEL_GUARD = "retrain.dev/guard"


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken, and how."""

    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A trial as the oracle sees it."""

    history: History
    now: datetime  # aware UTC, of the end
    last_fault_at: float = -1.0  # monotonic, as Version.at
    floors: dict[str, datetime] = field(default_factory=dict)  # by schedule: every tick after it counts
    reference: list[Body] | None = None  # end state of the trial without faults


def violations(evidence: Evidence) -> list[Violation]:
    """All of them. The end is compared once nothing else is wrong: it costs more than all other rules, and says less."""
    found = [Violation(_name(rule), message) for rule in RULES for message in rule(evidence)]
    return found or [Violation(_name(the_end_is_as_without_faults), message) for message in the_end_is_as_without_faults(evidence)]


def one_run_per_tick(evidence: Evidence) -> Iterator[str]:
    """At most one RetrainJob ever per (schedule UID, tick, attempt)."""
    made: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for run in evidence.history.of("retrainjobs"):
        if run.owner and run.spec.get("scheduledTime"):
            made[run.owner["uid"], run.spec["scheduledTime"], _attempt(run)].append(f"{run.name} ({run.uid})")
    for (_, tick, attempt), names in made.items():
        if len(names) > 1:
            yield f"tick {tick}, attempt {attempt}, was made {len(names)} times: {', '.join(names)}"


def one_run_by_drift(evidence: Evidence) -> Iterator[str]:
    """At most one RetrainJob ever per schedule UID that drift made: a trial is shorter than any cooldown, and than any interval."""
    made: defaultdict[str, list[str]] = defaultdict(list)
    for run in evidence.history.of("retrainjobs"):
        if run.owner and run.spec.get("trigger") == "Drift":
            made[run.owner["uid"]].append(f"{run.name} ({run.uid})")
    for names in made.values():
        if len(names) > 1:
            yield f"drift made {len(names)} runs: {', '.join(names)}"


def one_job_per_run(evidence: Evidence) -> Iterator[str]:
    """A run is started once, whatever happens to its Job.

    Where somebody deletes a run that has not finished, a create that is on its way finds the name free again once the collector has taken
    the Job: nothing in Kubernetes could refuse it. The collector takes that Job too, and another rule says how late it may be made.
    """
    made: defaultdict[str, list[str]] = defaultdict(list)
    for job in evidence.history.of("jobs"):
        if job.owner and not _was_deleted_unfinished(evidence.history.lives.get(job.owner["uid"]), job.created):
            made[job.owner["uid"]].append(f"{job.name} ({job.uid})")
    for names in made.values():
        if len(names) > 1:
            yield f"one RetrainJob had {len(names)} Jobs: {', '.join(names)}"


def a_finished_run_is_final(evidence: Evidence) -> Iterator[str]:
    """Phase and result never change again."""
    for run in evidence.history.of("retrainjobs"):
        before: tuple[object, object] | None = None
        for version in run.versions:
            status = version.body.get("status") or {}
            now = (status.get("phase"), status.get("result"))
            if before is not None and now != before:
                yield f"{run.name} was {before[0]} and became {now[0]}"
            if now[0] in FINISHED:
                before = now


def runs_do_not_overlap(evidence: Evidence) -> Iterator[str]:
    """No two unfinished Jobs of one schedule, unless it allows them, nor of one guard key; a Job that is gone goes on with its pods."""
    history = evidence.history
    policies = {each.name: each.spec.get("concurrencyPolicy", "Forbid") for each in history.of("retrainschedules")}
    groups: defaultdict[str, list[Life]] = defaultdict(list)
    for job in history.of("jobs"):
        run = history.lives.get(job.owner.get("uid", ""))
        schedule = run.spec.get("schedule") if run else None
        if schedule and policies.get(schedule, "Allow") in EXCLUSIVE:
            groups[f"schedule {schedule}"].append(job)
        if guard := (job.last["metadata"].get("labels") or {}).get(LABEL_GUARD):
            groups[f"guard {guard}"].append(job)
    for key, jobs in groups.items():
        for first, second in pairwise(jobs):
            if not _has_ended(history, first, second.created.version):
                yield f"{key}: Job {second.name} was made while {first.name} was unfinished"


def nothing_starts_against_the_users_will(evidence: Evidence) -> Iterator[str]:
    """No automatic run of a suspended or deleted schedule, and no Job of a deleted run, once the operator could know."""
    history = evidence.history
    for run in history.of("retrainjobs"):
        schedule = history.lives.get(run.owner.get("uid", ""))
        if schedule is None:
            continue
        since = _since(schedule, run.created, _forbids_automatic if run.spec.get("trigger") in AUTOMATIC else _is_deleted)
        if since is not None and run.created.at - max(since, evidence.last_fault_at) > KNOWABLE_S:
            yield f"{run.name} was made {run.created.at - since:.1f} s after its schedule was suspended or deleted"
    for job in history.of("jobs"):
        owner = history.lives.get(job.owner.get("uid", ""))
        since = _since(owner, job.created, _is_deleted) if owner else None
        if since is not None and job.created.at - max(since, evidence.last_fault_at) > KNOWABLE_S:
            yield f"Job {job.name} was made {job.created.at - since:.1f} s after its run was deleted"


def every_tick_has_one_fate(evidence: Evidence) -> Iterator[str]:
    """Each expected tick is a run or a recorded skip, not both, and no run was made for any other instant."""
    for schedule in evidence.history.living("retrainschedules"):
        floor = evidence.floors.get(schedule.name)
        if floor is None:
            continue
        spec, zone = schedule.spec, schedule.spec.get("timeZone", "Etc/UTC")
        expected = ticks(spec["schedule"], zone, floor, evidence.now)
        ran = {_instant(run.spec["scheduledTime"]): run for run in _runs_of(evidence.history, schedule) if "scheduledTime" in run.spec}
        skipped, waiting = _recorded(schedule)
        for tick in expected:
            is_skipped, waits = (any(first <= tick <= last for first, last in each) for each in (skipped, waiting))
            if tick in ran and is_skipped:
                yield f"{schedule.name}: tick {tick} was run, and recorded as skipped"
            if tick not in ran and not is_skipped and not waits and tick < evidence.now - timedelta(seconds=UNDECIDED_S):
                yield f"{schedule.name}: tick {tick} was neither run nor recorded as skipped"
        for tick, run in ran.items():
            if tick not in expected:
                yield f"{schedule.name}: {run.name} was made for {tick}, which is no tick of it"


def status_tells_the_truth(evidence: Evidence) -> Iterator[str]:
    """Statuses say what the Jobs and pods say."""
    yield from lagging(evidence.history)


def a_slot_never_goes_back_by_itself(evidence: Evidence) -> Iterator[str]:
    """Only to a newer run, except for each rollback that somebody asked for, once."""
    yield from out_of_order(evidence.history)


def a_slot_holds_one_whole_model(evidence: Evidence) -> Iterator[str]:
    """Of a run that was Completed: never a half one, nor one of a run that was stopped or replaced."""
    yield from not_one_record(evidence.history)


def the_newest_good_model_is_live(evidence: Evidence) -> Iterator[str]:
    """The newest that passed its gates and is not held, and its run says so."""
    yield from not_live(evidence.history)


def nothing_is_left_without_its_owner(evidence: Evidence) -> Iterator[str]:
    """No RetrainJob, Job or Lease outlives what it belongs to."""
    lives = evidence.history.lives
    for resource in ("retrainjobs", "jobs", "leases"):
        for life in evidence.history.living(resource):
            for owner in life.last["metadata"].get("ownerReferences") or ():
                if owner["uid"] not in lives or lives[owner["uid"]].is_gone:
                    yield f"{resource}/{life.name} belongs to {owner['kind']} {owner['name']}, which is gone"


def the_end_is_as_without_faults(evidence: Evidence) -> Iterator[str]:
    """The end state equals the reference's."""
    if evidence.reference is not None:
        found: list[Difference] = differences(evidence.reference, evidence.history)
        yield from map(str, found)


RULES: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    one_run_per_tick,
    one_run_by_drift,
    one_job_per_run,
    a_finished_run_is_final,
    runs_do_not_overlap,
    nothing_starts_against_the_users_will,
    every_tick_has_one_fate,
    status_tells_the_truth,
    a_slot_never_goes_back_by_itself,
    a_slot_holds_one_whole_model,
    the_newest_good_model_is_live,
    nothing_is_left_without_its_owner,
)


def _name(rule: Callable[[Evidence], Iterator[str]]) -> str:
    return rule.__name__.replace("_", " ")


def _attempt(run: Life) -> str:
    labels = run.last["metadata"].get("labels") or {}
    return str(run.spec.get("attempt") or labels.get("retrain.dev/attempt") or 1)


def _was_deleted_unfinished(run: Life | None, moment: Version) -> bool:
    return run is not None and _since(run, moment, _is_deleted) is not None and run.status.get("phase") not in FINISHED


def _has_ended(history: History, job: Life, version: int) -> bool:
    """Whether the Job had ended by then, or was deleted and its pods had ended."""
    end = next((each for each in job.versions if each.version <= version and (each.deleted or has_ended(each.body))), None)
    if end is None:
        return False
    if not end.deleted:
        return True
    pods = [pod for pod in history.of("pods") if pod.owner.get("uid") == job.uid and pod.created.version <= version]
    return all(any(each.version <= version and _pod_ended(each) for each in pod.versions) for pod in pods)


def _pod_ended(pod: Version) -> bool:
    return pod.deleted or (pod.body.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _since(life: Life, moment: Version, holds: Callable[[Version], bool]) -> float | None:
    """Since when `holds` was so at that moment, as the observer's clock has it; None when it was not."""
    since: float | None = None
    for version in life.versions:
        if version.version > moment.version:
            break
        since = (version.at if since is None else since) if holds(version) else None
    return since


def _is_deleted(version: Version) -> bool:
    return version.deleted


def _forbids_automatic(version: Version) -> bool:
    return version.deleted or bool(version.body["spec"].get("suspend"))


def _runs_of(history: History, schedule: Life) -> list[Life]:
    return [run for run in history.of("retrainjobs") if run.owner.get("uid") == schedule.uid]


Ticks = tuple[datetime, datetime]  # the first and the last of those with one fate


def _recorded(schedule: Life) -> tuple[list[Ticks], list[Ticks]]:
    """The skipped ticks that any version of the status told of, and those that wait in the last."""
    skipped: set[Ticks] = set()
    for version in schedule.versions:
        status = version.body.get("status") or {}
        skipped |= {
            _ticks(each) for each in (*(status.get("recentDecisions") or ()), status.get("lastDecision") or {}) if _is(each, "Skip")
        }
    last = schedule.status.get("lastDecision") or {}
    return sorted(skipped), [_ticks(last)] if _is(last, "Wait") else []


def _is(decision: Body, action: str) -> bool:
    return decision.get("action") == action


def _ticks(decision: Body) -> Ticks:
    return _instant(decision.get("firstScheduledTime") or decision["scheduledTime"]), _instant(decision["scheduledTime"])


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
