"""At most one run of a schedule and window, or of a guard key, has an unfinished Job: on both clusters."""

import itertools
from pathlib import Path

import pytest

from retrain_operator.cluster.protocol import JOBS, LEASES, RUNS, SCHEDULES, Body
from tests.behaviour.real_world import RealWorld
from tests.behaviour.world import TRAINED, World, condition, is_finished, overdue, phase, run, schedule, trainer

GUARD_KEY = "retrain.dev/guard-key"


def held(gate: Path, *, of: str | None = None, **spec: object) -> Body:
    """Spec of a run that trains when the gate is there; `of` a schedule."""
    return trainer(f"while [ ! -e {gate} ]; do sleep 0.05; done; " + TRAINED, **({"schedule": of} if of else {}), **spec)


def labelled(name: str, key: str, spec: Body) -> Body:
    made = run(name, spec)
    made["metadata"]["labels"] = {GUARD_KEY: key}
    return made


async def jobs(world: World) -> list[str]:
    return sorted(job["metadata"]["name"] for job in await world.list(JOBS))


async def running(world: World, name: str) -> Body:
    return await world.wait_for(RUNS, name, lambda body: phase(body) == "Running")


@pytest.mark.parametrize(
    "kind", [pytest.param("schedule", id="of one schedule and window"), pytest.param("label", id="with one guard-key label")]
)
async def test_of_two_at_once_one_runs_and_the_other_names_it(world: World, tmp_path: Path, kind: str) -> None:
    gate = tmp_path / "open"
    for name in ("left", "right"):
        if kind == "schedule":
            await world.create(RUNS, run(name, held(gate, of="churn", window="2025-26")))
        else:
            await world.create(RUNS, labelled(name, "churn", held(gate)))
    async with world.operator():
        skipped = await world.wait_for_any(RUNS, is_finished)
        [other] = {"left", "right"} - {skipped["metadata"]["name"]}
        await running(world, other)
        assert await jobs(world) == [other]
        gate.touch()
        done = await world.wait_for(RUNS, other, is_finished)
    key = "churn/2025-26" if kind == "schedule" else "churn"
    assert (phase(skipped), phase(done)) == ("Skipped", "Completed")
    assert condition(skipped, "Ready")["reason"] == "DuplicateGuard"
    assert skipped["status"]["duplicateGuard"] == {"key": key, "triggered": True, "heldBy": other}
    assert await jobs(world) == [other]


