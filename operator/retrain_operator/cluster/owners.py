"""Owner references of the in-memory API server: who belongs to whom, and who is left when the last owner has gone."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Generic, TypeVar

from retrain_operator.cluster.objects import owner_uids
from retrain_operator.cluster.protocol import Body

Place = TypeVar("Place", bound=Hashable)  # where an object lies


class Owners(Generic[Place]):
    """Index of dependents by their owners' UIDs. `on_suspect`: told, a moment later, of places whose owners may all be gone."""

    def __init__(self, on_suspect: Callable[[Place], None]) -> None:
        self._on_suspect = on_suspect
        self._uids: set[str] = set()
        self._dependents: dict[str, dict[Place, None]] = defaultdict(dict)  # by the owner's UID, in order
        self._suspects: dict[Place, None] = {}

    def put(self, place: Place, old: Body | None, new: Body) -> None:
        """The object was created, or changed. Raises Rejected for a reference without what it must have."""
        references = new["metadata"].get("ownerReferences")
        if old is None:
            self._uids.add(new["metadata"]["uid"])
            if references:
                self._index(place, [], owner_uids(new))
        elif references is not old["metadata"].get("ownerReferences"):
            self._index(place, owner_uids(old), owner_uids(new))

    def remove(self, place: Place, old: Body) -> None:
        """The object is gone."""
        uid = old["metadata"]["uid"]
        self._uids.discard(uid)
        self._index(place, owner_uids(old), [])
        for dependent in self.dependents(uid):
            self._suspect(dependent)

    def dependents(self, uid: str) -> Collection[Place]:
        """Where the objects lie that name this UID as an owner, oldest first."""
        return self._dependents.get(uid, {}).keys()

    def are_gone(self, body: Body) -> bool:
        """Whether the object had owners, and none is left."""
        return bool(owners := owner_uids(body)) and self._uids.isdisjoint(owners)

    def _index(self, dependent: Place, old: Sequence[str], new: Sequence[str]) -> None:
        if old == new:
            return
        for uid in old:
            del self._dependents[uid][dependent]
            if not self._dependents[uid]:
                del self._dependents[uid]
        for uid in new:
            self._dependents[uid][dependent] = None
        if new and self._uids.isdisjoint(new):
            self._suspect(dependent)

    def _suspect(self, dependent: Place) -> None:
        if not self._suspects:
            # Not at once: the real collector comes a moment after the owner is gone, and callers must not rely on less.
            asyncio.get_running_loop().call_soon(self._tell)
        self._suspects[dependent] = None

    def _tell(self) -> None:
        suspects, self._suspects = self._suspects, {}
        for place in suspects:
            self._on_suspect(place)
