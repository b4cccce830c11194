"""The oracle's rules, each on a history that breaks it and on one that does not. No cluster needed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.faults.endstate import differences, end_state
from tests.faults.generator import ticks
from tests.faults.history import Body
from tests.faults.stories import TICK, Story
from tests.faults.writes import WriteNumbers

RETRY = {"schedule": "churn", "trigger": "Retry", "scheduledTime": "2026-03-02T12:00:00Z", "attempt": 2}


def good() -> Story:
    story = Story()
    run = story.run()
    story.finish(run, story.job(run))
    return story


def skipped(action: str = "Skip") -> Story:
    story = Story()
    decision = {"action": action, "reason": "Superseded", "scheduledTime": "2026-03-02T12:00:00Z"}
    story.put("retrainschedules", "churn", status={"observedGeneration": 1, "lastDecision": decision, "recentDecisions": [decision]})
    return story


def waiting_since(first: str) -> Story:
    """Under missedRunPolicy All several ticks wait for their turn."""
    story = Story(schedule="0 * * * *", missedRunPolicy="All")
    decision = {"action": "Wait", "reason": "CatchingUp", "firstScheduledTime": first, "scheduledTime": "2026-03-02T12:00:00Z"}
    story.put("retrainschedules", "churn", status={"observedGeneration": 1, "lastDecision": decision})
    return story


def tick_made_twice() -> Story:
    story = good()
    second = story.run("churn-1-again")
    story.finish(second, story.job(second))
    return story


def drift_made_two() -> Story:
    story = good()
    for name in ("churn-d1772452800", "churn-d1772453100"):
        run = story.run(name, spec={"schedule": "churn", "trigger": "Drift"})
        story.finish(run, story.job(run))
    return story


def run_remade_under_its_name() -> Story:
    story = good()
    story.put("retrainjobs", "churn-1", deleted=True)
    story.put("jobs", "churn-1", deleted=True)
    again = story.run(uid="another")
    story.finish(again, story.job(again, uid="another-job"))
    return story


def retried() -> Story:
    story = good()
    second = story.run("churn-1-r1", spec=RETRY)
    story.finish(second, story.job(second))
    return story


def two_jobs_of_a_run() -> Story:
    story = Story()
    run = story.run()
    story.put("jobs", "churn-1", "first", run, deleted=True)
    story.finish(run, story.job(run, uid="second"))
    return story


def two_jobs_of_a_deleted_run(*, finished: bool) -> Story:
    story = Story()
    run = story.run()
    job = story.job(run)
    if finished:
        story.finish(run, job)
    story.put("jobs", "churn-1", deleted=True)
    story.put("retrainjobs", "churn-1", deleted=True)
    story.job(run, uid="second")
    story.put("jobs", "churn-1", "second", deleted=True)
    return story


def finished_and_running_again() -> Story:
    story = good()
    story.put("retrainjobs", "churn-1", status={"phase": "Running", "jobName": "churn-1"})
    story.put("retrainjobs", "churn-1", status={"phase": "Completed", "jobName": "churn-1", "completionTime": "2026-03-02T12:00:00Z"})
    return story


def two_at_once(**spec: str) -> Story:
    story = Story(**spec)
    first, second = story.run(), story.run("by-hand", spec={"schedule": "churn", "trigger": "Manual"})
    jobs = [story.job(first), story.job(second)]
    story.finish(first, jobs[0])
    story.finish(second, jobs[1])
    return story


def two_of_a_guard() -> Story:
    story = Story(concurrencyPolicy="Allow")
    first, second = story.run(), story.run("by-hand", spec={"schedule": "churn", "trigger": "Manual"})
    jobs = [story.put("jobs", each["metadata"]["name"], "", each) for each in (first, second)]
    for run, job in zip((first, second), jobs, strict=True):
        job["metadata"]["labels"] = {"retrain.dev/guard": "g"}
        story.finish(run, job)
    return story


def followed_before_its_pod_was_gone(policy: str) -> Story:
    story = Story(concurrencyPolicy=policy)
    first = story.run()
    job = story.job(first)
    story.put("pods", "churn-1", "pod-1", job, status={"phase": "Running"})
    story.put("jobs", "churn-1", deleted=True)
    second = story.run("by-hand", spec={"schedule": "churn", "trigger": "Manual"})
    story.finish(second, story.job(second))
    ended = {"phase": "Failed", "jobName": "churn-1", "completionTime": "2026-03-02T12:00:00Z"}
    story.put("retrainjobs", "churn-1", status=ended)
    times = {"lastSuccessfulTime": "2026-03-02T12:00:00Z", "lastFailureTime": "2026-03-02T12:00:00Z"}
    story.put("retrainschedules", "churn", status={"observedGeneration": 1, **times})
    return story


def failed(failures: int) -> Story:
    """An attempt that another one follows, and that other one: both fail."""
    story = Story()
    end = {"containerStatuses": [{"state": {"terminated": {"exitCode": 1, "message": ""}}}]}
    for run, following in ((story.run(), {"nextAttempt": {"job": "churn-1-r1", "made": True}}), (story.run("churn-1-r1", spec=RETRY), {})):
        name = run["metadata"]["name"]
        job = story.job(run)
        story.put("pods", name, f"pod-{name}", job, status=end)
        story.put("jobs", name, status={"conditions": [{"type": "Failed", "status": "True"}]})
        ended = {"phase": "Failed", "jobName": name, "completionTime": "2026-03-02T12:00:00Z", **following}
        story.put("retrainjobs", name, status=ended)
    times = {"lastFailureTime": "2026-03-02T12:00:00Z"}
    story.put("retrainschedules", "churn", status={"observedGeneration": 1, "consecutiveFailures": failures, **times})
    return story


def started_under_suspend(pause: int, trigger: str = "Schedule") -> Story:
    story = Story()
    story.schedule = story.put("retrainschedules", "churn", spec={"schedule": "0 12 * * *", "suspend": True})
    for _ in range(pause):
        story.put("pods", "other")
    run = story.run(spec={"schedule": "churn", "trigger": trigger, "scheduledTime": "2026-03-02T12:00:00Z"})
    story.finish(run, story.job(run))
    return story


def started_after_deletion() -> Story:
    story = Story()
    story.put("retrainschedules", "churn", deleted=True)
    story.put("pods", "other")
    story.run(deleted=True)
    return story


def tick_of_nothing() -> Story:
    story = good()
    other = story.run("churn-2", tick="2026-03-02T12:01:00Z")
    story.finish(other, story.job(other))
    return story


def run_and_skipped() -> Story:
    story = good()
    decision = {"action": "Skip", "reason": "Superseded", "scheduledTime": "2026-03-02T12:00:00Z"}
    status = {"observedGeneration": 1, "lastSuccessfulTime": "2026-03-02T12:00:00Z", "recentDecisions": [decision]}
    story.put("retrainschedules", "churn", status=status)
    return story


def status_behind_its_job() -> Story:
    story = good()
    story.history.lives["retrainjobs-churn-1"].versions.pop()
    return story


def orphan() -> Story:
    story = good()
    story.put("retrainjobs", "churn-1", deleted=True)
    return story


def two_models() -> tuple[Story, Body, Body]:
    """The first is live, then the second."""
    story = good()
    first, second = story.model("first", "a"), story.model("second", "b")
    story.swap(first)
    story.swap(second)
    return story, first, second


def newest_model_live() -> Story:
    return two_models()[0]


def older_model_live() -> Story:
    story, first, _ = two_models()
    story.swap(first)
    return story


def rolled_back(times: int) -> Story:
    story, first, second = two_models()
    story.ask_for_rollback("t")
    for _ in range(times - 1):
        story.swap(first)
        story.swap(second)
    story.swap(first)
    return story


def model_of_another_run(**other: str) -> Story:
    story, _, second = two_models()
    story.swap(second, **other)
    return story


def half_a_run_live() -> Story:
    story = good()
    run = story.model("first", "a")
    story.history.lives[run["metadata"]["uid"]].last["status"]["phase"] = "Running"
    story.swap(run)
    return story


def better_model_forgotten() -> Story:
    story = good()
    story.swap(story.model("first", "a"))
    story.model("second", "b")
    return story


def worse_model_live() -> Story:
    story = good()
    story.swap(story.model("first", "a", deploy={"slot": "live", "gates": [{"metric": "auc", "min": 0.95}]}))
    return story


def rollout_given_up(*, after: int = 10, ready: bool = False, asked: bool = True, times: int = 1) -> Story:
    """A second model whose pods never come is taken back, and its run says so."""
    story, targets = good(), [{"kind": "Deployment", "name": "api"}]
    deploy = {"slot": "live", "targets": targets, "rolloutTimeoutSeconds": 10, "autoRollback": asked}
    first, second = story.model("first", "a", deploy=deploy), story.model("second", "b", deploy=deploy, deployed="False")
    story.swap(first)
    story.target("a")
    for _ in range(times):
        story.swap(second)
        story.target("b", ready=ready)
        story.passes(after)
        story.swap(first)
        story.target("a")
    return story


def rollout_not_given_up() -> Story:
    story = rollout_given_up()
    second = story.history.lives["retrainjobs-second"].last
    story.swap(second)
    story.target("b", ready=False)
    return story


FORGOTTEN, BACK, HALF = "the newest good model is live", "a slot never goes back by itself", "a slot holds one whole model"


@pytest.mark.parametrize(
    ("tell", "broken"),
    [
        pytest.param(newest_model_live, set(), id="the newest model is live"),
        pytest.param(older_model_live, {BACK, FORGOTTEN}, id="an older model takes the slot"),
        pytest.param(lambda: rolled_back(1), set(), id="rolled back by request"),
        pytest.param(lambda: rolled_back(2), {BACK}, id="rolled back twice by one request"),
        pytest.param(rollout_given_up, set(), id="a rollout that hangs is given up when its time is over"),
        pytest.param(lambda: rollout_given_up(after=2), {BACK}, id="given up before its time"),
        pytest.param(lambda: rollout_given_up(ready=True), {BACK, FORGOTTEN}, id="given up although the targets serve it"),
        pytest.param(lambda: rollout_given_up(asked=False), {BACK, FORGOTTEN}, id="given up although nobody asks for that"),
        pytest.param(lambda: rollout_given_up(times=2), {BACK}, id="given up twice"),
        pytest.param(rollout_not_given_up, {BACK, FORGOTTEN}, id="given up, and live again"),
        pytest.param(lambda: model_of_another_run(sha256="a"), {HALF}, id="half of one record, half of another"),
        pytest.param(half_a_run_live, {HALF}, id="live before its run was Completed"),
        pytest.param(better_model_forgotten, {FORGOTTEN}, id="a newer model that never went live"),
        pytest.param(worse_model_live, {FORGOTTEN}, id="a model live against its gates"),
    ],
)
def test_the_rules_of_slots(tell: Callable[[], Story], broken: set[str]) -> None:
    assert tell().broken() & {FORGOTTEN, BACK, HALF} == broken


@pytest.mark.parametrize(
    ("phase", "is_broken"),
    [pytest.param("Failed", False, id="as the rule says"), pytest.param("Completed", True, id="as if it had not been told")],
)
def test_a_run_that_was_told_to_stop_has_failed_although_its_job_was_quicker(phase: str, is_broken: bool) -> None:
    story = Story(concurrencyPolicy="Replace")
    run = story.run()
    job = story.job(run)
    story.put("retrainjobs", "churn-1", status={"phase": "Running", "jobName": "churn-1", "stopping": {"reason": "Replaced"}})
    story.finish(run, job)
    error = {"error": {"reason": "Replaced"}} if phase == "Failed" else {}
    story.put("retrainjobs", "churn-1", status={"phase": phase, "jobName": "churn-1", "completionTime": TICK, **error})
    times = {"lastSuccessfulTime": TICK} if phase == "Completed" else {}
    story.put("retrainschedules", "churn", status={"observedGeneration": 1, **times})
    assert ("status tells the truth" in story.broken()) == is_broken


@pytest.mark.parametrize(
    ("tell", "broken"),
    [
        pytest.param(good, set(), id="all is well"),
        pytest.param(skipped, set(), id="a recorded skip is a fate"),
        pytest.param(lambda: skipped("Wait"), set(), id="a tick that waits is not lost"),
        pytest.param(lambda: waiting_since("2026-03-01T13:00:00Z"), set(), id="ticks that wait for their turn are not lost"),
        pytest.param(lambda: waiting_since("2026-03-02T11:00:00Z"), {"every tick has one fate"}, id="those before them are"),
        pytest.param(retried, set(), id="another attempt of a tick"),
        pytest.param(Story, {"every tick has one fate"}, id="a tick of which nothing came"),
        pytest.param(tick_of_nothing, {"every tick has one fate"}, id="a run at an instant that is no tick"),
        pytest.param(run_and_skipped, {"every tick has one fate"}, id="a tick that ran and is told as skipped"),
        pytest.param(drift_made_two, {"one run by drift"}, id="two runs by drift"),
        pytest.param(tick_made_twice, {"one run per tick"}, id="a tick made twice"),
        pytest.param(run_remade_under_its_name, {"one run per tick"}, id="a tick made again after its run was deleted"),
        pytest.param(two_jobs_of_a_run, {"one job per run"}, id="a run started twice"),
        pytest.param(lambda: two_jobs_of_a_deleted_run(finished=True), {"one job per run"}, id="again after it finished and was deleted"),
        pytest.param(lambda: two_jobs_of_a_deleted_run(finished=False), set(), id="its Job was on its way when somebody deleted the run"),
        pytest.param(finished_and_running_again, {"a finished run is final"}, id="a finished run that runs again"),
        pytest.param(two_at_once, {"runs do not overlap"}, id="Forbid: two at once"),
        pytest.param(lambda: two_at_once(concurrencyPolicy="Allow"), set(), id="Allow: two at once"),
        pytest.param(two_of_a_guard, {"runs do not overlap"}, id="a guard held twice"),
        pytest.param(lambda: followed_before_its_pod_was_gone("Replace"), {"runs do not overlap"}, id="Replace: the old pod still runs"),
        pytest.param(lambda: followed_before_its_pod_was_gone("Forbid"), {"runs do not overlap"}, id="Forbid: the old pod still runs"),
        pytest.param(lambda: followed_before_its_pod_was_gone("Allow"), set(), id="Allow: the old pod still runs"),
        pytest.param(lambda: started_under_suspend(2), {"nothing starts against the users will"}, id="started while suspended"),
        pytest.param(lambda: started_under_suspend(0), set(), id="started before the operator could know"),
        pytest.param(lambda: started_under_suspend(2, "Retry"), set(), id="a retry under suspend"),
        pytest.param(started_after_deletion, {"nothing starts against the users will"}, id="started after its schedule was deleted"),
        pytest.param(status_behind_its_job, {"status tells the truth"}, id="a status that is behind"),
        pytest.param(orphan, {"nothing is left without its owner"}, id="a Job without its run"),
    ],
)
def test_the_rules(tell: Callable[[], Story], broken: set[str]) -> None:
    assert tell().broken() - {"status tells the truth"} == broken - {"status tells the truth"}
    assert ("status tells the truth" in broken) <= ("status tells the truth" in tell().broken())


@pytest.mark.parametrize(
    ("failures", "is_broken"),
    [pytest.param(1, False, id="a run and its retries count once"), pytest.param(2, True, id="counted twice")],
)
def test_failures_in_a_row(failures: int, is_broken: bool) -> None:
    assert failed(failures).broken() == ({"status tells the truth"} if is_broken else set())


def test_the_end_is_compared_without_times_and_uids() -> None:
    reference = end_state(good().history)
    assert differences(reference, good().history) == []
    found = differences(reference, skipped().history)
    assert found
    assert "churn-1" in found[0]
    assert "the end is as without faults" in skipped().broken(reference=reference)


def test_expected_ticks_come_from_croniter_alone() -> None:
    after, until = datetime(2026, 3, 27, 12, tzinfo=UTC), datetime(2026, 3, 30, 12, tzinfo=UTC)
    found = [tick.isoformat() for tick in ticks("30 9 * * *", "Europe/London", after, until)]
    assert found == ["2026-03-28T09:30:00+00:00", "2026-03-29T08:30:00+00:00", "2026-03-30T08:30:00+00:00"]


@pytest.mark.parametrize(
    ("method", "path", "body", "role"),
    [
        pytest.param("POST", "/apis/retrain.dev/v1alpha1/namespaces/ml/retrainjobs", {"spec": {"trigger": "Schedule"}}, "run create"),
        pytest.param("POST", "/apis/retrain.dev/v1alpha1/namespaces/ml/retrainjobs", {"spec": {"trigger": "Retry"}}, "run create Retry"),
        pytest.param("POST", "/apis/batch/v1/namespaces/ml/jobs", {}, "job create"),
        pytest.param("DELETE", "/apis/batch/v1/namespaces/ml/jobs/a", {}, "job delete"),
        pytest.param("PUT", "/apis/coordination.k8s.io/v1/namespaces/ml/leases/a", {}, "guard update"),
        pytest.param("PUT", "/apis/coordination.k8s.io/v1/namespaces/retrain-system/leases/a", {}, "election update"),
        pytest.param("POST", "/apis/events.k8s.io/v1/namespaces/ml/events", {"reason": "RunCreated"}, "event RunCreated"),
    ],
)
def test_a_write_is_named_by_what_it_is_for(method: str, path: str, body: Body, role: str) -> None:
    numbers = WriteNumbers()
    written = [numbers.next(method, path, json.dumps(body).encode()) for _ in range(2)]
    assert [(each.role, each.n) for each in written] == [(role, 1), (role, 2)]


@pytest.mark.parametrize(
    ("status", "role"),
    [
        pytest.param({"phase": "Running"}, "run status Running", id="phase"),
        pytest.param({}, "run status", id="something else"),
    ],
)
def test_a_status_is_named_by_what_it_tells(status: Body, role: str) -> None:
    path = "/apis/retrain.dev/v1alpha1/namespaces/ml/retrainjobs/a/status"
    assert WriteNumbers().next("PATCH", path, json.dumps({"status": status}).encode()).role == role
