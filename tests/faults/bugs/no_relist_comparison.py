"""After a gap only what is listed counts: what was deleted meanwhile is never heard of."""

from collections.abc import Container, Mapping

from retrain_operator.api.names import Key
from retrain_operator.cluster import comparison, reflector
from retrain_operator.cluster.comparison import Change, Seen
from retrain_operator.cluster.protocol import Listing

_complete = comparison.missed_changes


def _without_deletions(known: Mapping[Key, Seen], listing: Listing, *, deleted_meanwhile: Container[str] | None = None) -> list[Change]:
    return [change for change in _complete(known, listing, deleted_meanwhile=deleted_meanwhile) if change.type != "DELETED"]


for module in (comparison, reflector):
    setattr(module, "missed_changes", _without_deletions)  # noqa: B010  # the attribute is an import of theirs
