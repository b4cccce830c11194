"""What statuses must say, worked out from Jobs and pods alone, and where they do not. No I/O."""

import json
from collections.abc import Iterator
from itertools import takewhile

from tests.faults.history import Body, History, Life

FINISHED = ("Completed", "Failed", "Skipped")
_PHASES = {"trained": "Completed", "simulated": "Completed", "skipped": "Skipped"}


def lagging(history: History) -> Iterator[str]:
    """Every status that is behind what happened. Nothing when all is as it should be."""
    for run in history.living("retrainjobs"):
        if "deletionTimestamp" not in run.last["metadata"]:
            yield from _run(history, run)
    for schedule in history.living("retrainschedules"):
        if "deletionTimestamp" not in schedule.last["metadata"]:
            yield from _schedule(history, schedule)


def _run(history: History, run: Life) -> Iterator[str]:
    phase = run.status.get("phase", "Pending")
    jobs = [job for job in history.of("jobs") if job.owner.get("uid") == run.uid]
    if not jobs:
        if phase not in FINISHED and not run.spec.get("suspend"):
            yield f"{run.name} is {phase} and has no Job"
        return
    job = jobs[-1]
    expected = _expected_phase(history, job)
    if (phase in FINISHED or expected in FINISHED) and phase != expected:
        yield f"{run.name} is {phase}, but its Job says {expected}"
    elif expected == "Running" != phase:
        yield f"{run.name} is {phase}, but its pod runs"
    if phase != "Pending" and run.status.get("jobName") != job.name:
        yield f"{run.name} names Job {run.status.get('jobName')} and not {job.name}"


def _expected_phase(history: History, job: Life) -> str:
    if has_ended(job.last) and was_told_to_stop(history.lives.get(job.owner["uid"])):
        return "Failed"
    ends = [each["type"] for each in job.status.get("conditions") or () if each["status"] == "True"]
    if "Complete" in ends:
        return _PHASES.get(_outcome(history, job), "Failed")
    if "Failed" in ends or job.is_gone:
        return "Failed"
    return "Running" if job.status.get("ready") else "Pending"


def has_ended(job: Body) -> bool:
    """A Job's end, and nothing less."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)


def was_told_to_stop(run: Life | None) -> bool:
    """Ever: what its trainer answers then counts no more, whichever was quicker, the Job's own end or its deletion."""
    return run is not None and any((each.body.get("status") or {}).get("stopping") for each in run.versions)


def _outcome(history: History, job: Life) -> str:
    """What the trainer answered, in any version of any pod of the Job."""
    for pod in history.of("pods"):
        if pod.owner.get("uid") != job.uid:
            continue
        for version in pod.versions:
            for container in (version.body.get("status") or {}).get("containerStatuses") or ():
                ended: Body = (container.get("state") or {}).get("terminated") or {}
                if ended.get("message"):
                    try:
                        return str(json.loads(ended["message"]).get("outcome"))
                    except ValueError:
                        return ""
    return ""


def _schedule(history: History, schedule: Life) -> Iterator[str]:
    status = schedule.status
    if status.get("observedGeneration") != schedule.last["metadata"]["generation"]:
        yield f"{schedule.name} tells of generation {status.get('observedGeneration')}"
    runs = [run for run in history.of("retrainjobs") if run.spec.get("schedule") == schedule.name]
    unfinished = sorted(run.name for run in runs if not run.is_gone and run.status.get("phase") not in FINISHED)
    told = sorted(each["name"] for each in status.get("active") or ())
    if told != unfinished:
        yield f"{schedule.name} tells of active runs {told}, but they are {unfinished}"
    for field, phases in (("lastSuccessfulTime", ("Completed", "Skipped")), ("lastFailureTime", ("Failed",))):
        ends = [run.status["completionTime"] for run in runs if run.status.get("phase") in phases and _counts(run)]
        if max(ends, default=None) != status.get(field):
            yield f"{schedule.name} has {field} {status.get(field)}, but it is {max(ends, default=None)}"
    counted = sorted(
        (run for run in runs if run.status.get("phase") in FINISHED and _counts(run)), key=lambda run: run.status["completionTime"]
    )
    failures = len(list(takewhile(lambda run: run.status["phase"] == "Failed", reversed(counted))))
    if failures != status.get("consecutiveFailures", 0):
        yield f"{schedule.name} counts {status.get('consecutiveFailures', 0)} failures in a row, but they are {failures}"


def _counts(run: Life) -> bool:
    """A run that was replaced says nothing about the model, nor does an attempt that another one follows."""
    return (run.status.get("error") or {}).get("reason") != "Replaced" and "nextAttempt" not in run.status
