"""What the client makes of a watch: lines, chunks, errors and silence."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from tests.unit.fake_api import Api, Handler, api_and_client, line, lost, status, stream

from retrain_operator.cluster import connection
from retrain_operator.cluster.protocol import (
    JOBS,
    ClusterError,
    Expired,
    Forbidden,
    Rejected,
    Unavailable,
    WatchEvent,
)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with api_and_client() as fake:
        yield fake


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

    async def test_an_object_that_nests_more_deeply_than_python_reads(self, api: Api) -> None:
        deep = line("ADDED", 6, spec="DEEP").replace(b'"DEEP"', b'{"a":' * 10_000 + b"1" + b"}" * 10_000)
        api.answers = [stream(deep + line("ADDED", 7))]
        assert (await watched(api)).versions == [6, 7]

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
