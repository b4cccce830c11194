"""Runs as a user sees them, on both clusters."""

import hashlib
import json
from pathlib import Path
from urllib.parse import urlparse

from retrain_operator.cluster.protocol import EVENTS, JOBS, RUNS, SCHEDULES, Body
from tests.behaviour.world import SIMULATED, TRAINED, World, condition, is_finished, overdue, phase, run, schedule, trainer


def breast_cancer(models: Path, **spec: object) -> Body:
    """Spec of a run of the default trainer on data that comes with scikit-learn."""
    return {
        "trainer": {
            "image": "retrain-trainer",
            "volumes": [{"name": "models", "hostPath": {"path": str(models)}}],
            "volumeMounts": [{"name": "models", "mountPath": "/models"}],
        },
        "data": {"uri": "sklearn:breast_cancer"},
        "output": {"uri": "file:///models"},
        "config": {"task": "tabular", "target": "target", "estimator": "sklearn.linear_model.LogisticRegression",
                   "params": {"max_iter": 5000}},
        **spec,
    }  # fmt: skip


async def test_a_real_model_is_trained_and_its_sha256_is_the_files(world: World, tmp_path: Path) -> None:
    await world.create(RUNS, run("once", breast_cancer(tmp_path)))
    async with world.operator():
        done = await world.wait_for(RUNS, "once", is_finished, deadline_s=120)
    assert phase(done) == "Completed", done["status"]
    result = done["status"]["result"]
    assert result["metrics"]["accuracy"] > 0.9
    assert result["data"]["rows"] == 569
    artifact = Path(urlparse(result["artifact"]["uri"]).path)
    assert hashlib.sha256(artifact.read_bytes()).hexdigest() == result["artifact"]["sha256"]
    assert artifact.is_relative_to(tmp_path / "runs")
    assert (artifact.parent / "manifest.json").exists()
    assert condition(done, "Ready")["status"] == "True"
    assert done["status"]["summary"]["model"] == result["artifact"]["sha256"][:12]


async def test_simulate_reaches_the_data_and_trains_nothing(world: World, tmp_path: Path) -> None:
    await world.create(RUNS, run("dry", breast_cancer(tmp_path, mode="Simulate")))
    async with world.operator():
        done = await world.wait_for(RUNS, "dry", is_finished, deadline_s=120)
    assert phase(done) == "Completed", done["status"]
    assert done["status"]["result"]["outcome"] == "simulated"
    assert done["status"]["result"]["data"]["version"]
    assert "artifact" not in done["status"]["result"]
    assert list(tmp_path.rglob("*.skops")) == []


async def test_a_failing_trainer_fails_the_run_with_its_own_reason(world: World) -> None:
    script = """answer failed ',"error":{"reason":"TooLittleData","message":"3 rows, 50 needed","retryable":false}'; exit 4"""
    await world.create(RUNS, run("poor", trainer(script)))
    async with world.operator():
        done = await world.wait_for(RUNS, "poor", is_finished)
    assert phase(done) == "Failed"
    assert done["status"]["error"] == {"reason": "TooLittleData", "message": "3 rows, 50 needed", "exitCode": 4, "retryable": False}
    assert done["status"]["summary"]["result"] == "TooLittleData"
    assert condition(done, "Ready")["status"] == "False"
    assert condition(done, "Stalled")["status"] == "True"


async def test_exit_0_without_a_result_is_a_contract_violation(world: World) -> None:
    await world.create(RUNS, run("silent", trainer("exit 0")))
    async with world.operator():
        done = await world.wait_for(RUNS, "silent", is_finished)
    assert phase(done) == "Failed"
    assert done["status"]["error"]["reason"] == "ContractViolation"
    assert "RETRAIN_RESULT_PATH" in done["status"]["error"]["message"]


async def test_a_trained_outcome_in_simulate_mode_is_a_contract_violation(world: World) -> None:
    await world.create(RUNS, run("liar", trainer(TRAINED, mode="Simulate")))
    async with world.operator():
        done = await world.wait_for(RUNS, "liar", is_finished)
    assert done["status"]["error"]["reason"] == "ContractViolation"


async def test_a_crash_without_an_answer_is_read_from_the_exit_code(world: World) -> None:
    await world.create(RUNS, run("crash", trainer("exit 3")))
    async with world.operator():
        done = await world.wait_for(RUNS, "crash", is_finished)
    assert done["status"]["error"]["reason"] == "DataUnreadable"
    assert done["status"]["error"]["exitCode"] == 3


async def test_a_command_that_the_image_does_not_have_is_told(world: World) -> None:
    spec = {"trainer": {"image": "sh", "command": ["retrian-trainer"]}, "retry": {"limit": 0}}
    await world.create(RUNS, run("typo", spec))
    async with world.operator():
        done = await world.wait_for(RUNS, "typo", is_finished)
    assert done["status"]["error"]["reason"] == "StartError"
    assert "retrian-trainer" in done["status"]["error"]["message"]


async def test_a_run_longer_than_its_deadline_is_ended(world: World) -> None:
    await world.create(RUNS, run("slow", trainer("sleep 600", activeDeadlineSeconds=1)))
    async with world.operator():
        done = await world.wait_for(RUNS, "slow", is_finished)
    assert done["status"]["error"]["reason"] == "DeadlineExceeded"


