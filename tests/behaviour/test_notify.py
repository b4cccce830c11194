"""Webhooks, told by a real HTTP server that fails, hangs and recovers, on both clusters."""

import asyncio
import base64
from collections import Counter

import pytest

from retrain_operator.api.names import ANNOTATION_REQUESTED_AT
from retrain_operator.cluster.protocol import EVENTS, RUNS, SCHEDULES, SECRETS, Body
from tests.behaviour.real_world import RealWorld
from tests.behaviour.receiver import Receiver
from tests.behaviour.test_deploy import BAD, GOOD, deployed, model
from tests.behaviour.test_rollback import ask
from tests.behaviour.world import TRAINED, Until, World, is_finished, run, schedule, trainer

LASTS_A_SECOND = "sleep 1.1; "  # times of the API have whole seconds: which run was the last must show
REFUSES = """answer failed ',"error":{"reason":"TooLittleData","message":"3 rows, 50 needed","retryable":false}'; exit 4"""


async def let_the_operator_read(world: RealWorld, *secrets: str) -> None:
    """What the owner of a Secret grants; the shipped rules do not hold it."""
    kubectl, where = world.control_plane.kubectl, ("-n", world.namespace)
    names = [f"--resource-name={each}" for each in secrets]
    await asyncio.to_thread(kubectl, "create", "role", "reads", "--verb=get", "--resource=secrets", *names, *where)
    account = "--serviceaccount=retrain-system:retrain-operator"
    await asyncio.to_thread(kubectl, "create", "rolebinding", "reads", "--role=reads", account, *where)


def is_told(body: Body) -> bool:
    return body.get("status", {}).get("notified") is True


async def test_a_failure_is_told_as_a_cloud_event_once(world: World, receiver: Receiver) -> None:
    await world.create(RUNS, run("poor", trainer(REFUSES, notify=[receiver.hook()])))
    async with world.operator("--webhook-allow", receiver.host):
        done = await world.wait_for(RUNS, "poor", is_told)
    async with world.operator("--webhook-allow", receiver.host):
        await world.wait_for(RUNS, "poor", is_told)
    ((path, event, headers),) = receiver.posts
    assert path == "/hook"
    assert headers["Content-Type"] == "application/cloudevents+json"
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "dev.retrain.run.failed", "poor")
    assert event["id"] == headers["X-Retrain-Notification-Id"] == f"{done['metadata']['uid']}/Failed/team"
    assert event["data"]["error"]["reason"] == "TooLittleData"
    assert event["data"]["text"] == f"Failed: poor of {world.namespace}: 3 rows, 50 needed"
    told = done["status"]["notifications"]
    assert [(each["webhook"], each["occasion"], each["state"]) for each in told] == [("team", "Failed", "Sent")]


async def test_a_receiver_that_fails_and_recovers_hears_it_and_the_run_did_not_wait(world: World, receiver: Receiver) -> None:
    receiver.answers = [500, 503, 200]
    await world.create(RUNS, run("poor", trainer(REFUSES, notify=[receiver.hook()])))
    async with world.operator("--webhook-allow", receiver.host):
        await world.wait_for(RUNS, "poor", lambda body: is_finished(body) and not is_told(body))
        await world.wait_for(RUNS, "poor", is_told)
    assert len(receiver.posts) == 3
    assert len({event["id"] for _, event, _ in receiver.posts}) == 1


async def test_a_receiver_that_hangs_keeps_nobody_else_waiting(world: World, receiver: Receiver) -> None:
    receiver.answers = ["hang"]
    await world.create(RUNS, run("poor", trainer(REFUSES, notify=[receiver.hook(timeoutSeconds=30)])))
    async with world.operator("--webhook-allow", receiver.host):
        await receiver.heard(1)
        await world.create(RUNS, run("well", trainer(TRAINED)))
        done = await world.wait_for(RUNS, "well", is_finished)
        assert not is_told(await world.get(RUNS, "poor") or {})
    assert done["status"]["phase"] == "Completed"


async def test_an_operator_that_dies_before_the_record_tells_it_again_with_the_same_id(world: World, receiver: Receiver) -> None:
    receiver.answers = ["hang", 200]
    await world.create(RUNS, run("poor", trainer(REFUSES, notify=[receiver.hook(timeoutSeconds=30)])))
    async with world.operator("--webhook-allow", receiver.host):
        await receiver.heard(1)
    async with world.operator("--webhook-allow", receiver.host):
        await world.wait_for(RUNS, "poor", is_told)
    assert Counter(event["id"] for _, event, _ in receiver.posts).most_common(1)[0][1] == 2


REFUSALS = [
    pytest.param(404, "answers 404", id="refused for good"),
    pytest.param(302, "answers with a redirect (302), which is not followed", id="a redirect"),
]


@pytest.mark.parametrize(("answer", "why"), REFUSALS)
async def test_what_is_given_up_is_on_record_and_an_event(world: World, receiver: Receiver, answer: int, why: str) -> None:
    receiver.answers = [answer]
    await world.create(RUNS, run("poor", trainer(REFUSES, notify=[receiver.hook()])))
    async with world.operator("--webhook-allow", receiver.host):
        done = await world.wait_for(RUNS, "poor", is_told)
        event = await world.wait_for_any(EVENTS, lambda body: body["reason"] == "NotificationFailed")
    assert [each["state"] for each in done["status"]["notifications"]] == ["GivenUp"]
    assert why in event["note"]
    assert [path for path, _, _ in receiver.posts] == ["/hook"]


