"""What happens in a trial. Each is a function of a few steps that says no more than what a person does and when.

The end it must come to is that of a run of the same scenario without faults. To add one, write its function with `@scenario`.
"""

from collections.abc import Awaitable, Callable

from tests.faults.history import History
from tests.faults.stage import REFUSED, TRAINED, Stage, pod, trained

Scenario = Callable[[Stage], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}

SHORT = pod("fake/succeed:300ms", TRAINED)
LONG = pod("fake/succeed:3s", TRAINED)
LASTING = pod("fake/succeed:10s", TRAINED)  # outlasts every single fault: what a person does meanwhile meets a run that still goes on

DEPLOY = {"slot": "production", "gates": [{"metric": "accuracy", "min": 0.8, "minImprovement": 0.01}]}
FIRST = pod("fake/succeed:300ms", trained("a" * 64, 0.85))
BETTER = pod("fake/succeed:300ms", trained("b" * 64, 0.92, data="v2", before=0.85))
SAME_DATA = pod("fake/succeed:300ms", trained("c" * 64, 0.95, data="v2", before=0.85))  # as BETTER, which was rolled back


def scenario(act: Scenario) -> Scenario:
    """Take it into the campaign. Its name is the function's."""
    SCENARIOS[getattr(act, "__name__").replace("_", " ")] = act  # noqa: B009  # mypy does not know the name of a Callable
    return act


@scenario
async def scheduled_run(stage: Stage) -> None:
    await stage.schedule(SHORT, due=3)
    stage.start()


@scenario
async def long_run(stage: Stage) -> None:
    """Goes on for longer than kopf takes to give up and to begin anew."""
    await stage.schedule(pod("fake/succeed:9s", TRAINED))
    stage.start()
    await stage.until_a_pod_runs()
    await stage.edit_schedule({"metadata": {"annotations": {"example.com/note": "an event early on"}}})


@scenario
async def failing_run(stage: Stage) -> None:
    await stage.schedule(pod("fake/exit-4:300ms", REFUSED))
    stage.start()


@scenario
async def pruned_run(stage: Stage) -> None:
    await stage.schedule(SHORT, successfulJobsHistoryLimit=0)
    stage.start()
    await stage.until(lambda history: bool(history.of("retrainjobs")) and not any(history.living("retrainjobs")))


@scenario
async def tick_waits_for_a_run(stage: Stage) -> None:
    await stage.schedule(SHORT)
    await stage.run_by_hand("by-hand", LASTING)
    stage.start()
    await stage.until(waits)


@scenario
async def suspend_while_a_tick_waits(stage: Stage) -> None:
    await stage.schedule(SHORT)
    await stage.run_by_hand("by-hand", LASTING)
    stage.start()
    await stage.until(waits)
    await stage.edit_schedule({"spec": {"suspend": True}})


@scenario
async def delete_while_a_tick_waits(stage: Stage) -> None:
    await stage.schedule(SHORT)
    await stage.run_by_hand("by-hand", LASTING)
    stage.start()
    await stage.until(waits)
    await stage.delete_schedule()
    await stage.until(lambda history: any(job.status.get("conditions") for job in history.of("jobs")))


@scenario
async def run_deleted_during_a_run(stage: Stage) -> None:
    await stage.schedule(LASTING)
    stage.start()
    await stage.until_a_pod_runs()
    await stage.until(lambda history: decided(history, "Run"))  # a run that goes before it is accounted for is made again
    await stage.delete_run()


@scenario
async def delete_during_a_run(stage: Stage) -> None:
    await stage.schedule(LASTING)
    stage.start()
    await stage.until_a_pod_runs()
    await stage.delete_schedule()


@scenario
async def job_deleted_during_a_run(stage: Stage) -> None:
    await stage.schedule(LASTING)
    stage.start()
    await stage.until(lambda history: any(run.status.get("jobName") for run in history.of("retrainjobs")))
    await stage.delete_job()


@scenario
async def job_deleted_at_once(stage: Stage) -> None:
    """Before any watch can have told of it."""
    await stage.schedule(LONG)
    stage.start()
    await stage.until(lambda history: bool(history.of("jobs")))
    await stage.delete_job()


@scenario
async def retried_run(stage: Stage) -> None:
    await stage.schedule(pod("fake/exit-1:300ms"), run={"retry": {"limit": 1, "baseSeconds": 1}})
    stage.start()
    await stage.until(lambda history: len(history.of("jobs")) > 1)


