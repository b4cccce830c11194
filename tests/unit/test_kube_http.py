"""What the client makes of HTTP at its worst."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from tests.unit.fake_api import KEY, STORED, Api, Handler, api_and_client, hangs, is_a_page, lost, serving, status, stored, stream

from retrain_operator.api.names import Key
from retrain_operator.cluster import kube
from retrain_operator.cluster.credentials import Credentials
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.protocol import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    LEASES,
    RUNS,
    AlreadyExists,
    ClusterError,
    Conflict,
    Expired,
    Forbidden,
    Rejected,
    Unavailable,
)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with api_and_client() as fake:
        yield fake


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real ones, less the waiting."""
    monkeypatch.setattr(kube, "WRITE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(kube, "READ_TIMEOUT_S", 0.2)


class TestCreate:
    @pytest.mark.parametrize(
        "failure",
        [
            pytest.param(lost, id="connection lost"),
            pytest.param(status(500), id="500"),
            pytest.param(status(503), id="503"),
            pytest.param(status(504, reason="Timeout"), id="504"),
            pytest.param(status(429), id="429"),
            pytest.param(status(409, reason="Conflict"), id="409 of a resource quota"),
            pytest.param(is_a_page, id="200, but not from the API server"),
        ],
    )
    async def test_is_repeated(self, api: Api, failure: Handler) -> None:
        api.answers = [failure, failure, stored()]
        assert await api.cluster.create(CONFIG_MAPS, "ns", {"metadata": {"name": "a"}}) == STORED
        assert len(api.requests) == 3
        assert api.bodies[0] == api.bodies[2] == {"metadata": {"name": "a"}}
        assert api.pauses_s[0] < api.pauses_s[1] < 0.5

    async def test_a_name_that_is_taken_is_an_answer(self, api: Api) -> None:
        api.answers = [lost, status(409, reason="AlreadyExists", kind="configmaps")]
        assert await api.cluster.create(CONFIG_MAPS, "ns", {"metadata": {"name": "a"}}) == AlreadyExists(KEY)

    async def test_is_given_up_after_a_few_times(self, api: Api) -> None:
        api.answers = [status(503, "etcd has no leader")]
        with pytest.raises(Unavailable, match="etcd has no leader"):
            await api.cluster.create(CONFIG_MAPS, "ns", {"metadata": {"name": "a"}})
        assert len(api.requests) == 1 + len(kube.REPEAT_PAUSES_S)
        assert api.counted == [("create", "configmaps", 503)] * len(api.requests)

    async def test_waits_as_long_as_the_server_asks_for(self, api: Api) -> None:
        api.answers = [status(429, retry_after="2"), stored()]
        await api.cluster.create(CONFIG_MAPS, "ns", {"metadata": {"name": "a"}})
        assert api.pauses_s == [2.0]

    async def test_does_not_wait_longer_than_a_write_may_take(self, api: Api) -> None:
        api.answers = [status(429, retry_after="60")]
        with pytest.raises(Unavailable) as caught:
            await api.cluster.create(CONFIG_MAPS, "ns", {"metadata": {"name": "a"}})
        assert caught.value.retry_after_s == 60.0
        assert api.pauses_s == []

    @pytest.mark.usefixtures("short_timeouts")
    async def test_ends_in_time_with_all_its_repeats(self, api: Api) -> None:
        api.answers = [lost, hangs]
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable, match="no answer"):
            await api.cluster.create(CONFIG_MAPS, "ns", {"metadata": {"name": "a"}})
        assert asyncio.get_running_loop().time() - began < 1.0
        assert api.counted == [("create", "configmaps", 0)] * 2

    async def test_of_what_is_refused_is_not_repeated(self, api: Api) -> None:
        api.answers = [status(422, "spec.schedule: Invalid value", reason="Invalid", kind="RetrainSchedule")]
        with pytest.raises(Rejected, match=r"spec\.schedule: Invalid value"):
            await api.cluster.create(CONFIG_MAPS, "ns", {"metadata": {"name": "a"}})
        assert len(api.requests) == 1


