"""What a watch did not tell: a fresh list compared with what is known. Purely computational."""

from collections.abc import Container, Mapping
from typing import Literal, NamedTuple

from retrain_operator.api.names import Key
from retrain_operator.cluster.protocol import Body, Listing

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


class Seen(NamedTuple):
    """What has to be remembered of an object. Resource versions are integers that grow, in all of Kubernetes since 1.35."""

    uid: str
    version: int


class Change(NamedTuple):
    """What a watch would have told. The body of DELETED has only the namespace, the name and the uid."""

    type: ChangeType
    body: Body


def key_of(body: Body) -> Key:
    metadata = body["metadata"]
    return Key(metadata["namespace"], metadata["name"])


def seen_of(body: Body) -> Seen:
    metadata = body["metadata"]
    return Seen(metadata["uid"], int(metadata["resourceVersion"]))


def without_content(body: Body) -> Body:
    """What a comparison reads of an object."""
    metadata = body["metadata"]
    return {"metadata": {field: metadata[field] for field in ("namespace", "name", "uid", "resourceVersion")}}


def deletion(key: Key, uid: str) -> Change:
    return Change("DELETED", {"metadata": {"namespace": key.namespace, "name": key.name, "uid": uid}})


def missed_changes(known: Mapping[Key, Seen], listing: Listing, *, deleted_meanwhile: Container[str] | None = None) -> list[Change]:
    """Changes that lead from `known` to the listing, deletions first. An object that was made anew is deleted and added.

    While a watch goes on, its events can overtake the list. Then give `deleted_meanwhile`, the uids whose deletion was heard since the
    list was asked for, and `known` as it is when the list has come: what is newer than the list stands. Without it the list is the truth,
    even where its versions are older, as after a restored backup.
    """
    listed_at = int(listing.resource_version)
    missing = dict(known)
    deleted: list[Change] = []
    changed: list[Change] = []
    for body in listing.items:
        key, seen = key_of(body), seen_of(body)
        before = missing.pop(key, None)
        if before == seen or (before and deleted_meanwhile is not None and before.version > listed_at):
            continue
        if before and before.uid == seen.uid:
            changed.append(Change("MODIFIED", body))
            continue
        if before:
            deleted.append(deletion(key, before.uid))
        if deleted_meanwhile is None or seen.uid not in deleted_meanwhile:
            changed.append(Change("ADDED", body))
    for key, before in missing.items():
        if deleted_meanwhile is None or before.version <= listed_at:
            deleted.append(deletion(key, before.uid))
    return deleted + changed
