"""What the client makes of HTTP at its worst. The server here is aiohttp's own, and says exactly what a test tells it to."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from retrain_operator.api.names import Key
from retrain_operator.cluster import connection, kube
from retrain_operator.cluster.credentials import Credentials
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.protocol import (
    CONFIG_MAPS,
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
    WatchEvent,
)

KEY = Key("ns", "a")
STORED = {"metadata": {"name": "a", "namespace": "ns", "uid": "u1", "resourceVersion": "7"}}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def status(code: int, message: str = "says why", *, reason: str = "", kind: str = "", retry_after: str = "") -> Handler:
    """A `Status` object, as the API server answers a failure."""

    async def answer(_: web.Request) -> web.Response:
        body = {"kind": "Status", "message": message, "reason": reason, "code": code, "details": {"kind": kind} if kind else {}}
        return web.json_response(body, status=code, headers={"Retry-After": retry_after} if retry_after else {})

    return answer


def stored(body: dict[str, Any] | None = None) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(STORED if body is None else body)

    return answer


async def lost(request: web.Request) -> web.StreamResponse:
    """The write is done, and the connection breaks before the answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def is_a_page(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>a proxy says hello</html>")


class Api:
    """A client whose server answers each request by the next of `answers`, the last one repeated."""

    def __init__(self) -> None:
        self.answers: list[Handler] = []
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self.counted: list[tuple[str, str, int]] = []
        self.pauses_s: list[float] = []
        self.token: str | None = "Bearer first"
        self.cluster: KubeCluster

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        text = await request.text()
        self.bodies.append(json.loads(text) if text else None)
        return await (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)

    async def sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)

    def count(self, verb: str, plural: str, code: int, seconds: float) -> None:
        assert seconds >= 0
        self.counted.append((verb, plural, code))


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application(client_max_size=10 << 20)
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0)
    try:
        yield str(server.make_url("/")).rstrip("/")
    finally:
        await server.close()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    fake = Api()
    async with (
        serving(fake.handle) as url,
        KubeCluster(Credentials(url, None, lambda: fake.token), on_request=fake.count, sleep=fake.sleep) as fake.cluster,
    ):
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
        assert await api.cluster.create(RUNS, "ns", {"metadata": {"name": "a"}}) == STORED
        assert len(api.requests) == 3
        assert api.bodies[0] == api.bodies[2] == {"metadata": {"name": "a"}}
        assert api.pauses_s[0] < api.pauses_s[1] < 0.5

    async def test_a_name_that_is_taken_is_an_answer(self, api: Api) -> None:
        api.answers = [lost, status(409, reason="AlreadyExists", kind="retrainjobs")]
        assert await api.cluster.create(RUNS, "ns", {"metadata": {"name": "a"}}) == AlreadyExists(KEY)

    async def test_is_given_up_after_a_few_times(self, api: Api) -> None:
        api.answers = [status(503, "etcd has no leader")]
        with pytest.raises(Unavailable, match="etcd has no leader"):
            await api.cluster.create(RUNS, "ns", {"metadata": {"name": "a"}})
        assert len(api.requests) == 1 + len(kube.REPEAT_PAUSES_S)
        assert api.counted == [("create", "retrainjobs", 503)] * len(api.requests)

    async def test_waits_as_long_as_the_server_asks_for(self, api: Api) -> None:
        api.answers = [status(429, retry_after="2"), stored()]
        await api.cluster.create(RUNS, "ns", {"metadata": {"name": "a"}})
        assert api.pauses_s == [2.0]

    async def test_does_not_wait_longer_than_a_write_may_take(self, api: Api) -> None:
        api.answers = [status(429, retry_after="60")]
        with pytest.raises(Unavailable) as caught:
            await api.cluster.create(RUNS, "ns", {"metadata": {"name": "a"}})
        assert caught.value.retry_after_s == 60.0
        assert api.pauses_s == []

    @pytest.mark.usefixtures("short_timeouts")
    async def test_ends_in_time_with_all_its_repeats(self, api: Api) -> None:
        api.answers = [lost, hangs]
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable, match="no answer"):
            await api.cluster.create(RUNS, "ns", {"metadata": {"name": "a"}})
        assert asyncio.get_running_loop().time() - began < 1.0
        assert api.counted == [("create", "retrainjobs", 0)] * 2

    async def test_of_what_is_refused_is_not_repeated(self, api: Api) -> None:
        api.answers = [status(422, "spec.schedule: Invalid value", reason="Invalid", kind="RetrainSchedule")]
        with pytest.raises(Rejected, match=r"spec\.schedule: Invalid value"):
            await api.cluster.create(RUNS, "ns", {"metadata": {"name": "a"}})
        assert len(api.requests) == 1


