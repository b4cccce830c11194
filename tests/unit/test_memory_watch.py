"""What the in-memory cluster answers to lists and watches: each a rule of the real API server."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.memory_objects import KEY, NOW, made, run, rv, taken

from retrain_operator.api.names import Key
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, Body, Expired, Rejected, Unavailable


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster(lambda: NOW)


class TestWatch:
    async def test_tells_what_happened_after_the_version_and_then_what_happens(self, cluster: MemoryCluster) -> None:
        first = await made(cluster, RUNS, run("first"))
        second = await made(cluster, RUNS, run("second"))
        watch = cluster.watch(RUNS, None, resource_version=rv(first))
        assert await taken(watch, 1) == [("ADDED", "second")]
        await cluster.patch_status(RUNS, Key("ns", "second"), {"phase": "Running"}, resource_version=rv(second))
        await cluster.delete(RUNS, Key("ns", "second"), uid=second["metadata"]["uid"])
        assert await taken(watch, 2) == [("MODIFIED", "second"), ("DELETED", "second")]

    async def test_a_deleted_object_carries_the_version_of_its_end(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, run())
        watch = cluster.watch(RUNS, None, resource_version=rv(body))
        await cluster.delete(RUNS, KEY, uid=body["metadata"]["uid"])
        event = await anext(watch)
        assert event.body == {**body, "metadata": {**body["metadata"], "resourceVersion": "2"}}

    async def test_sees_its_resource_and_namespace_only(self, cluster: MemoryCluster) -> None:
        watch = cluster.watch(RUNS, "ns", resource_version="0")
        await made(cluster, SCHEDULES, run("schedule"))
        await made(cluster, RUNS, run("elsewhere"), namespace="other")
        await made(cluster, RUNS, run("here"))
        assert await taken(watch, 1) == [("ADDED", "here")]

    async def test_a_label_that_comes_and_goes_adds_and_deletes(self, cluster: MemoryCluster) -> None:
        watch = cluster.watch(RUNS, None, resource_version="0", label_selector="team=a")
        await made(cluster, RUNS, run())
        for team in ("a", "a2", "a"):
            await cluster.patch(RUNS, KEY, {"metadata": {"labels": {"team": team}}})
        await cluster.patch(RUNS, KEY, {"metadata": {"annotations": {"x": "y"}}})
        assert [kind for kind, _ in await taken(watch, 4)] == ["ADDED", "DELETED", "ADDED", "MODIFIED"]

    async def test_a_version_that_is_forgotten_is_expired(self) -> None:
        cluster = MemoryCluster(lambda: NOW, history_size=3)
        for number in range(5):
            await made(cluster, RUNS, run(f"r{number}"))
        assert await taken(cluster.watch(RUNS, None, resource_version="2"), 1) == [("ADDED", "r2")]
        with pytest.raises(Expired):
            await anext(cluster.watch(RUNS, None, resource_version="1"))
        cluster.store.forget_history()
        with pytest.raises(Expired):
            await anext(cluster.watch(RUNS, None, resource_version="4"))

    async def test_a_version_of_the_future_is_no_answer(self, cluster: MemoryCluster) -> None:
        with pytest.raises(Unavailable, match="Too large resource version"):
            await anext(cluster.watch(RUNS, None, resource_version="9"))

    async def test_bookmarks_carry_the_version_only(self, cluster: MemoryCluster) -> None:
        watch = cluster.watch(RUNS, None, resource_version="0")
        await made(cluster, RUNS, run())
        await taken(watch, 1)
        await made(cluster, SCHEDULES, run())
        cluster.send_bookmarks()
        event = await anext(watch)
        assert event.type == "BOOKMARK"
        assert event.body == {"apiVersion": "retrain.dev/v1alpha1", "kind": "RetrainJob", "metadata": {"resourceVersion": "2"}}

    async def test_ends_normally_when_closed(self, cluster: MemoryCluster) -> None:
        await made(cluster, RUNS, run())
        watch = cluster.watch(RUNS, None, resource_version="0")
        await taken(watch, 1)
        cluster.close_watches()
        assert [event async for event in watch] == []


class TestList:
    @pytest.mark.parametrize(
        ("selector", "names"),
        [
            pytest.param("", ["a", "b", "c"], id="none"),
            pytest.param("team=x", ["a"], id="="),
            pytest.param("team==x", ["a"], id="=="),
            pytest.param("team!=x", ["b", "c"], id="!= matches what has no such label"),
            pytest.param("team in (x, y)", ["a", "b"], id="in"),
            pytest.param("team notin (x)", ["b", "c"], id="notin matches what has no such label"),
            pytest.param("team", ["a", "b"], id="exists"),
            pytest.param("!team", ["c"], id="does not exist"),
            pytest.param("team in (x,y),retrain.dev/run=1", ["b"], id="all terms"),
        ],
    )
    async def test_label_selectors(self, cluster: MemoryCluster, selector: str, names: list[str]) -> None:
        await made(cluster, RUNS, run("b", labels={"team": "y", "retrain.dev/run": "1"}))
        await made(cluster, RUNS, run("a", labels={"team": "x"}))
        await made(cluster, RUNS, run("c"))
        listing = await cluster.list(RUNS, "ns", label_selector=selector)
        assert [body["metadata"]["name"] for body in listing.items] == names
        assert listing.resource_version == "3"

    @pytest.mark.parametrize(
        ("selector", "names"),
        [
            pytest.param("metadata.name=a", ["a"], id="name"),
            pytest.param("metadata.name=a,metadata.namespace=ns", ["a"], id="namespace"),
            pytest.param("status.phase=Running", ["a"], id="phase"),
            pytest.param("status.phase!=Running", ["b"], id="another phase, or none"),
            pytest.param("spec.schedule=churn", ["b"], id="spec"),
            pytest.param("spec.trainer.image=x,spec.suspend=false", ["a"], id="nested, and a boolean"),
        ],
    )
    async def test_field_selectors(self, cluster: MemoryCluster, selector: str, names: list[str]) -> None:
        body = await made(cluster, RUNS, run("a"))
        await cluster.patch_status(RUNS, KEY, {"phase": "Running"}, resource_version=rv(body))
        await made(cluster, RUNS, {"metadata": {"name": "b"}, "spec": {"schedule": "churn"}})
        listing = await cluster.list(RUNS, None, field_selector=selector)
        assert [body["metadata"]["name"] for body in listing.items] == names

    @pytest.mark.parametrize("selectors", [{"label_selector": "a=b c"}, {"label_selector": "a in x"}, {"field_selector": "status.x=1"}])
    async def test_selectors_that_mean_nothing_are_refused(self, cluster: MemoryCluster, selectors: dict[str, str]) -> None:
        with pytest.raises(Rejected):
            await cluster.list(RUNS, None, **selectors)

    async def test_all_namespaces_or_one(self, cluster: MemoryCluster) -> None:
        await made(cluster, RUNS, run("z"), namespace="a")
        await made(cluster, RUNS, run("a"), namespace="b")
        assert [body["metadata"]["name"] for body in (await cluster.list(RUNS, None)).items] == ["z", "a"]
        assert [body["metadata"]["name"] for body in (await cluster.list(RUNS, "b")).items] == ["a"]


class TestIsolation:
    async def test_nobody_can_reach_into_the_store(self, cluster: MemoryCluster) -> None:
        given = run(labels={"a": "b"})
        watch = cluster.watch(RUNS, None, resource_version="0")
        answers = [await made(cluster, RUNS, given)]
        answers += (await cluster.list(RUNS, None)).items
        answers += [body for body in [await cluster.get(RUNS, KEY)] if body is not None]
        answers += [(await anext(watch)).body]
        before = await cluster.get(RUNS, KEY)
        for body in [given, *answers]:
            body["spec"]["trainer"]["image"] = "changed"
            body["metadata"]["labels"]["a"] = "changed"
        assert await cluster.get(RUNS, KEY) == before

    async def test_what_comes_back_is_json(self, cluster: MemoryCluster) -> None:
        body = await made(cluster, RUNS, {"metadata": {"name": "a"}, "spec": {"reasons": ("one", "two")}})
        assert body["spec"] == {"reasons": ["one", "two"]}

    async def test_what_json_cannot_hold_is_a_bug_of_the_caller(self, cluster: MemoryCluster) -> None:
        with pytest.raises(TypeError, match="datetime"):
            await cluster.create(RUNS, "ns", {"metadata": {"name": "a"}, "spec": {"at": NOW}})


NAMES, TEAMS, NAMESPACES = ("a", "b", "c"), (None, "x", "y"), ("one", "two")
WRITES = st.tuples(st.sampled_from(["create", "label", "status", "delete"]), st.sampled_from(NAMESPACES), st.sampled_from(NAMES))


@given(
    writes=st.lists(st.tuples(WRITES, st.sampled_from(TEAMS)), max_size=40),
    listed_after=st.integers(0, 40),
    selector=st.sampled_from(["", "team=x", "team!=x", "!team"]),
    namespace=st.sampled_from([None, "one"]),
)
async def test_a_list_and_the_watch_from_it_lead_to_the_next_list(
    writes: list[tuple[tuple[str, str, str], str | None]], listed_after: int, selector: str, namespace: str | None
) -> None:
    """Whatever is written, and whenever the list is taken: its items changed by the events are the items of a list at the end."""
    cluster = MemoryCluster(lambda: NOW)
    known: dict[Key, Body] = {}
    version = "0"
    for number, (write, team) in enumerate(writes):
        if number == listed_after:
            listing = await cluster.list(RUNS, namespace, label_selector=selector)
            known, version = {_key(body): body for body in listing.items}, listing.resource_version
        await _written(cluster, *write, team)
    watch = cluster.watch(RUNS, namespace, resource_version=version, label_selector=selector)
    asyncio.get_running_loop().call_soon(cluster.send_bookmarks)  # marks the end
    async for event in watch:
        assert int(rv(event.body)) > int(version) or event.type == "BOOKMARK"
        version = rv(event.body)
        if event.type == "BOOKMARK":
            break
        assert (event.type == "ADDED") is (_key(event.body) not in known)
        if event.type == "DELETED":
            del known[_key(event.body)]
        else:
            known[_key(event.body)] = event.body
    await watch.aclose()
    listing = await cluster.list(RUNS, namespace, label_selector=selector)
    assert known == {_key(body): body for body in listing.items}
    assert version == listing.resource_version


def _key(body: Body) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


async def _written(cluster: MemoryCluster, write: str, namespace: str, name: str, team: str | None) -> None:
    key, labels = Key(namespace, name), {"team": team} if team else {}
    stored = await cluster.get(RUNS, key)
    if write == "create":
        await cluster.create(RUNS, namespace, run(name, labels=labels))
    elif write == "label":
        await cluster.patch(RUNS, key, {"metadata": {"labels": {"team": team}}})
    elif stored is not None and write == "status":
        await cluster.patch_status(RUNS, key, {"phase": team}, resource_version=rv(stored))
    elif stored is not None:
        await cluster.delete(RUNS, key, uid=stored["metadata"]["uid"])
