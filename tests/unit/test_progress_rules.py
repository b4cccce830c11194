"""How far a run is: when its log is read, what is written, and when it goes again. The run's Job started at 12:00:05."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import at, job_ended, job_failed, job_state, ready, run, short

from retrain_operator.api.contract import Progress
from retrain_operator.api.job import Phase, RetrainJobStatus, RunProgress, RunSummary, Stopping
from retrain_operator.rules.decision import WriteStatus
from retrain_operator.rules.observed import JobState, LogRead
from retrain_operator.rules.progress import next_reading
from retrain_operator.rules.run import decide

INTERVAL = timedelta(seconds=30)


def status(phase: Phase = Phase.RUNNING, **changes: Any) -> RetrainJobStatus:
    base: dict[str, Any] = {
        "observed_generation": 1,
        "phase": phase,
        "attempt": 1,
        "conditions": [ready(False, "Running", "its pod runs")],
        "job_name": job_state().name,
        "start_time": at("12:00:05"),
    }
    return RetrainJobStatus(**base | changes)


def told(percentage: float = 40, time: str = "12:04", remaining: float | None = None, **metrics: float) -> dict[str, Any]:
    """Of a status that tells of progress."""
    progress = RunProgress(percentage=percentage, estimated_remaining_seconds=remaining, metrics=metrics, time=at(time))
    return {"progress": progress, "summary": RunSummary(result=f"{percentage}%")}


RUNS = job_state(ready=1)
STOPPING = Stopping(reason="Replaced", message="another replaces it", time=at("12:04"))

READINGS = [
    pytest.param(status(), RUNS, None, "12:00:35", id="never read: an interval after the start, so that a short run costs nothing"),
    pytest.param(status(), RUNS, "12:04", "12:04:30", id="read before: an interval later"),
    pytest.param(status(**told(time="12:04")), RUNS, None, "12:04:30", id="read by a process that died: as its status tells"),
    pytest.param(status(**told(time="12:01")), RUNS, "12:04", "12:04:30", id="read since without news: as this process knows"),
    pytest.param(status(Phase.PENDING), RUNS, None, None, id="not yet told as running: not read"),
    pytest.param(status(), job_state(), "12:04", None, id="its pod is being replaced: not read"),
    pytest.param(status(), job_state(ready=1, suspended=True), None, None, id="a queue takes it back: not read"),
    pytest.param(status(), job_state(ready=1, deleting=True), None, None, id="its Job is being deleted: not read"),
    pytest.param(status(), job_ended(ready=1), "12:03", None, id="its Job has ended: not read"),
    pytest.param(status(stopping=STOPPING), RUNS, None, None, id="being ended: not read"),
    pytest.param(status(), job_state(ready=1, start_time=None), None, None, id="without a start: not read"),
]


@pytest.mark.parametrize(("status", "job", "last", "expected"), READINGS)
def test_next_reading(status: RetrainJobStatus, job: JobState, last: str | None, expected: str | None) -> None:
    found = next_reading(status, job, at(last) if last else None, INTERVAL)
    assert (short(found) if found else None) == expected
    assert next_reading(status, job, at(last) if last else None, timedelta()) is None, "switched off"


@dataclass(frozen=True)
class Case:
    """A run whose log says this, looked at at 12:05. `written`: progress and what kubectl get prints; None: no write."""

    status: RetrainJobStatus
    said: Progress | None
    written: tuple[dict[str, Any] | None, str | None] | None = None


def says(percentage: float, remaining: float | None = None, **metrics: float | None) -> Progress:
    return Progress(progress_percentage=percentage, estimated_remaining_seconds=remaining, metrics=metrics)


NOW_TOLD = {"time": "2026-03-02T12:05:00Z"}
WRITES = [
    pytest.param(Case(status(), None), id="its log says nothing: no write"),
    pytest.param(Case(status(), says(0), ({"percentage": 0.0, "metrics": {}} | NOW_TOLD, "0%")), id="says something first: written"),
    pytest.param(
        Case(
            status(**told(40)),
            says(62.9, 90, r2=0.5),
            ({"percentage": 62.9, "estimatedRemainingSeconds": 90.0, "metrics": {"r2": 0.5}} | NOW_TOLD, "62%, 1m30s left"),
        ),
        id="says more: written, never rounded up",
    ),
    pytest.param(
        Case(status(), says(100, 0), ({"percentage": 100.0, "estimatedRemainingSeconds": 0.0, "metrics": {}} | NOW_TOLD, "100%")),
        id="done: nothing is left",
    ),
    pytest.param(
        Case(status(**told(40, remaining=90)), says(40), ({"percentage": 40.0, "metrics": {}} | NOW_TOLD, "40%")),
        id="no longer says how long: no longer told",
    ),
    pytest.param(Case(status(**told(40, r2=0.5)), says(40, r2=0.5)), id="says the same: no write"),
    pytest.param(Case(status(**told(40)), says(40, r2=None)), id="a metric that is not defined: left out, and no write either"),
    pytest.param(Case(status(**told(40)), None), id="cannot be read any more: what was told stays"),
    pytest.param(Case(status(**told(40)), says(5), ({"percentage": 5.0, "metrics": {}} | NOW_TOLD, "5%")), id="began anew: told"),
]


@pytest.mark.parametrize("case", WRITES)
def test_what_the_log_says_is_written_when_it_is_news(case: Case) -> None:
    decision = decide(replace(run(status=case.status, job=RUNS), log=LogRead(case.said, at("12:05:30"))), at("12:05"))
    written = [each.status for each in decision.actions if isinstance(each, WriteStatus)]
    assert [(each.get("progress"), each["summary"].get("result")) for each in written] == ([case.written] if case.written else [])
    assert len(decision.actions) == len(written)
    assert decision.events == (), "nobody wants an event of it every half minute"
    assert decision.wake_at == at("12:05:30")


ENDS = [
    pytest.param(job_ended(), id="ended: the result tells everything"),
    pytest.param(job_failed(), id="failed"),
    pytest.param(job_state(suspended=True), id="back in a queue: it begins anew"),
]


@pytest.mark.parametrize("job", ENDS)
def test_progress_is_of_a_run_that_runs(job: JobState) -> None:
    [write] = decide(run(status=status(**told(40)), job=job), at("12:05")).actions
    assert isinstance(write, WriteStatus)
    assert "progress" not in write.status
    assert (write.status.get("summary") or {}).get("result") != "40%"


def test_without_a_log_nothing_is_written_and_nobody_woken() -> None:
    decision = decide(run(status=status(**told(40)), job=RUNS), at("12:05"))
    assert (decision.actions, decision.wake_at) == ((), None)
