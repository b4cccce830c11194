"""What a run is told of the last trained one, and when unchanged data is no reason to skip."""

from datetime import UTC, datetime, timedelta

from retrain_operator.api.base import format_time
from retrain_operator.cluster.protocol import RUNS, SCHEDULES
from retrain_operator.manifests.runs import manual_run_name
from tests.behaviour.world import TRAINED, World, is_finished, phase, schedule, trainer

LOOKS = f"""
if [ "$RETRAIN_DATA_CHECK" = Skip ] && [ "${{RETRAIN_PREVIOUS_DATA_VERSION:-}}" = v1 ]
then answer skipped ',"reason":"DataUnchanged","data":{{"version":"v1"}}'
else {TRAINED}
fi"""


async def end_of(world: World, token: str) -> str | None:
    await world.patch(SCHEDULES, "churn", {"metadata": {"annotations": {"retrain.dev/requestedAt": token}}})
    return phase(await world.wait_for(RUNS, manual_run_name("churn", token), is_finished))


async def test_unchanged_data_is_trained_on_again_when_the_model_is_too_old(world: World) -> None:
    data = {"uri": "file:///data", "check": "Skip", "maxAgeSeconds": 3600}
    await world.create(SCHEDULES, schedule("churn", trainer(LOOKS, data=data)))
    async with world.operator():
        assert await end_of(world, "first") == "Completed"
        trained = await world.wait_for(SCHEDULES, "churn", lambda body: "lastTrained" in body["status"])
        assert await end_of(world, "young") == "Skipped"
    old = format_time(datetime.now(UTC) - timedelta(hours=2))
    await world.patch_status(SCHEDULES, "churn", {"lastTrained": {**trained["status"]["lastTrained"], "completionTime": old}})
    async with world.operator():
        assert await end_of(world, "old") == "Completed"
        # A model that was just trained is young again.
        await world.wait_for(SCHEDULES, "churn", lambda body: body["status"]["lastTrained"]["completionTime"] > old)
        assert await end_of(world, "young again") == "Skipped"