class TestOtherWrites:
    async def test_are_not_repeated(self, api: Api) -> None:
        api.answers = [status(503, retry_after="3")]
        for write in (
            api.cluster.replace(CONFIG_MAPS, KEY, STORED),
            api.cluster.patch_status(RUNS, KEY, {}, resource_version="7"),
            api.cluster.patch_spec(DEPLOYMENTS, KEY, {}, resource_version="7"),
            api.cluster.delete(JOBS, KEY, uid="u1"),
            api.cluster.create(JOBS, "ns", {"metadata": {"name": "a"}}),  # it may be gone with its owner by then
            api.cluster.create(RUNS, "ns", {"metadata": {"name": "a"}}),
        ):
            with pytest.raises(Unavailable) as caught:
                await write
            assert caught.value.retry_after_s == 3.0
        assert [verb for verb, *_ in api.counted] == ["update", "patch", "patch", "delete", "create", "create"]

    async def test_patch_spec_is_a_compare_and_swap(self, api: Api) -> None:
        api.answers = [stored()]
        patch = {"metadata": {"annotations": {"a": "b"}}, "spec": {"paused": None}}
        await api.cluster.patch_spec(DEPLOYMENTS, KEY, patch, resource_version="7")
        assert (api.requests[0].method, api.requests[0].path) == ("PATCH", "/apis/apps/v1/namespaces/ns/deployments/a")
        assert api.bodies == [{"metadata": {"annotations": {"a": "b"}, "resourceVersion": "7"}, "spec": {"paused": None}}]

    async def test_patch_status_is_a_compare_and_swap(self, api: Api) -> None:
        api.answers = [stored()]
        await api.cluster.patch_status(RUNS, KEY, {"phase": "Running", "error": None}, resource_version="7")
        assert api.requests[0].method == "PATCH"
        assert api.requests[0].path == "/apis/retrain.dev/v1alpha1/namespaces/ns/retrainjobs/a/status"
        assert api.requests[0].headers["Content-Type"] == "application/merge-patch+json"
        assert api.bodies == [{"metadata": {"resourceVersion": "7"}, "status": {"phase": "Running", "error": None}}]

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            pytest.param(status(409, reason="Conflict", kind="leases"), Conflict(KEY), id="changed meanwhile"),
            pytest.param(status(404, reason="NotFound", kind="leases"), None, id="gone"),
            pytest.param(
                status(409, "Precondition failed: UID in precondition: u1, UID in object meta: ", reason="Conflict", kind="leases"),
                None,
                id="gone, of a resource that a PUT would make",
            ),
        ],
    )
    async def test_replace_answers(self, api: Api, answer: Handler, expected: object) -> None:
        api.answers = [answer]
        assert await api.cluster.replace(LEASES, KEY, STORED) == expected

    @pytest.mark.parametrize("missing", ["resourceVersion", "uid"])
    async def test_replace_needs_what_makes_it_a_compare_and_swap(self, api: Api, missing: str) -> None:
        metadata = {name: value for name, value in STORED["metadata"].items() if name != missing}
        with pytest.raises(ValueError, match="replace needs"):
            await api.cluster.replace(LEASES, KEY, {"metadata": metadata})
        assert api.requests == []

    async def test_delete_is_in_the_background_and_of_this_uid(self, api: Api) -> None:
        api.answers = [stored()]
        assert await api.cluster.delete(JOBS, KEY, uid="u1")
        assert api.requests[0].path == "/apis/batch/v1/namespaces/ns/jobs/a"
        assert api.bodies[0]["propagationPolicy"] == "Background"
        assert api.bodies[0]["preconditions"] == {"uid": "u1"}