async def test_another_window_is_another_guard_and_without_a_key_there_is_none(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    specs = {
        "spring": held(gate, of="churn", window="spring"),
        "autumn": held(gate, of="churn", window="autumn"),
        "free-1": held(gate),
        "free-2": held(gate),
    }
    for name, spec in specs.items():
        await world.create(RUNS, run(name, spec))
    async with world.operator():
        for name in specs:
            await running(world, name)
        gate.touch()
        for name in specs:
            assert phase(await world.wait_for(RUNS, name, is_finished)) == "Completed"
    leases = [each for each in await world.list(LEASES) if each["metadata"]["name"].startswith("retrain-guard-")]
    assert sorted(each["metadata"]["annotations"]["retrain.dev/holder"] for each in leases) == ["autumn", "spring"]


async def test_the_guard_passes_on_when_its_holder_has_finished_or_is_gone(world: World, tmp_path: Path) -> None:
    async with world.operator():
        await world.create(RUNS, run("first", trainer(TRAINED, schedule="churn")))
        await world.wait_for(RUNS, "first", is_finished)
        await world.create(RUNS, run("second", trainer("sleep 600", schedule="churn")))
        await running(world, "second")
        await world.delete(RUNS, "second")
        await world.create(RUNS, run("third", trainer(TRAINED, schedule="churn")))
        done = await world.wait_for(RUNS, "third", is_finished)
    assert phase(done) == "Completed"


async def test_a_guard_that_a_person_deleted_still_holds_while_its_run_goes_on(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    await world.create(RUNS, run("first", held(gate, of="churn")))
    async with world.operator():
        await running(world, "first")
        [lease] = [each["metadata"]["name"] for each in await world.list(LEASES) if each["metadata"]["name"].startswith("retrain-guard-")]
        await world.delete(LEASES, lease)
        await world.create(RUNS, run("second", trainer(TRAINED, schedule="churn")))
        skipped = await world.wait_for(RUNS, "second", is_finished)
        assert await jobs(world) == ["first"]
        gate.touch()
        await world.wait_for(RUNS, "first", is_finished)
    assert skipped["status"]["duplicateGuard"] == {"key": "churn", "triggered": True, "heldBy": "first"}


async def test_a_job_whose_labels_a_person_took_away_still_holds_the_guard_and_ends_its_run(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    await world.create(RUNS, run("first", held(gate, of="churn")))
    async with world.operator():
        await running(world, "first")
        await world.patch(JOBS, "first", {"metadata": {"labels": None}})  # its watch is by label: to it the Job is gone
        await world.create(RUNS, run("second", trainer(TRAINED, schedule="churn")))
        skipped = await world.wait_for(RUNS, "second", is_finished)
        assert await jobs(world) == ["first"]
        gate.touch()
        done = await world.wait_for(RUNS, "first", is_finished)
    assert (phase(skipped), skipped["status"]["duplicateGuard"]["heldBy"], phase(done)) == ("Skipped", "first", "Completed")


async def test_a_tick_and_a_person_share_the_guard(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    await world.create(SCHEDULES, schedule("churn", held(gate), window="2025-26"))
    await overdue(world, "churn")
    async with world.operator():
        told = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"].get("active"))
        name = told["status"]["active"][0]["name"]
        await running(world, name)
        await world.create(RUNS, run("by-hand", trainer(TRAINED, schedule="churn", window="2025-26")))
        skipped = await world.wait_for(RUNS, "by-hand", is_finished)
        gate.touch()
        done = await world.wait_for(RUNS, name, is_finished)
    assert (phase(skipped), skipped["status"]["duplicateGuard"]["heldBy"], phase(done)) == ("Skipped", name, "Completed")
    assert done["metadata"]["labels"]["retrain.dev/guard"]


async def test_a_copy_of_a_retry_does_not_pass_for_the_holder(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    first = await world.create(RUNS, run("first", held(gate, of="churn")))
    root = {"name": "first", "uid": first["metadata"]["uid"]}
    await world.create(RUNS, run("copy", trainer(TRAINED, schedule="churn", root=root, attempt=2, trigger="Retry")))
    async with world.operator():
        await running(world, "first")
        refused = await world.wait_for(RUNS, "copy", is_finished)
        gate.touch()
        await world.wait_for(RUNS, "first", is_finished)
    assert (phase(refused), refused["status"]["error"]["reason"]) == ("Failed", "InvalidSpec")
    assert "leave out root" in refused["status"]["error"]["message"]
    assert await jobs(world) == ["first"]


@pytest.mark.cluster
async def test_two_operators_without_election_never_double(real_world: RealWorld) -> None:
    names = [f"run-{number}" for number in range(10)]
    async with real_world.operator(), real_world.operator():
        for first, second in zip(names[::2], names[1::2], strict=True):
            for name in (first, second):
                await real_world.create(RUNS, run(name, trainer("sleep 0.3; " + TRAINED, schedule="churn")))
            ends = [phase(await real_world.wait_for(RUNS, name, is_finished)) for name in (first, second)]
            assert sorted(ends) in (["Completed", "Skipped"], ["Completed", "Completed"]), ends
    made = await real_world.list(JOBS)
    begun = sorted((job["status"]["startTime"], job["status"]["completionTime"], job["metadata"]["name"]) for job in made)
    completed = [each["metadata"]["name"] for each in await real_world.list(RUNS) if phase(each) == "Completed"]
    assert sorted(name for *_, name in begun) == sorted(completed), "a Job for each that trained, and for no other"
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(begun)), "one after the other"
