"""The changes of one resource in one namespace, in order, each once, for as long as the process lives."""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping

from retrain_operator.api.names import Key
from retrain_operator.cluster.comparison import Change, ChangeType, Seen, deletion, key_of, missed_changes, seen_of, without_content
from retrain_operator.cluster.outage import Outage
from retrain_operator.cluster.protocol import Body, Cluster, ClusterError, Expired, Listing, Resource, WatchEvent

STEADY_WATCH_S = 5.0  # a watch that ended earlier counts as a failure, even when the server closed it in good order
PAUSE_FIRST_S = 0.2
PAUSE_MOST_S = 10.0
OLD_LISTS_S = 60.0  # a list that is late for as long is not late: time was turned back

OnEvent = Callable[[ChangeType, Body], None]

log = logging.getLogger(__name__)


class Restored(Exception):
    """The API server shows a state from before one that it has shown: its store was restored from a backup.

    What is known in this process may never have happened, and what was deleted may be back. It ends, and starts anew from lists.
    """


class Reflector:
    """Lists once, then watches; lists again after a watch that failed, and reports what that missed.

    A watch that the server ended goes on where it was. `heard_at` is -inf until the first list has come.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        namespace: str | None,
        label_selector: str,
        *,
        on_event: OnEvent,
        on_listed: Callable[[], None],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        known_besides: Callable[[], Mapping[Key, Seen]] = dict,
    ) -> None:
        self.heard_at = -math.inf
        self._cluster = cluster
        self._resource = resource
        self._namespace = namespace
        self._label_selector = label_selector
        self._on_event = on_event
        self._on_listed = on_listed
        self._monotonic = monotonic
        self._sleep = sleep
        self._known_besides = known_besides
        self._outage = Outage(log, f"watching {resource.plural} in {namespace or 'all namespaces'}")
        self._known: dict[Key, Seen] = {}
        self._watched = ""  # the version that the watch goes on from; empty: list first
        self._listed_at = 0  # events up to this version are in the last list
        self._newest = 0  # the highest version of any list or event
        self._old_lists_since: float | None = None
        self._listing = asyncio.Lock()  # what is known stays as it is between the pages of a list, but for the watch
        self._deleted_meanwhile: set[str] | None = None

    async def follow(self) -> None:
        """Until cancelled. Raises Restored."""
        failures = 0
        while True:
            watching_since = math.inf
            failed = False
            try:
                if not self._watched:
                    await self._list()
                watching_since = self._monotonic()
                async for event in self._cluster.watch(
                    self._resource,
                    self._namespace,
                    resource_version=self._watched,
                    label_selector=self._label_selector,
                ):
                    self._hear(event)
            except ClusterError as error:
                failed = True
                self._watched = ""
                if not isinstance(error, Expired):
                    self._outage.failed(error)
            if self._monotonic() - watching_since >= STEADY_WATCH_S:
                failures = 0
                if not failed:
                    continue
            await self._sleep(_pause_s(failures))
            failures += 1

    async def resync(self) -> None:
        """Lists while the watch goes on, and reports what it missed. Raises ClusterError, Restored."""
        async with self._listing:
            deleted_meanwhile: set[str] = set()
            self._deleted_meanwhile = deleted_meanwhile
            try:
                listing = await self._ask()
            finally:
                self._deleted_meanwhile = None
            self._listed_at = max(self._listed_at, int(listing.resource_version))
            self._report(missed_changes(self._known, listing, deleted_meanwhile=deleted_meanwhile))

    async def _list(self) -> None:
        async with self._listing:
            listing = await self._ask()
            self._watched = listing.resource_version
            self._listed_at = int(listing.resource_version)
            self._report(missed_changes(self._known, listing))

    async def _ask(self) -> Listing:
        """The list, of which only what is not known has its content: a long list is never in memory as a whole.

        Before the first list is there nothing is decided, so it is reported page by page. Any later one counts as a whole: a schedule on
        its last page may be suspended by now.
        """
        items: list[Body] = []
        version = ""
        newest = self._newest  # a list shows everything that was told before it was asked for
        async for page in self._cluster.pages(self._resource, self._namespace, label_selector=self._label_selector):
            version = page.resource_version
            if self.heard_at == -math.inf:
                for change in missed_changes({key: self._known[key] for key in map(key_of, page.items) if key in self._known}, page):
                    self._tell(change)
            items += [body if self._known.get(key_of(body)) != seen_of(body) else without_content(body) for body in page.items]
        self.heard_at = self._monotonic()
        self._require_progress(items, int(version), newest)
        return Listing(items, version)

    def _require_progress(self, items: Iterable[Body], version: int, newest: int) -> None:
        """Raises Restored. An object's version never goes back, and that of all objects only where a list is late."""
        self._newest = max(self._newest, version)
        self._old_lists_since = None if version >= newest else self._old_lists_since or self.heard_at
        is_old = self._old_lists_since is not None and self.heard_at - self._old_lists_since > OLD_LISTS_S
        for body in items:
            before, seen = self._known.get(key_of(body)), seen_of(body)
            is_old |= before is not None and before.uid == seen.uid and seen.version < before.version <= version
        if is_old:
            raise Restored(f"{self._resource.plural}: the API server was restored from a backup; start anew")

    def _report(self, changes: list[Change]) -> None:
        for change in changes:
            self._tell(change)
        # What is known from the answer to a create, and was deleted before any watch or list had shown it.
        for key, seen in self._known_besides().items():
            if key not in self._known and self._namespace in (None, key.namespace) and seen.version <= self._listed_at:
                self._note_deletion(seen.uid)
                self._on_event("DELETED", deletion(key, seen.uid).body)
        self._on_listed()

    def _hear(self, event: WatchEvent) -> None:
        self.heard_at = self._monotonic()
        self._outage.over()
        self._watched = event.body["metadata"]["resourceVersion"]
        self._newest = max(self._newest, int(self._watched))
        if event.type == "BOOKMARK" or int(self._watched) <= self._listed_at:
            return
        key, seen = key_of(event.body), seen_of(event.body)
        before = self._known.get(key)
        if event.type == "DELETED":
            self._note_deletion(seen.uid)
            if before and before.uid == seen.uid:
                self._tell(Change("DELETED", event.body))
        elif before is None:
            self._tell(Change("ADDED", event.body))
        elif before.version < seen.version:
            if before.uid == seen.uid:
                self._tell(Change("MODIFIED", event.body))
            else:
                self._tell(deletion(key, before.uid))
                self._tell(Change("ADDED", event.body))

    def _tell(self, change: Change) -> None:
        key = key_of(change.body)
        if change.type == "DELETED":
            del self._known[key]
            self._note_deletion(change.body["metadata"]["uid"])
        else:
            self._known[key] = seen_of(change.body)
        self._on_event(change.type, change.body)

    def _note_deletion(self, uid: str) -> None:
        if self._deleted_meanwhile is not None:
            self._deleted_meanwhile.add(uid)


def _pause_s(failures: int) -> float:
    return random.uniform(0.5, 1.0) * min(PAUSE_MOST_S, PAUSE_FIRST_S * 2.0 ** min(failures, 10))