async def test_an_operator_killed_in_the_middle_finishes_the_run_without_a_second_one(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    await world.create(SCHEDULES, schedule("churn", trainer(f"while [ ! -e {gate} ]; do sleep 0.05; done; " + TRAINED)))
    await world.create(SCHEDULES, schedule("settled", trainer(TRAINED)))
    await overdue(world, "churn")
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("active"))
        name = told["status"]["active"][0]["name"]
        running = await world.wait_for(RUNS, name, lambda body: phase(body) == "Running")
        settled = await world.wait_for(SCHEDULES, "settled", lambda body: condition(body, "Ready").get("status") == "True")
    gate.touch()
    ended = await world.wait_for(JOBS, name, lambda body: any(each["type"] == "Complete" for each in body["status"].get("conditions", [])))
    async with world.operator():
        done = await world.wait_for(RUNS, name, is_finished)
        finished = await world.wait_for(SCHEDULES, "churn", lambda body: "lastSuccessfulTime" in body["status"])
    assert done["metadata"]["uid"] == running["metadata"]["uid"]
    assert phase(done) == "Completed"
    assert [each["metadata"]["name"] for each in await world.list(RUNS)].count(name) == 1
    job = await world.get(JOBS, name)
    assert job is not None
    assert job["metadata"]["uid"] == ended["metadata"]["uid"]
    assert finished["status"]["consecutiveFailures"] == 0
    unwritten = await world.get(SCHEDULES, "settled")
    assert unwritten is not None
    assert unwritten["metadata"]["resourceVersion"] == settled["metadata"]["resourceVersion"]


async def test_a_job_deleted_by_a_person_fails_the_run_and_is_never_made_again(world: World) -> None:
    await world.create(RUNS, run("once", trainer("sleep 600")))
    async with world.operator():
        await world.wait_for(RUNS, "once", lambda body: phase(body) == "Running")
        await world.delete(JOBS, "once")
        done = await world.wait_for(RUNS, "once", is_finished)
    async with world.operator():
        await world.create(RUNS, run("marker", trainer(TRAINED)))
        await world.wait_for(RUNS, "marker", is_finished)
    assert done["status"]["error"]["reason"] == "JobDeleted"
    assert [each["metadata"]["name"] for each in await world.list(JOBS)] == ["marker"]


async def test_a_foreign_job_with_the_runs_name_is_left_alone(world: World) -> None:
    foreign = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "sh", "command": ["sh", "-c", ":"]}]}}
        },
    }
    before = await world.create(JOBS, foreign)
    await world.create(RUNS, run("once", trainer(TRAINED)))
    async with world.operator():
        done = await world.wait_for(RUNS, "once", is_finished)
    assert done["status"]["error"]["reason"] == "NameTaken"
    after = await world.get(JOBS, "once")
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_suspended_run_is_held_until_it_is_released(world: World) -> None:
    await world.create(RUNS, run("held", trainer(SIMULATED, mode="Simulate", suspend=True)))
    async with world.operator():
        held = await world.wait_for(RUNS, "held", lambda body: condition(body, "Ready").get("reason") == "Suspended")
        assert phase(held) == "Pending"
        assert await world.list(JOBS) == []
        await world.patch(RUNS, "held", {"spec": {"suspend": False}})
        done = await world.wait_for(RUNS, "held", is_finished)
    assert phase(done) == "Completed"


async def test_the_story_of_a_run_is_told_by_events(world: World) -> None:
    await world.create(RUNS, run("once", trainer(TRAINED)))
    async with world.operator():
        done = await world.wait_for(RUNS, "once", is_finished)
        uid = done["metadata"]["uid"]
        event = await world.wait_for_any(EVENTS, lambda body: body["regarding"]["uid"] == uid and body["reason"] == "RunCompleted")
    assert event["type"] == "Normal"
    assert "accuracy=0.9" in event["note"]


async def test_a_running_run_shows_its_progress(world: World, tmp_path: Path) -> None:
    half, end = tmp_path / "half", tmp_path / "end"

    def line(percentage: int) -> str:
        told = {"progressPercentage": percentage, "estimatedRemainingSeconds": 90, "metrics": {"loss": 0.5}}
        return f"echo '{json.dumps(told)}'; echo 'a warning' >&2; "

    def until(gate: Path) -> str:
        return f"while [ ! -e {gate} ]; do sleep 0.05; done; "

    await world.create(RUNS, run("slow", trainer(line(10) + until(half) + line(50) + until(end) + TRAINED)))
    async with world.operator():
        await world.wait_for(RUNS, "slow", lambda body: body["status"].get("progress", {}).get("percentage") == 10)
        half.touch()
        running = await world.wait_for(RUNS, "slow", lambda body: body["status"].get("progress", {}).get("percentage") == 50)
        end.touch()
        done = await world.wait_for(RUNS, "slow", is_finished)
    assert phase(running) == "Running"
    assert running["status"]["progress"]["metrics"] == {"loss": 0.5}
    assert running["status"]["progress"]["estimatedRemainingSeconds"] == 90
    assert running["status"]["summary"]["result"] == "50%, 1m30s left"
    assert (phase(done), done["status"].get("progress")) == ("Completed", None)