@scenario
async def second_run_by_hand(stage: Stage) -> None:
    await stage.schedule(SHORT, suspend=True)
    await stage.run_by_hand("first", LASTING)
    stage.start()
    await stage.until_a_pod_runs()
    await stage.run_by_hand("second", SHORT)


@scenario
async def request_during_a_run(stage: Stage) -> None:
    await stage.schedule(LONG)
    stage.start()
    await stage.until_a_pod_runs()
    await stage.request("now, please")


@scenario
async def replaced_by_a_request(stage: Stage) -> None:
    """It would go on for longer than any restart takes: how it ends is not to depend on that."""
    await stage.schedule(pod("fake/succeed:15s", TRAINED), concurrencyPolicy="Replace")
    stage.start()
    await stage.until_a_pod_runs()
    await stage.retrain("another, please", SHORT)


@scenario
async def drift_run(stage: Stage) -> None:
    """One evaluation: the next is far away."""
    await stage.config_map("drift", psi="0.31")
    signal = {"name": "psi", "configMap": {"name": "drift", "key": "psi"}, "above": 0.2}
    await stage.schedule(SHORT, due=0, policy={"mode": "Execute", "intervalSeconds": stage.long_interval_s(), "signals": [signal]})
    stage.start()
    await stage.until(lambda history: any(each.status.get("lastEvaluation") for each in history.of("retrainschedules")))


@scenario
async def deploy(stage: Stage) -> None:
    """A first model, a better one, and one that is worse."""
    await stage.deployment("api")
    target = {"kind": "Deployment", "name": "api"}
    await stage.schedule(FIRST, run={"deploy": {**DEPLOY, "targets": [target]}})
    stage.start()
    await stage.until_deployed(1)
    await stage.retrain("better", BETTER)
    await stage.until_deployed(2)
    await stage.retrain("worse", pod("fake/succeed:300ms", trained("c" * 64, 0.9, data="v3", before=0.92)))
    await stage.until_deployed(3)


@scenario
async def rollout_that_hangs(stage: Stage) -> None:
    """The second model's pods never come, so the first one is restored; then comes another model of the data that made the second."""
    await stage.deployment("api", replicas=1)
    target = {"kind": "Deployment", "name": "api"}
    await stage.schedule(FIRST, run={"deploy": {**DEPLOY, "targets": [target], "rolloutTimeoutSeconds": 10, "autoRollback": True}})
    stage.start()
    await stage.until_deployed(1)
    await stage.pause_deployment("api")
    await stage.retrain("better", BETTER)
    await stage.until_deployed(2)
    await stage.pause_deployment("api", paused=False)
    await stage.retrain("same data", SAME_DATA)
    await stage.until_deployed(3)


@scenario
async def late_old_model(stage: Stage) -> None:
    """Training takes so long that a newer run goes live meanwhile."""
    slow = pod("fake/succeed:12s", trained("a" * 64, 0.99))
    await stage.schedule(slow, run={"deploy": {"slot": "production"}}, concurrencyPolicy="Allow")
    stage.start()
    await stage.until_a_pod_runs()
    await stage.retrain("newer", FIRST)
    await stage.until_deployed(2)


@scenario
async def replaced_model(stage: Stage) -> None:
    """A run that was to deploy is replaced by another one."""
    long = pod("fake/succeed:15s", trained("a" * 64, 0.99))
    await stage.schedule(long, run={"deploy": {"slot": "production"}}, concurrencyPolicy="Replace")
    stage.start()
    await stage.until_a_pod_runs()
    await stage.retrain("newer", FIRST)
    await stage.until_deployed(1)


@scenario
async def rollback(stage: Stage) -> None:
    """After two models, and a third one of the data that made the bad one."""
    await stage.schedule(FIRST, run={"deploy": DEPLOY}, suspend=True)
    await stage.run_by_hand("a-first", FIRST, deploy=DEPLOY)
    stage.start()
    await stage.until_deployed(1)
    await stage.run_by_hand("b-second", BETTER, deploy=DEPLOY)
    await stage.until_deployed(2)
    await stage.roll_back("back, please")
    await stage.run_by_hand("c-same-data", SAME_DATA, deploy=DEPLOY)
    await stage.until_deployed(3)


def waits(history: History) -> bool:
    """A tick was told to wait, whatever became of it since."""
    return decided(history, "Wait")


def decided(history: History, action: str) -> bool:
    """A status has told of it."""
    versions = [version.body for schedule in history.of("retrainschedules") for version in schedule.versions]
    return any((body.get("status") or {}).get("lastDecision", {}).get("action") == action for body in versions)
