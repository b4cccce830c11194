"""`kubectl retrain` on both clusters: what it does to schedules and runs, what it prints, its exit codes."""

import io
import json
from typing import Any

import pytest
import yaml

from retrain_operator.api.names import ANNOTATION_REQUESTED_AT
from retrain_operator.cli.plugin.main import parser
from retrain_operator.cli.plugin.session import Exit, Session, Stop
from retrain_operator.cluster.protocol import EVENTS, RUNS, SCHEDULES
from tests.behaviour.test_deploy import BAD, GOOD, deployed, live, model
from tests.behaviour.world import SIMULATED, TRAINED, World, is_finished, run, schedule, trainer

FAILS_ONCE = f"""
if [ "$RETRAIN_ATTEMPT" = 1 ]; then exit 7; fi
{TRAINED}"""
REFUSES = """answer failed ',"error":{"reason":"TooLittleData","message":"3 rows, 50 needed","retryable":false}'; exit 4"""


async def call(world: World, *arguments: str, width: int | None = None) -> tuple[Exit, str]:
    """Exit code and what was printed."""
    options = parser().parse_args(arguments)
    out = io.StringIO()
    code = await options.run(Session(world.cluster, world.namespace, out=out, width=width), options)  # type: ignore[arg-type]
    return code, out.getvalue()


async def test_trigger_waits_for_a_run_to_its_end(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED)))
    async with world.operator():
        code, told = await call(world, "trigger", "churn", "--token", "one", "--wait")
    assert code is Exit.OK, told
    made = (await world.list(RUNS))[0]["metadata"]["name"]
    assert told.splitlines()[:2] == ["retrainschedule/churn asked for a run, token one", f"retrainjob/{made} created"]
    assert told.splitlines()[-1].startswith(f"{made}: Completed")


async def test_trigger_follows_further_attempts(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(FAILS_ONCE, retry={"baseSeconds": 1, "jitter": 0})))
    async with world.operator():
        code, told = await call(world, "trigger", "churn", "--wait")
    assert code is Exit.OK, told
    assert "-r1: Completed" in told.splitlines()[-1]


async def test_trigger_tells_of_failure(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(REFUSES)))
    async with world.operator():
        code, told = await call(world, "trigger", "churn", "--wait")
        token = (await world.get(SCHEDULES, "churn") or {})["metadata"]["annotations"][ANNOTATION_REQUESTED_AT]
        with pytest.raises(Stop, match="choose another") as stop:
            await call(world, "trigger", "churn", "--token", token)
    assert code is Exit.FAILED
    assert told.splitlines()[-1].endswith("Failed: 3 rows, 50 needed")
    assert stop.value.code is Exit.FAILED


async def test_trigger_says_that_a_request_waits_and_then_runs(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer("sleep 2; " + TRAINED)))
    async with world.operator():
        await call(world, "trigger", "churn", "--token", "one")
        code, told = await call(world, "trigger", "churn", "--token", "two", "--wait")
    assert code is Exit.OK, told
    assert ": ConcurrencyForbid" in told
    assert len(await world.list(RUNS)) == 2


async def test_trigger_gives_up_in_time(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer("sleep 60")))
    async with world.operator():
        with pytest.raises(Stop, match="it goes on") as stop:
            await call(world, "trigger", "churn", "--wait", "--timeout", "1s")
    assert stop.value.code is Exit.TIMEOUT


async def test_history_selects_and_describe_tells_all(world: World) -> None:
    await world.create(RUNS, run("first", trainer(TRAINED, window="2024-25")))
    await world.create(RUNS, run("second", trainer(REFUSES, window="2025-26")))
    async with world.operator():
        for name in ("first", "second"):
            await world.wait_for(RUNS, name, is_finished)
        await world.wait_for_any(EVENTS, lambda body: body["reason"] == "RunCompleted")  # events come after the status that they tell of
        _, whole = await call(world, "history")
        _, failed = await call(world, "history", "--phase", "Failed", "-o", "json")
        _, season = await call(world, "history", "--window", "2024-25", "-o", "yaml")
        _, one = await call(world, "history", "--limit", "1")
        _, foreign = await call(world, "history", "another")
        _, told = await call(world, "describe", "first")
        _, failure = await call(world, "describe", "second")
        _, body = await call(world, "describe", "first", "-o", "json")
    assert [line.split()[0] for line in whole.splitlines()] in (["NAME", "second", "first"], ["NAME", "first", "second"])
    assert names(json.loads(failed)) == ["second"]
    assert names(yaml.safe_load(season)) == ["first"]
    assert one.splitlines()[-1] == "1 more: --limit 2"
    assert foreign == "No runs found.\n"
    for words in ("Trigger:      Manual", "Window:       2024-25", "Phase:        Completed", "accuracy   0.9", "RunCompleted"):
        assert words in told
    assert "Error:        TooLittleData, exit code 4: 3 rows, 50 needed" in failure
    assert json.loads(body)["run"]["metadata"]["name"] == "first"


def names(listing: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in listing["items"]]


async def test_history_fits_the_terminal(world: World) -> None:
    await world.create(RUNS, run("a-run-with-a-rather-long-name-that-leaves-little-room", trainer(SIMULATED, mode="Simulate")))
    async with world.operator():
        await world.wait_for_any(RUNS, is_finished)
        _, told = await call(world, "history", width=100)
    assert max(map(len, told.splitlines())) <= 100
    assert "…" in told
    # What none of them has is left out.
    assert told.splitlines()[0].split() == ["NAME", "TRIGGER", "PHASE", "ATTEMPT", "STARTED", "DURATION", "RESULT"]


async def test_suspend_and_resume(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", trainer(TRAINED)))
    for command, wanted in (("suspend", True), ("resume", False)):
        assert (await call(world, command, "churn"))[0] is Exit.OK
        assert (await world.get(SCHEDULES, "churn") or {})["spec"]["suspend"] is wanted


@pytest.mark.parametrize("command", ["trigger", "suspend", "resume", "rollback", "release", "describe", "logs"])
async def test_a_name_that_is_not_there(world: World, command: str) -> None:
    with pytest.raises(Stop, match='"nothing" not found in namespace') as stop:
        await call(world, command, "nothing")
    assert stop.value.code is Exit.USAGE


async def test_rollback_and_release(world: World) -> None:
    await world.create(SCHEDULES, schedule("churn", {"trainer": {"image": "sh"}, "deploy": {"slot": "production"}}))
    async with world.operator():
        for name, sha256 in (("m1", GOOD), ("m2", BAD)):
            await deployed(world, name, model(sha256))
        _, history = await call(world, "history", "churn")
        code, told = await call(world, "rollback", "churn", "--token", "one")
        again, impossible = await call(world, "rollback", "churn", "--token", "two")
        released, lifted = await call(world, "release", "churn")
        _, bad = await call(world, "describe", "m2")
    assert [("Deployed" in line.split()) for line in history.splitlines()] == [False, True, True]
    assert code is Exit.OK, told
    assert told.splitlines()[-1].startswith("RolledBack: ")
    assert (await live(world))["sha256"] == GOOD
    assert again is Exit.FAILED
    assert impossible.splitlines()[-1].startswith("Impossible: ")
    assert released is Exit.OK
    assert "released" in lifted
    assert f"In place of:  {GOOD}" in bad
