"""The informer reports every change once, whatever happens to the list and to the watch."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import cast

import pytest
from tests.unit.watched_objects import body, listing, shown

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.comparison import ChangeType, Seen
from retrain_operator.cluster.informer import Informer
from retrain_operator.cluster.protocol import (
    JOBS,
    Body,
    Cluster,
    Expired,
    Forbidden,
    Listing,
    Rejected,
    Resource,
    Unavailable,
    WatchEvent,
)
from retrain_operator.cluster.reflector import Restored

START = datetime(2026, 1, 2, tzinfo=UTC)
HOUR_S = 3600.0


def added(name: str, version: int, **more: str) -> WatchEvent:
    return WatchEvent("ADDED", body(name, version, **more))


def modified(name: str, version: int, **more: str) -> WatchEvent:
    return WatchEvent("MODIFIED", body(name, version, **more))


def deleted(name: str, version: int, **more: str) -> WatchEvent:
    return WatchEvent("DELETED", body(name, version, **more))


def bookmark(version: int) -> WatchEvent:
    return WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


# What one watch does, in order: an event, seconds of silence, an error. After the last it is closed in good order.
WatchScript = Sequence[WatchEvent | float | Exception]
STAYS_OPEN: WatchScript = [math.inf]
# What one list answers: an error, everything, or pages, of which the last may be an error.
ListScript = Listing | Exception | Sequence[Listing | Exception]


class Scripted:
    """A cluster that answers lists and watches from a script; the last line of each is repeated."""

    def __init__(self, clock: VirtualClock, lists: Sequence[ListScript], watches: Sequence[WatchScript]) -> None:
        self.calls: list[str] = []
        self.called_at: list[float] = []
        self._clock = clock
        self._lists = list(lists)
        self._watches = list(watches)

    async def pages(self, resource: Resource, namespace: str | None, *, label_selector: str = "") -> AsyncIterator[Listing]:
        self._note(f"list {label_selector}".strip())
        answer = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        for page in [answer] if isinstance(answer, Listing | Exception) else answer:
            await self._clock.sleep(0.001)
            if isinstance(page, Exception):
                raise page
            yield page

    async def watch(
        self, resource: Resource, namespace: str | None, *, resource_version: str, label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        self._note(f"watch {label_selector} from {resource_version}".replace("  ", " "))
        for step in self._watches.pop(0) if len(self._watches) > 1 else self._watches[0]:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, WatchEvent):
                yield step
            else:
                await (asyncio.Event().wait() if math.isinf(step) else self._clock.sleep(step))

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.called_at.append(self._clock.monotonic())

    def pauses_before(self, call: str) -> Sequence[float]:
        times = [at for name, at in zip(self.calls, self.called_at, strict=True) if name.startswith(call)]
        return [later - earlier for earlier, later in itertools.pairwise(times)]


class Observed:
    """An informer at work on a script, and what it has reported."""

    def __init__(
        self, clock: VirtualClock, cluster: Scripted, namespaces: Sequence[str | None] = (None,), label_selector: str = ""
    ) -> None:
        self.clock = clock
        self.cluster = cluster
        self.reported: list[str] = []
        self.informer = Informer(
            cast(Cluster, cluster),
            JOBS,
            namespaces,
            label_selector=label_selector,
            on_event=lambda type_, body_: self.reported.append(shown(type_, body_)),
            monotonic=clock.monotonic,
            sleep=clock.sleep,
            known_besides=lambda: self.known_besides,
        )
        self.known_besides: dict[Key, Seen] = {}
        self.running = asyncio.ensure_future(self.informer.run())


def observe(lists: Sequence[ListScript], watches: Sequence[WatchScript], scenario: Callable[[Observed], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        observed = Observed(clock, Scripted(clock, lists, watches))
        await scenario(observed)
        assert not observed.running.done()
        observed.running.cancel()

    run_virtual(main, START)


@pytest.mark.parametrize(
    ("lists", "watches", "reported", "calls"),
    [
        pytest.param(
            [listing(9, body("a", 5))],
            [[added("b", 10), modified("a", 11), deleted("b", 12), bookmark(20), math.inf]],
            ["ADDED a@5", "ADDED b@10", "MODIFIED a@11", "DELETED b@12"],
            ["list", "watch from 9"],
            id="list, then watch",
        ),
        pytest.param(
            [listing(9)],
            [[added("a", 10), 400.0], [modified("a", 12), bookmark(30), 400.0], STAYS_OPEN],
            ["ADDED a@10", "MODIFIED a@12"],
            ["list", "watch from 9", "watch from 10", "watch from 30"],
            id="closed by the server: goes on where it was",
        ),
        pytest.param(
            [listing(9, body("a", 5), body("b", 6)), listing(40, body("a", 30), body("c", 31))],
            [[10.0, Expired("too old")], STAYS_OPEN],
            ["ADDED a@5", "ADDED b@6", "DELETED b uid-b", "MODIFIED a@30", "ADDED c@31"],
            ["list", "watch from 9", "list", "watch from 40"],
            id="expired: lists again and compares",
        ),
        pytest.param(
            [listing(9, body("a", 5)), listing(40, body("a", 5))],
            [[10.0, Unavailable("cut")], STAYS_OPEN],
            ["ADDED a@5"],
            ["list", "watch from 9", "list", "watch from 40"],
            id="cut: lists again; nothing missed, nothing reported",
        ),
        pytest.param(
            [
                Unavailable("503", status=503),
                Forbidden("no right yet", status=403),
                Rejected("no CRD yet", status=404),
                listing(9, body("a", 5)),
            ],
            [STAYS_OPEN],
            ["ADDED a@5"],
            ["list", "list", "list", "list", "watch from 9"],
            id="whatever a list fails with: tries on",
        ),
        pytest.param(
            [listing(9, body("a", 5))],
            [[modified("a", 5), modified("a", 4), deleted("x", 10), added("a", 11), math.inf]],
            ["ADDED a@5", "MODIFIED a@11"],
            ["list", "watch from 9"],
            id="repeated, older and unknown: not reported",
        ),
        pytest.param(
            [listing(9, body("a", 5))],
            [[modified("a", 12, uid="new"), modified("b", 13), deleted("a", 14), deleted("a", 15, uid="new"), math.inf]],
            ["ADDED a@5", "DELETED a uid-a", "ADDED a@12", "ADDED b@13", "DELETED a@15"],
            ["list", "watch from 9"],
            id="an event lost by the watch: made good by what follows",
        ),
        pytest.param(
            [listing(900, body("a", 890)), listing(50, body("a", 40))],
            [[10.0, Unavailable("restarted")], [modified("a", 51), math.inf]],
            ["ADDED a@890", "MODIFIED a@40", "MODIFIED a@51"],
            ["list", "watch from 900", "list", "watch from 50"],
            id="restored from a backup: older versions count",
        ),
        pytest.param(
            [[listing(9, body("a", 5)), listing(9, body("b", 6))], [listing(40, body("b", 6)), listing(40, body("c", 31))]],
            [[10.0, Unavailable("cut")], STAYS_OPEN],
            ["ADDED a@5", "ADDED b@6", "DELETED a uid-a", "ADDED c@31"],
            ["list", "watch from 9", "list", "watch from 40"],
            id="pages: on none of them is missing what is on another",
        ),
        pytest.param(
            [[listing(9, body("a", 5), body("b", 6)), Expired("too old")], [listing(20, body("a", 12)), listing(20, body("c", 7))]],
            [STAYS_OPEN],
            ["ADDED a@5", "ADDED b@6", "MODIFIED a@12", "ADDED c@7", "DELETED b uid-b"],
            ["list", "list", "watch from 20"],
            id="the first list breaks off between two pages: the next one leads on from there",
        ),
    ],
)
def test_reports(lists: Sequence[ListScript], watches: Sequence[WatchScript], reported: list[str], calls: list[str]) -> None:
    async def scenario(observed: Observed) -> None:
        await observed.clock.advance(HOUR_S)
        assert observed.reported == reported
        assert observed.cluster.calls == calls
        assert observed.informer.synced.is_set()

    observe(lists, watches, scenario)


@pytest.mark.parametrize(
    ("lists", "watches", "repeated"),
    [
        pytest.param([Unavailable("503", status=503)], [STAYS_OPEN], "list", id="lists that fail"),
        pytest.param([listing(9)], [[Unavailable("refused")]], "watch", id="watches that fail"),
        pytest.param([listing(9)], [[Expired("too old")]], "watch", id="watches that are expired at once"),
        pytest.param([listing(9)], [[]], "watch", id="watches that are closed at once"),
        pytest.param([listing(9)], [[bookmark(10)]], "watch", id="watches that are closed after a bookmark"),
    ],
)
def test_pauses_grow_up_to_ten_seconds(lists: Sequence[ListScript], watches: Sequence[WatchScript], repeated: str) -> None:
    async def scenario(observed: Observed) -> None:
        await observed.clock.advance(HOUR_S)
        pauses = observed.cluster.pauses_before(repeated)
        assert pauses[0] < 0.3
        assert pauses[1] < 0.5
        assert all(5.0 <= pause < 10.1 for pause in pauses[8:])
        assert len({round(pause, 6) for pause in pauses[8:]}) > 100, "pauses are spread"

    observe(lists, watches, scenario)


def test_a_steady_watch_makes_the_next_pause_short_again() -> None:
    watches: list[WatchScript] = [[]] * 10 + [[60.0, Unavailable("cut")], STAYS_OPEN]

    async def scenario(observed: Observed) -> None:
        await observed.clock.advance(HOUR_S)
        *_, growing, after_the_steady_one = observed.cluster.pauses_before("watch")
        assert growing > 5.0
        assert after_the_steady_one < 60.0 + 0.3

    observe([listing(9)], watches, scenario)


def test_no_pause_when_the_server_closes_a_steady_watch() -> None:
    async def scenario(observed: Observed) -> None:
        await observed.clock.advance(HOUR_S)
        assert observed.cluster.pauses_before("watch")[:5] == pytest.approx([400.0] * 5)

    observe([listing(9)], [[400.0]], scenario)


def test_heard_at_is_the_last_sign_of_life() -> None:
    async def scenario(observed: Observed) -> None:
        heard = []
        for _ in range(5):
            heard.append(observed.informer.heard_at)
            await observed.clock.advance(10.0)
        assert heard == pytest.approx([-math.inf, 0.001, 15.001, 25.001, 25.001], abs=0.01)

    observe([listing(9)], [[15.0, bookmark(10), 10.0, added("a", 11), math.inf]], scenario)


def test_synced_and_heard_at_wait_for_the_slowest_namespace() -> None:
    async def main(clock: VirtualClock) -> None:
        cluster = Scripted(clock, [listing(9), Unavailable("503"), listing(9)], [STAYS_OPEN])
        observed = Observed(clock, cluster, ["one", "two"], label_selector="retrain.dev/run")
        await clock.advance(0.01)
        assert not observed.informer.synced.is_set()
        assert observed.informer.heard_at == -math.inf
        await asyncio.wait_for(observed.informer.synced.wait(), 1.0)
        assert observed.informer.heard_at == pytest.approx(0.001)
        assert set(cluster.calls) == {"list retrain.dev/run", "watch retrain.dev/run from 9"}
        observed.running.cancel()

    run_virtual(main, START)


class TestKnownBesides:
    """What is known from the answer to a write, and not from a list or a watch."""

    def test_deleted_before_any_watch_or_list_showed_it(self) -> None:
        async def scenario(observed: Observed) -> None:
            observed.known_besides = {Key("ns", "own"): Seen("uid-own", 11)}
            await observed.clock.advance(HOUR_S)
            assert observed.reported == ["ADDED a@5", "DELETED own uid-own"]

        observe([listing(9, body("a", 5)), listing(20, body("a", 5))], [[10.0, Unavailable("cut")], STAYS_OPEN], scenario)

    def test_younger_than_the_list_stands(self) -> None:
        async def scenario(observed: Observed) -> None:
            observed.known_besides = {Key("ns", "own"): Seen("uid-own", 21)}
            await observed.clock.advance(HOUR_S)
            assert observed.reported == ["ADDED a@5"]

        observe([listing(9, body("a", 5)), listing(20, body("a", 5))], [[10.0, Unavailable("cut")], STAYS_OPEN], scenario)


class TestResync:
    def test_finds_what_a_silent_watch_lost(self) -> None:
        async def scenario(observed: Observed) -> None:
            await observed.clock.advance(600.0)
            await observed.informer.resync()
            assert observed.reported == ["ADDED a@5", "DELETED a uid-a", "ADDED b@12"]
            assert observed.cluster.calls == ["list", "watch from 9", "list"]

        observe([listing(9, body("a", 5)), listing(20, body("b", 12))], [STAYS_OPEN], scenario)

    def test_what_a_late_watch_then_tells_is_known_already(self) -> None:
        async def scenario(observed: Observed) -> None:
            await observed.clock.advance(600.0)
            await observed.informer.resync()
            await observed.clock.advance(600.0)
            assert observed.reported == ["ADDED a@5", "DELETED a uid-a", "ADDED b@12", "MODIFIED b@21"]

        late: WatchScript = [700.0, modified("a", 10), added("b", 11), modified("b", 12), deleted("a", 13), modified("b", 21), math.inf]
        observe([listing(9, body("a", 5)), listing(20, body("b", 12))], [late], scenario)

    def test_events_that_overtake_the_list_stand(self) -> None:
        async def scenario(observed: Observed) -> None:
            await observed.clock.advance(600.0)
            observed.reported.clear()
            await observed.informer.resync()
            assert observed.reported == ["DELETED a@31", "MODIFIED b@32", "ADDED c@33", "DELETED d@35"]

        # All of this is heard while a list is on its way that is older than it, and that saw d in its short life.
        overtaking: WatchScript = [599.999 + 0.0005, deleted("a", 31), modified("b", 32), added("c", 33), deleted("d", 35), math.inf]
        first = listing(9, body("a", 5), body("b", 6), body("d", 7))
        observe([first, listing(20, body("a", 5), body("b", 6), body("d", 7))], [overtaking], scenario)

    def test_nothing_of_a_list_that_breaks_off_between_two_pages(self) -> None:
        async def scenario(observed: Observed) -> None:
            await observed.clock.advance(1.0)
            with pytest.raises(Expired):
                await observed.informer.resync()
            assert observed.reported == ["ADDED a@5", "ADDED b@6"], "b may be suspended on the page that did not come"
            await observed.informer.resync()
            assert observed.reported[2:] == ["MODIFIED a@12", "MODIFIED b@13"]

        changed = listing(20, body("a", 12)), listing(20, body("b", 13))
        observe([listing(9, body("a", 5), body("b", 6)), [changed[0], Expired("too old")], changed], [STAYS_OPEN], scenario)

    def test_events_between_two_pages_stand(self) -> None:
        async def scenario(observed: Observed) -> None:
            await observed.clock.advance(600.0)
            observed.reported.clear()
            await observed.informer.resync()
            assert observed.reported == ["MODIFIED a@31", "DELETED b@32"], "both were on the first page, older"

        overtaking: WatchScript = [599.999 + 0.0015, modified("a", 31), deleted("b", 32), math.inf]
        first = listing(9, body("a", 5), body("b", 6))
        observe([first, [listing(20, *first.items), listing(20)]], [overtaking], scenario)

    def test_its_failure_is_the_callers(self) -> None:
        async def scenario(observed: Observed) -> None:
            await observed.clock.advance(1.0)
            with pytest.raises(Unavailable):
                await observed.informer.resync()
            await observed.informer.resync()
            assert observed.reported == ["ADDED a@5", "DELETED a uid-a"]

        observe([listing(9, body("a", 5)), Unavailable("503"), listing(20)], [STAYS_OPEN], scenario)


def test_what_the_callback_raises_ends_run() -> None:
    def on_event(type_: ChangeType, body_: Body) -> None:
        raise LookupError("a bug")

    async def main(clock: VirtualClock) -> None:
        cluster = cast(Cluster, Scripted(clock, [listing(9, body("a", 5))], [STAYS_OPEN]))
        with pytest.raises(ExceptionGroup) as caught:
            await Informer(cluster, JOBS, [None], on_event=on_event).run()
        assert caught.group_contains(LookupError, match="a bug")

    run_virtual(main, START)


def test_one_warning_for_an_outage_and_one_line_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(observed: Observed) -> None:
        await observed.clock.advance(HOUR_S)
        assert [record.getMessage() for record in caplog.records] == [
            "watching jobs in all namespaces fails, trying on: 503",
            "watching jobs in all namespaces fails, trying on: refused",
            "watching jobs in all namespaces works again",
        ]

    caplog.set_level("INFO")
    lists: Sequence[ListScript] = [*[Unavailable("503")] * 5, *[Unavailable("refused")] * 5, listing(9)]
    observe(lists, [[bookmark(10), math.inf]], scenario)


BUMPED = listing(1_000_000_000, body("a", 3))  # etcd was restored with --bump-revision: objects are older, and nothing else is
BEHIND = listing(50, body("a", 40))
RESTORED = [
    pytest.param([listing(9, body("a", 5)), BUMPED], [[10.0, Expired("compacted")], STAYS_OPEN], True, id="an object is older than before"),
    pytest.param(
        [listing(900, body("a", 890)), BEHIND],
        [[10.0, Unavailable("restarted")], [100.0, Unavailable("cut")], STAYS_OPEN],
        True,
        id="and so is everything, for more than a minute",
    ),
    pytest.param(
        [listing(900, body("a", 890)), BEHIND, BEHIND, listing(901, body("a", 890))],
        [[10.0, Unavailable("restarted")], [10.0, Unavailable("cut")], [100.0, Unavailable("cut")], STAYS_OPEN],
        False,
        id="a list that is late for a while is none",
    ),
]


@pytest.mark.parametrize(("lists", "watches", "ends"), RESTORED)
def test_an_api_server_that_was_restored_from_a_backup_ends_run(
    lists: Sequence[ListScript], watches: Sequence[WatchScript], ends: bool
) -> None:
    async def main(clock: VirtualClock) -> None:
        cluster = cast(Cluster, Scripted(clock, lists, watches))
        informer = Informer(cluster, JOBS, [None], on_event=lambda type_, body_: None, monotonic=clock.monotonic, sleep=clock.sleep)
        running = asyncio.ensure_future(informer.run())
        await clock.advance(HOUR_S)
        assert running.done() is ends
        running.cancel()
        [end] = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(end, ExceptionGroup if ends else asyncio.CancelledError)
        assert not isinstance(end, ExceptionGroup) or end.subgroup(Restored)

    run_virtual(main, START)


def test_a_resync_finds_that_the_api_server_was_restored() -> None:
    async def main(clock: VirtualClock) -> None:
        observed = Observed(clock, Scripted(clock, [listing(900, body("a", 890)), BEHIND], [STAYS_OPEN]))
        await clock.advance(600.0)
        await observed.informer.resync()
        await clock.advance(600.0)
        with pytest.raises(Restored, match="start anew"):
            await observed.informer.resync()
        observed.running.cancel()

    run_virtual(main, START)
