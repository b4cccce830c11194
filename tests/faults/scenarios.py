"""What happens in a trial. Each is a function of a few steps that says no more than what a person does and when.

The end it must come to is that of a run of the same scenario without faults. To add one, write its function with `@scenario`.
"""

from collections.abc import Awaitable, Callable

from tests.faults.history import History
from tests.faults.stage import REFUSED, TRAINED, Stage, pod

Scenario = Callable[[Stage], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}

SHORT = pod("fake/succeed:300ms", TRAINED)
LONG = pod("fake/succeed:3s", TRAINED)


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
    await stage.run_by_hand("by-hand", LONG)
    stage.start()
    await stage.until(waits)


@scenario
async def suspend_while_a_tick_waits(stage: Stage) -> None:
    await stage.schedule(SHORT)
    await stage.run_by_hand("by-hand", LONG)
    stage.start()
    await stage.until(waits)
    await stage.edit_schedule({"spec": {"suspend": True}})


@scenario
async def delete_while_a_tick_waits(stage: Stage) -> None:
    await stage.schedule(SHORT)
    await stage.run_by_hand("by-hand", LONG)
    stage.start()
    await stage.until(waits)
    await stage.delete_schedule()
    await stage.until(lambda history: any(job.status.get("conditions") for job in history.of("jobs")))


@scenario
async def run_deleted_during_a_run(stage: Stage) -> None:
    await stage.schedule(LONG)
    stage.start()
    await stage.until_a_pod_runs()
    await stage.until(lambda history: decided(history, "Run"))  # a run that goes before it is accounted for is made again
    await stage.delete_run()


@scenario
async def delete_during_a_run(stage: Stage) -> None:
    await stage.schedule(LONG)
    stage.start()
    await stage.until_a_pod_runs()
    await stage.delete_schedule()


@scenario
async def job_deleted_during_a_run(stage: Stage) -> None:
    await stage.schedule(LONG)
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
    await stage.run_by_hand("first", LONG)
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
    await stage.schedule(LONG, concurrencyPolicy="Replace")
    stage.start()
    await stage.until_a_pod_runs()
    await stage.request("another, please")


@scenario
async def drift_run(stage: Stage) -> None:
    """One evaluation: the next is far away."""
    await stage.config_map("drift", psi="0.31")
    signal = {"name": "psi", "configMap": {"name": "drift", "key": "psi"}, "above": 0.2}
    await stage.schedule(SHORT, due=0, policy={"mode": "Execute", "intervalSeconds": stage.long_interval_s(), "signals": [signal]})
    stage.start()
    await stage.until(lambda history: any(each.status.get("lastEvaluation") for each in history.of("retrainschedules")))


def waits(history: History) -> bool:
    """A tick was told to wait, whatever became of it since."""
    return decided(history, "Wait")


def decided(history: History, action: str) -> bool:
    """A status has told of it."""
    versions = [version.body for schedule in history.of("retrainschedules") for version in schedule.versions]
    return any((body.get("status") or {}).get("lastDecision", {}).get("action") == action for body in versions)
