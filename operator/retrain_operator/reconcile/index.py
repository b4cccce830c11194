"""Keys of objects by something that they have in common."""

from collections.abc import Set
from typing import Generic, TypeVar

from retrain_operator.api.names import Key

T = TypeVar("T")


class Index(Generic[T]):
    """What nothing has in common any more takes no room."""

    def __init__(self) -> None:
        self._keys: dict[T, set[Key]] = {}

    def __getitem__(self, common: T) -> Set[Key]:
        return self._keys.get(common, frozenset())

    def add(self, common: T, key: Key) -> None:
        """`key` has it in common with others."""
        self._keys.setdefault(common, set()).add(key)

    def discard(self, common: T, key: Key) -> None:
        """`key` has it no more, if it ever had."""
        keys = self._keys.get(common, set())
        keys.discard(key)
        if not keys:
            self._keys.pop(common, None)