class TestErrors:
    @pytest.mark.parametrize(
        ("answer", "error", "says"),
        [
            pytest.param(status(400, "bad"), Rejected, "bad", id="400"),
            pytest.param(status(401, "Unauthorized"), Forbidden, "Unauthorized", id="401"),
            pytest.param(status(403, "no right"), Forbidden, "no right", id="403"),
            pytest.param(status(404, "could not find the requested resource"), Rejected, "install the CRDs", id="404 without details"),
            pytest.param(status(404, 'namespaces "ns" not found', kind="namespaces"), Rejected, "namespaces", id="404 of the namespace"),
            pytest.param(status(410, "too old"), Expired, "too old", id="410"),
            pytest.param(status(429, "slow down"), Unavailable, "slow down", id="429"),
            pytest.param(status(500, "oops"), Unavailable, "oops", id="500"),
            pytest.param(lost, Unavailable, "http://127", id="connection lost"),
            pytest.param(is_a_page, Unavailable, "not JSON", id="not JSON"),
        ],
    )
    async def test_of_a_get(self, api: Api, answer: Handler, error: type[ClusterError], says: str) -> None:
        api.answers = [answer]
        with pytest.raises(error, match=says) as caught:
            await api.cluster.get(RUNS, KEY)
        assert type(caught.value) is error

    async def test_plain_text_is_shown_as_it_is(self, api: Api) -> None:
        async def text(_: web.Request) -> web.Response:
            return web.Response(status=502, text="upstream is away\n")

        api.answers = [text]
        with pytest.raises(Unavailable, match=r"^upstream is away$"):
            await api.cluster.get(RUNS, KEY)

    async def test_a_missing_type_is_not_a_missing_object(self, api: Api) -> None:
        async def not_found(_: web.Request) -> web.Response:
            return web.Response(status=404, text="404 page not found\n")

        api.answers = [not_found]
        for call in (api.cluster.get(RUNS, KEY), api.cluster.delete(RUNS, KEY, uid="u1"), api.cluster.list(RUNS, None)):
            with pytest.raises(Rejected, match="install the CRDs"):
                await call
        api.answers = [status(404, kind="retrainjobs", reason="NotFound")]
        assert await api.cluster.get(RUNS, KEY) is None

    async def test_no_server(self) -> None:
        async with serving(hangs) as url:
            pass
        async with KubeCluster(Credentials(url, None, lambda: None)) as cluster:
            with pytest.raises(Unavailable, match=url):
                await cluster.get(RUNS, KEY)

    @pytest.mark.usefixtures("short_timeouts")
    async def test_a_server_that_hangs(self, api: Api) -> None:
        api.answers = [hangs]
        with pytest.raises(Unavailable, match=r"no answer from http://127.* in 0\.2 s"):
            await api.cluster.get(RUNS, KEY)
        assert api.counted == [("get", "retrainjobs", 0)]

    async def test_the_token_is_asked_for_each_request(self, api: Api) -> None:
        api.answers = [stored()]
        await api.cluster.get(RUNS, KEY)
        api.token = "Bearer second"
        await api.cluster.get(RUNS, KEY)
        api.token = None
        await api.cluster.get(RUNS, KEY)
        assert [request.headers.get("Authorization") for request in api.requests] == ["Bearer first", "Bearer second", None]