async def test_a_host_that_the_administrator_does_not_allow_is_not_told(world: World, receiver: Receiver) -> None:
    await world.create(RUNS, run("poor", trainer(REFUSES, notify=[receiver.hook()])))
    async with world.operator():
        done = await world.wait_for(RUNS, "poor", is_told)
    assert "is not allowed: the operator's administrator lists it in --webhook-allow" in done["status"]["notifications"][0]["message"]
    assert receiver.posts == []


async def test_slack_with_a_secret_url_and_a_template(world: World, receiver: Receiver) -> None:
    def secret(name: str, value: str) -> Body:
        data = {"it": base64.b64encode(value.encode()).decode()}
        metadata = {"name": name, "labels": {"retrain.dev/allow-read": "true"}}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}

    await world.create(SECRETS, secret("url", f"http://{receiver.host}/services/T0/B0\n"))
    await world.create(SECRETS, secret("token", "s3cret"))
    if isinstance(world, RealWorld):
        await let_the_operator_read(world, "url", "token")
    hook = {
        "name": "chat",
        "format": "Slack",
        "occasions": ["Completed"],
        "urlFrom": {"name": "url", "key": "it"},
        "bearerTokenFrom": {"name": "token", "key": "it"},
        "template": "$run is $occasion with $metrics; $unknown stays, $$ too",
    }
    await world.create(RUNS, run("well", trainer(TRAINED, notify=[hook])))
    async with world.operator("--webhook-allow", receiver.host):
        await world.wait_for(RUNS, "well", is_told)
    ((path, body, headers),) = receiver.posts
    assert path == "/services/T0/B0"
    assert body == {"text": "well is Completed with accuracy=0.9; $unknown stays, $ too"}
    assert headers["Authorization"] == "Bearer s3cret"


def handled(token: str) -> Until:
    return lambda body: body.get("status", {}).get("lastHandledRequestedAt") == token


async def test_a_run_that_goes_well_after_a_failure_is_a_recovery(world: World, receiver: Receiver) -> None:
    occasions = []
    await world.create(SCHEDULES, schedule("churn", trainer(REFUSES, notify=[receiver.hook()])))
    async with world.operator("--webhook-allow", receiver.host):
        for number, script in enumerate((REFUSES, REFUSES, TRAINED, TRAINED)):
            template = {"spec": {"jobTemplate": {"spec": {"trainer": trainer(LASTS_A_SECOND + script)["trainer"]}}}}
            await world.patch(SCHEDULES, "churn", template | {"metadata": {"annotations": {ANNOTATION_REQUESTED_AT: str(number)}}})
            done = await world.wait_for(SCHEDULES, "churn", handled(str(number)))
            told = await world.wait_for(RUNS, done["status"]["lastRequest"]["job"], is_told)
            occasions.append([each["occasion"] for each in told["status"].get("notifications", [])])
    assert occasions == [["Failed"], ["Failed"], ["Recovered"], []]
    assert [event["data"]["schedule"] for _, event, _ in receiver.posts] == ["churn"] * 3


async def test_a_rollback_by_annotation_is_told_to_the_schedules_receivers_also_after_a_crash(world: World, receiver: Receiver) -> None:
    receiver.answers = ["hang", 200]
    spec = {"trainer": {"image": "sh"}, "deploy": {"slot": "production"}, "notify": [receiver.hook(timeoutSeconds=30)]}
    await world.create(SCHEDULES, schedule("churn", spec, suspend=True))
    async with world.operator("--webhook-allow", receiver.host):
        for name, sha256 in (("a-good", GOOD), ("b-bad", BAD)):
            await deployed(world, name, model(sha256))
        await ask(world, "rollback", "t1")
        await receiver.heard(1)
    async with world.operator("--webhook-allow", receiver.host):
        done = await world.wait_for(SCHEDULES, "churn", lambda body: body["status"]["lastRollback"].get("notified") is True)
        event = await world.wait_for_any(EVENTS, lambda body: body["reason"] == "RolledBack")
    last = done["status"]["lastRollback"]
    assert [(each["webhook"], each["occasion"], each["state"]) for each in last["notifications"]] == [("team", "RolledBack", "Sent")]
    assert len(receiver.posts) == 2
    (told,) = {event["id"] for _, event, _ in receiver.posts}
    assert told.startswith(f"{done['metadata']['uid']}/")
    _, cloud_event, _ = receiver.posts[-1]
    assert (cloud_event["type"], cloud_event["subject"]) == ("dev.retrain.schedule.rolledback", "churn")
    assert (cloud_event["data"]["rollback"]["requestedAt"], cloud_event["data"]["rollback"]["sha256"]) == ("t1", GOOD)
    if isinstance(world, RealWorld):  # field managers are the API server's
        assert last["requestedBy"] in event["note"]
