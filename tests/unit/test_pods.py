"""What is read of a run's pods."""

from typing import Any

import pytest
from tests.builders import at

from retrain_operator.api.base import format_time
from retrain_operator.reconcile.pods import pod_end, running_pod, unended, why_not_running
from retrain_operator.rules.observed import PodEnd

Body = dict[str, Any]


def pod(*containers: Body) -> Body:
    return {"status": {"containerStatuses": list(containers)}}


def container(name: str = "trainer", finished: str = "12:03:17", **terminated: Any) -> Body:
    return {"name": name, "state": {"terminated": {"exitCode": 0, "finishedAt": f"2026-03-02T{finished}Z"} | terminated}}


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([], None, id="no pod"),
        pytest.param([{}, {"status": {}}, pod()], None, id="pods without a container's state, as when evicted early"),
        pytest.param([pod({"name": "trainer", "state": {"running": {}}})], None, id="still running"),
        pytest.param(
            [pod(container(exitCode=4, reason="Error", message="{}"))], PodEnd(4, "Error", "{}"), id="ended: exit code, reason and message"
        ),
        pytest.param([pod(container())], PodEnd(0, "", ""), id="ended without a word"),
        pytest.param(
            [pod(container("sidecar", exitCode=1), container(message="m"))], PodEnd(0, "", "m"), id="other containers do not count"
        ),
        pytest.param([pod(container("sidecar"))], None, id="no container named trainer"),
        pytest.param(
            [pod(container(finished="12:03:18", message="second")), pod(container(exitCode=137, message="first"))],
            PodEnd(0, "", "second"),
            id="replaced after a disruption: the pod that ended last",
        ),
        pytest.param(
            [pod(container()), pod({"name": "trainer", "state": {"waiting": {}}})], PodEnd(0, "", ""), id="the replacement has not started"
        ),
    ],
)
def test_pod_end(pods: list[Body], expected: PodEnd | None) -> None:
    assert pod_end(pods) == expected


def pending(**status: Any) -> Body:
    return {"status": {"phase": "Pending"} | status}


def held_up(reason: str, message: str = "") -> Body:
    return pending(containerStatuses=[{"name": "trainer", "state": {"waiting": {"reason": reason, "message": message}}}])


UNSCHEDULED = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}]
DISRUPTED = {"status": {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]}}


def made(time: str, conditions: list[Body] | None = None) -> Body:
    return pending(conditions=conditions or []) | {"metadata": {"creationTimestamp": format_time(at(time))}}


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([], "it has no pod, and the events of its Job say why", id="no pod"),
        pytest.param([pending(conditions=UNSCHEDULED)], "Unschedulable: 0/1 nodes are available", id="no node has room"),
        pytest.param([held_up("ErrImagePull", "no such image")], "ErrImagePull: no such image", id="its image cannot be pulled"),
        pytest.param([held_up("ContainerCreating")], "ContainerCreating", id="nothing more is told"),
        pytest.param([{"status": {"phase": "Running"}}], None, id="it runs"),
        pytest.param([{"status": {"phase": "Succeeded"}}], None, id="it has ended, and its Job does not know yet"),
        pytest.param([{"status": {"phase": "Failed"}}], None, id="it has failed, and its Job does not know yet"),
        pytest.param([DISRUPTED, held_up("ErrImagePull")], "ErrImagePull", id="the one that took a disrupted one's place"),
        pytest.param([{}], None, id="a pod without a status yet is not judged"),
    ],
)
def test_why_a_pod_does_not_run(pods: list[Body], expected: str | None) -> None:
    assert why_not_running(pods) == expected


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([DISRUPTED, made("11:00", UNSCHEDULED)], "Unschedulable: 0/1 nodes are available", id="old enough"),
        pytest.param([DISRUPTED, made("11:00:01", UNSCHEDULED)], None, id="too young"),
        pytest.param([DISRUPTED, made("11:00")], "its pod is Pending", id="nothing is told of it"),
        pytest.param([DISRUPTED], None, id="none has taken the place of the disrupted one yet"),
        pytest.param([], None, id="none at all"),
        pytest.param([{"status": {"phase": "Running"}}], None, id="it runs"),
    ],
)
def test_why_the_pod_that_took_anothers_place_does_not_run(pods: list[Body], expected: str | None) -> None:
    assert why_not_running(pods, made_by=at("11:00")) == expected


def running(name: str, created: str, phase: str = "Running") -> Body:
    return {"metadata": {"namespace": "ml", "name": name, "creationTimestamp": created}, "status": {"phase": phase}}


OLD, YOUNG = "2026-03-02T12:00:01Z", "2026-03-02T12:07:01Z"


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([], None, id="no pod"),
        pytest.param([running("a", OLD, "Pending"), running("b", OLD, "Failed"), {"metadata": {}}], None, id="none that runs"),
        pytest.param([running("a", OLD)], "a", id="one"),
        pytest.param([running("b", YOUNG), running("a", OLD)], "b", id="one that is being disrupted, and the one that took its place"),
    ],
)
def test_running_pod(pods: list[Body], expected: str | None) -> None:
    pod = running_pod(pods)
    assert (pod.name if pod else None) == expected


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([], None, id="none"),
        pytest.param([running("ended", "12:00", "Succeeded"), running("failed", "12:00", "Failed")], None, id="all have ended"),
        pytest.param([running("ended", "12:00", "Failed"), running("goes-on", "12:00")], "goes-on", id="one runs"),
        pytest.param([made("12:00") | {"metadata": {"name": "new"}}], "new", id="one may still run"),
    ],
)
def test_unended(pods: list[Body], expected: str | None) -> None:
    assert unended(pods) == expected