class TestList:
    async def test_by_pages_at_one_version(self, api: Api) -> None:
        def page(name: str, rest: str) -> Handler:
            return stored({"metadata": {"resourceVersion": "9", "continue": rest}, "items": [{"metadata": {"name": name}}]})

        api.answers = [page("a", "more"), page("b", "")]
        listing = await api.cluster.list(JOBS, None, label_selector="retrain.dev/run", field_selector="status.phase=Pending")
        assert listing.resource_version == "9"
        assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
        assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("batch/v1", "Job")}
        selectors = {"labelSelector": "retrain.dev/run", "fieldSelector": "status.phase=Pending"}
        assert [dict(request.query) for request in api.requests] == [
            {**selectors, "limit": "500"},
            {**selectors, "limit": "500", "continue": "more"},
        ]

    async def test_that_expires_between_two_pages_starts_again_whole(self, api: Api) -> None:
        first = stored({"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [STORED]})
        whole = stored({"metadata": {"resourceVersion": "30"}, "items": [STORED, STORED]})
        api.answers = [first, status(410, reason="Expired"), whole]
        listing = await api.cluster.list(RUNS, "ns")
        assert (len(listing.items), listing.resource_version) == (2, "30")
        assert dict(api.requests[-1].query) == {}

    async def test_handed_on_page_by_page_before_the_rest_is_asked_for(self, api: Api) -> None:
        first = stored({"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [STORED]})
        api.answers = [first, status(410, reason="Expired")]
        pages = aiter(api.cluster.pages(RUNS, "ns"))
        assert len((await anext(pages)).items) == 1
        assert len(api.requests) == 1
        with pytest.raises(Expired):
            await anext(pages)

    async def test_with_an_object_that_nests_more_deeply_than_python_reads(self, api: Api) -> None:
        deep = '{"a": ["\\"}", ' * 5000 + "1" + "]}" * 5000
        text = f'{{"metadata": {{"resourceVersion": "9"}}, "items": [{{"spec": {deep}, "last": 1}}, {{"spec": {{"a": "}}"}}}}]}}'

        async def page(_: web.Request) -> web.Response:
            return web.Response(text=text, content_type="application/json")

        api.answers = [page]
        first, second = (await api.cluster.list(RUNS, "ns")).items
        assert (first["spec"]["a"][0], first["last"], second["spec"]) == ('"}', 1, {"a": "}"})

    async def test_of_nothing(self, api: Api) -> None:
        api.answers = [stored({"metadata": {"resourceVersion": "9"}, "items": None})]
        assert (await api.cluster.list(RUNS, "ns")).items == []


@pytest.mark.usefixtures("short_timeouts")
async def test_calls_wait_for_a_free_slot_within_their_timeout() -> None:
    under_way = most = 0
    pair = asyncio.Barrier(2)

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal under_way, most
        if request.query.get("watch"):
            return await stream(ends=False)(request)
        under_way += 1
        most = max(most, under_way)
        try:
            if request.path.endswith("/hangs"):
                return await hangs(request)
            if request.path.endswith("/in-pairs"):
                await pair.wait()
            return await stored()(request)
        finally:
            under_way -= 1

    async with serving(handle) as url, KubeCluster(Credentials(url, None, lambda: None), connections=2) as cluster:
        watch = asyncio.ensure_future(anext(aiter(cluster.watch(JOBS, None, resource_version="5"))))
        assert await asyncio.gather(*(cluster.get(RUNS, Key("ns", "in-pairs")) for _ in range(20))) == [STORED] * 20
        assert most == 2
        stuck = Key("ns", "hangs")
        answers = await asyncio.gather(*(cluster.get(RUNS, key) for key in (stuck, stuck, KEY)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable] * 3
        assert await cluster.get(RUNS, KEY) == STORED
        watch.cancel()


class TestLogTail:
    async def test_the_last_lines(self, api: Api) -> None:
        async def log(_: web.Request) -> web.Response:
            return web.Response(body=b"one\ntwo \xff\n")

        api.answers = [log]
        assert await api.cluster.log_tail(KEY, "trainer", 50) == ["one", "two \ufffd"]
        [request] = api.requests
        assert request.path == "/api/v1/namespaces/ns/pods/a/log"
        assert dict(request.query) == {"container": "trainer", "tailLines": "50", "limitBytes": "65536"}

    @pytest.mark.parametrize("code", [pytest.param(400, id="the container starts"), pytest.param(404, id="the pod is gone")])
    async def test_no_log_is_no_lines(self, api: Api, code: int) -> None:
        api.answers = [status(code)]
        assert await api.cluster.log_tail(KEY, "trainer", 50) == []

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            pytest.param(status(403), Forbidden, id="no right to pods/log"),
            pytest.param(status(500), Unavailable, id="its node does not answer"),
            pytest.param(lost, Unavailable, id="cut off"),
        ],
    )
    async def test_what_cannot_be_read_is_an_error(self, api: Api, answer: Handler, error: type[ClusterError]) -> None:
        api.answers = [answer]
        with pytest.raises(error):
            await api.cluster.log_tail(KEY, "trainer", 50)