class TestOtherWrites:
    async def test_are_not_repeated(self, api: Api) -> None:
        api.answers = [status(503, retry_after="3")]
        for write in (
            api.cluster.replace(CONFIG_MAPS, KEY, STORED),
            api.cluster.patch_status(RUNS, KEY, {}, resource_version="7"),
            api.cluster.delete(JOBS, KEY, uid="u1"),
        ):
            with pytest.raises(Unavailable) as caught:
                await write
            assert caught.value.retry_after_s == 3.0
        assert [verb for verb, *_ in api.counted] == ["update", "patch", "delete"]

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

    async def test_of_nothing(self, api: Api) -> None:
        api.answers = [stored({"metadata": {"resourceVersion": "9"}, "items": None})]
        assert (await api.cluster.list(RUNS, "ns")).items == []


def line(type_: str, version: int, **more: Any) -> bytes:
    return json.dumps({"type": type_, "object": {"metadata": {"resourceVersion": str(version)}, **more}}).encode() + b"\n"


def stream(*chunks: bytes, ends: bool = True) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if not ends:
            await asyncio.Event().wait()
        return response

    return answer


class Watched(list[WatchEvent]):
    """The events of a watch up to its end, and what ended it."""

    error: ClusterError | None = None

    @property
    def versions(self) -> list[int]:
        return [int(event.body["metadata"]["resourceVersion"]) for event in self]


async def watched(api: Api) -> Watched:
    events = Watched()
    try:
        async for event in api.cluster.watch(JOBS, None, resource_version="5", label_selector="retrain.dev/run"):
            events.append(event)
    except ClusterError as error:
        events.error = error
    return events


class TestWatch:
    async def test_asks_for_bookmarks_and_for_an_end(self, api: Api) -> None:
        api.answers = [stream()]
        assert await watched(api) == []
        query = dict(api.requests[0].query)
        assert 300 <= int(query.pop("timeoutSeconds")) <= 600
        assert query == {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "5", "labelSelector": "retrain.dev/run"}
        assert api.counted == [("watch", "jobs", 200)]

    @pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
    async def test_lines_and_chunks_have_nothing_to_do_with_each_other(self, api: Api, size: int) -> None:
        text = line("ADDED", 6) + line("MODIFIED", 7) + line("BOOKMARK", 9) + line("DELETED", 12)
        api.answers = [stream(*(text[start : start + size] for start in range(0, len(text), size)))]
        events = await watched(api)
        assert [event.type for event in events] == ["ADDED", "MODIFIED", "BOOKMARK", "DELETED"]
        assert events.versions == [6, 7, 9, 12]
        assert events.error is None

    async def test_objects_as_large_as_etcd_takes_and_larger(self, api: Api) -> None:
        large = line("ADDED", 6, data="x" * (4 << 20))
        api.answers = [stream(large + line("MODIFIED", 7), large)]
        events = await watched(api)
        assert events.versions == [6, 7, 6]
        assert len(events[2].body["data"]) == 4 << 20

    async def test_events_come_at_once(self, api: Api) -> None:
        api.answers = [stream(line("ADDED", 6), line("ADDED", 7)[:20], ends=False)]
        events = api.cluster.watch(JOBS, None, resource_version="5")
        event = await asyncio.wait_for(anext(aiter(events)), 5.0)
        assert event.body["metadata"]["resourceVersion"] == "6"

    @pytest.mark.parametrize(
        ("answer", "error", "says"),
        [
            pytest.param(stream(line("ADDED", 6), line("ERROR", 0, code=410, message="too old")), Expired, "too old", id="ERROR 410"),
            pytest.param(stream(line("ADDED", 6), line("ERROR", 0, code=500, message="oops")), Unavailable, "oops", id="ERROR 500"),
            pytest.param(stream(line("ADDED", 6), line("ERROR", 0)), Unavailable, "without a message", id="ERROR that says nothing"),
            pytest.param(stream(line("ADDED", 6), line("ADDED", 7)[:20]), Unavailable, "cut within an event", id="cut line"),
            pytest.param(stream(line("ADDED", 6), b"<html>\n"), Unavailable, "not JSON", id="not JSON"),
        ],
    )
    async def test_a_failure_comes_after_the_events_before_it(
        self, api: Api, answer: Handler, error: type[ClusterError], says: str
    ) -> None:
        api.answers = [answer]
        events = await watched(api)
        assert events.versions == [6]
        assert type(events.error) is error
        assert says in str(events.error)

    async def test_a_broken_connection(self, api: Api) -> None:
        async def breaks(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(line("ADDED", 6))
            return await lost(request)

        api.answers = [breaks]
        assert isinstance((await watched(api)).error, Unavailable)

    async def test_silence(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "WATCH_TIMEOUT", aiohttp.ClientTimeout(total=None, sock_read=0.1))
        api.answers = [stream(line("BOOKMARK", 6), ends=False)]
        events = await watched(api)
        assert events.versions == [6]
        assert isinstance(events.error, Unavailable)

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            pytest.param(status(410, reason="Expired"), Expired, id="410"),
            pytest.param(status(403), Forbidden, id="403"),
            pytest.param(status(503), Unavailable, id="503"),
            pytest.param(status(404), Rejected, id="404"),
        ],
    )
    async def test_refused(self, api: Api, answer: Handler, error: type[ClusterError]) -> None:
        api.answers = [answer]
        assert type((await watched(api)).error) is error
        assert len(api.counted) == 1


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
