"""The local node of the tests, where the API server refuses what it asks for."""

import ssl
from pathlib import Path

import pytest
from aiohttp import web
from tests.cluster.api import Api, Refused
from tests.cluster.pod_worker import PodWorker
from tests.unit.fake_api import Handler, serving, status
from tests.unit.pod_builders import pod

from retrain_operator.embedded.pods import ImageMap

TERMINATING = 'pods "run-1" is forbidden: unable to create new content in namespace ml because it is being terminated'


async def bind(answer: Handler, root: Path) -> list[str]:
    """The requests of a pod that is to be bound."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(f"{request.method} {request.path}")
        return await answer(request)

    async with serving(handle) as server, Api(server, ssl.create_default_context()) as api:
        body = pod("true", spec={"nodeName": None})
        await PodWorker(body, api, node_name="local", images=ImageMap({"python": []}), root=root).run()
    return asked


async def test_a_pod_of_a_namespace_that_is_being_terminated_is_left_alone(tmp_path: Path) -> None:
    asked = await bind(status(403, TERMINATING, reason="Forbidden"), tmp_path)
    assert asked == ["POST /api/v1/namespaces/ml/pods/run-1/binding"]


async def test_any_other_refusal_is_a_bug_here(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        await bind(status(403, "no right to bind", reason="Forbidden"), tmp_path)
