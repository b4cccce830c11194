"""The rules of the Kubernetes API server, on a dict: what is stored, under which version, and what follows from a write.

Synchronous, and without copies: a body that goes in must not be changed afterwards, a body that comes out is only to be read. A write makes
a new body that shares what did not change. `MemoryCluster` puts the protocol, isolation and faults around it; the embedded controllers
work on it directly, as their originals do: faults are for the operator.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from retrain_operator.api.names import Key
from retrain_operator.cluster.defaults import job_defaults, pod_defaults
from retrain_operator.cluster.history import Change, History
from retrain_operator.cluster.objects import (
    SERVER_OWNED,
    checked_name,
    merge_patch,
    owner_uids,
    pod_grace_s,
    resource_version_of,
    timestamp,
)
from retrain_operator.cluster.owners import Owners
from retrain_operator.cluster.protocol import (
    DEPLOYMENTS,
    EVENTS,
    INFERENCE_SERVICES,
    JOBS,
    LEASES,
    PODS,
    RUNS,
    SCHEDULES,
    AlreadyExists,
    Body,
    Conflict,
    Listing,
    Rejected,
    Resource,
)
from retrain_operator.cluster.selectors import field_predicate, label_predicate

# (new body, stored body or None at create) -> new body with defaults. Raises Rejected. Asked when more than metadata or status changes.
Admission = Callable[[Body, Body | None], Body]

FOREGROUND = "foregroundDeletion"
HAVE_STATUS = frozenset({SCHEDULES, RUNS, JOBS, PODS, DEPLOYMENTS, INFERENCE_SERVICES})  # these have a status subresource, and a generation

# PUT of an object that is not there creates it, unless the body says which UID it means. Seen on 1.36; for all others it answers 404.
CREATED_BY_REPLACE = frozenset({LEASES, EVENTS})

_BUILT_IN: dict[Resource, Admission] = {JOBS: job_defaults, PODS: pod_defaults}


class _Table:
    """One resource: its objects, what happened to them, and the rules for them."""

    __slots__ = ("admissions", "created_by_replace", "has_status", "history", "objects", "resource")

    def __init__(self, resource: Resource, admission: Admission | None, history_size: int) -> None:
        self.resource = resource
        self.objects: dict[Key, Body] = {}
        self.history = History(history_size)
        self.has_status = resource in HAVE_STATUS
        self.created_by_replace = resource in CREATED_BY_REPLACE
        self.admissions = [admit for admit in (_BUILT_IN.get(resource), admission) if admit is not None]


_Place = tuple[_Table, Key]


class Store:
    """All objects of all resources. One integer counts the writes; it is the resource version of everything."""

    def __init__(
        self, now: Callable[[], datetime], *, admission: Mapping[Resource, Admission] | None = None, history_size: int = 1024
    ) -> None:
        self.version = 0
        self._now = now
        self._admission = dict(admission or {})
        self._history_size = history_size
        self._tables: dict[str, _Table] = {}  # by plural: a string knows its hash, a Resource computes it at every look
        self._serial = 0
        self._owners: Owners[_Place] = Owners(self._collect)
        self._foreground: dict[str, _Place] = {}  # by UID: owners that go when their last dependent has gone

    def history(self, resource: Resource) -> History:
        return self._table(resource).history

    def get(self, resource: Resource, key: Key) -> Body | None:
        return self._table(resource).objects.get(key)

    def list(self, resource: Resource, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "") -> Listing:
        """In the order of namespace and name, as the API server answers."""
        labels, fields = label_predicate(label_selector), field_predicate(field_selector)
        found = [
            (key, body)
            for key, body in self._table(resource).objects.items()
            if (namespace is None or key.namespace == namespace) and labels(body["metadata"].get("labels") or {}) and fields(body)
        ]
        return Listing([body for _, body in sorted(found, key=lambda item: item[0])], str(self.version))

    def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body | AlreadyExists:
        """Raises Rejected for a name, a version or an owner reference that the API server would refuse, and what admission raises."""
        given = body.get("metadata") or {}
        if given.get("resourceVersion"):
            raise Rejected("resourceVersion should not be set on objects to be created", status=400)
        if given.get("namespace", namespace) != namespace:
            raise Rejected("the namespace of the object does not match the namespace of the request", status=400)
        table = self._table(resource)
        self._serial += 1
        key = Key(namespace, checked_name(given, self._serial))
        metadata = {
            **{field: value for field, value in given.items() if field not in SERVER_OWNED},
            "name": key.name,
            "namespace": namespace,
            "uid": f"00000000-0000-4000-8000-{self._serial:012x}",  # the same in every run
            "creationTimestamp": timestamp(self._now()),
        }
        new: Body = {"apiVersion": resource.api_version, "kind": resource.kind, **body, "metadata": metadata}
        if table.has_status:
            metadata["generation"] = 1
            new.pop("status", None)
        for admit in table.admissions:
            new = admit(new, None)
        if key in table.objects:  # after admission: an invalid object hears that first
            return AlreadyExists(key)
        return self._write(table, key, None, new)

    def replace(self, resource: Resource, key: Key, body: Mapping[str, Any]) -> Body | Conflict | None:
        """PUT. Status and what the server owns in metadata are taken from the stored object. Needs a resource version."""
        wanted = resource_version_of(body)
        if not wanted:
            raise Rejected('metadata.resourceVersion: Invalid value: "": must be specified for an update', status=422)
        table = self._table(resource)
        old = table.objects.get(key)
        if old is None and table.created_by_replace:
            return self._created_by_replace(resource, key, body)
        if old is None:
            return None
        if wanted != resource_version_of(old) or body["metadata"].get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            return Conflict(key)
        return self._update(table, key, old, body)

    def patch_status(
        self, resource: Resource, key: Key, status: Mapping[str, Any], *, resource_version: str = ""
    ) -> Body | Conflict | None:
        """JSON merge patch of the status. Without a resource version it always applies."""
        table = self._table(resource)
        if not table.has_status:
            raise Rejected(f"{resource.plural} have no status subresource", status=404)
        old = table.objects.get(key)
        if old is None:
            return None
        if resource_version and resource_version != resource_version_of(old):
            return Conflict(key)
        return self._write(table, key, old, {**old, "status": merge_patch(old.get("status"), status)})

    def update(self, resource: Resource, key: Key, change: Callable[[Body], Mapping[str, Any]]) -> Body | None:
        """Write `change(stored)`, whatever the version, as a person does. None when there is no such object."""
        table = self._table(resource)
        old = table.objects.get(key)
        return None if old is None else self._update(table, key, old, change(old))

    def overwrite(self, resource: Resource, key: Key, body: Body) -> Body:
        """Spec and status at once, unchecked: what a component of the control plane does with several calls. The object must be there."""
        table = self._table(resource)
        return self._write(table, key, table.objects[key], body)

    def delete(
        self, resource: Resource, key: Key, *, uid: str | None = None, grace_s: float | None = None, foreground: bool = False
    ) -> bool:
        """Background deletion, or foreground: dependents first. With finalizers, or a grace period, the object stays and says when it
        was told to go.

        A pod that runs on a node has its own grace period; `grace_s=0` is how a kubelet says that it is gone.
        """
        table = self._table(resource)
        old = table.objects.get(key)
        if old is None or (uid is not None and old["metadata"]["uid"] != uid):
            return False
        metadata = old["metadata"]
        if metadata["uid"] in self._foreground:
            return True  # told already
        if foreground and (dependents := list(self._owners.dependents(metadata["uid"]))):
            self._foreground[metadata["uid"]] = (table, key)
            finalizers = [*metadata.get("finalizers", ()), FOREGROUND]
            stamp = {"finalizers": finalizers, "deletionTimestamp": timestamp(self._now()), "deletionGracePeriodSeconds": 0}
            if "generation" in metadata:
                stamp["generation"] = metadata["generation"] + 1
            self._write(table, key, old, {**old, "metadata": {**metadata, **stamp}})
            for each, name in dependents:
                self.delete(each.resource, name)
            return True
        if grace_s is None:
            grace_s = pod_grace_s(old) if resource == PODS else 0
        if not metadata.get("finalizers") and grace_s == 0:
            self._remove(table, key, old)
        elif metadata.get("deletionTimestamp") is None or grace_s < metadata["deletionGracePeriodSeconds"]:
            deleting = {
                **metadata,
                "deletionTimestamp": timestamp(self._now() + timedelta(seconds=grace_s)),
                "deletionGracePeriodSeconds": int(grace_s),
            }
            if "generation" in metadata and "deletionTimestamp" not in metadata:
                deleting["generation"] += 1
            self._write(table, key, old, {**old, "metadata": deleting})
        return True

    def dependents(self, resource: Resource, uid: str) -> Sequence[Body]:
        """Objects of this resource with an owner reference to this UID, oldest first."""
        wanted = self._table(resource)
        return [table.objects[key] for table, key in self._owners.dependents(uid) if table is wanted]

    def forget_history(self) -> None:
        """Compaction: every watch that starts before now is Expired."""
        for table in self._tables.values():
            table.history.forget(self.version)

    def _table(self, resource: Resource) -> _Table:
        table = self._tables.get(resource.plural)
        if table is None:
            table = self._tables[resource.plural] = _Table(resource, self._admission.get(resource), self._history_size)
        return table

    def _created_by_replace(self, resource: Resource, key: Key, body: Mapping[str, Any]) -> Body | Conflict:
        if body["metadata"].get("uid"):
            return Conflict(key)
        metadata = {field: value for field, value in body["metadata"].items() if field != "resourceVersion"}
        created = self.create(resource, key.namespace, {**body, "metadata": {**metadata, "name": key.name}})
        assert not isinstance(created, AlreadyExists)
        return created

    def _update(self, table: _Table, key: Key, old: Body, body: Mapping[str, Any]) -> Body:
        was = old["metadata"]
        metadata = {field: value for field, value in body["metadata"].items() if field not in SERVER_OWNED}
        metadata |= {field: was[field] for field in SERVER_OWNED if field in was}
        new: Body = {**body, "apiVersion": old["apiVersion"], "kind": old["kind"], "metadata": metadata}
        if table.has_status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
        if _content(new) != _content(old):
            for admit in table.admissions:
                new = admit(new, old)
            if "generation" in metadata and _content(new) != _content(old):
                new["metadata"] = {**new["metadata"], "generation": was["generation"] + 1}
        if "deletionTimestamp" in was and not metadata.get("finalizers") and was["deletionGracePeriodSeconds"] == 0:
            self._remove(table, key, old)  # the last finalizer let go
            return new
        return self._write(table, key, old, new)

    def _write(self, table: _Table, key: Key, old: Body | None, new: Body) -> Body:
        if new == old:
            return old  # as in the API server: a write that changes nothing is no write, and no watch hears of it
        self._owners.put((table, key), old, new)
        self.version += 1
        new["metadata"] = {**new["metadata"], "resourceVersion": str(self.version)}
        table.objects[key] = new
        table.history.record(Change(self.version, key, old, new))
        return new

    def _remove(self, table: _Table, key: Key, old: Body) -> None:
        del table.objects[key]
        self._owners.remove((table, key), old)
        self.version += 1
        table.history.record(Change(self.version, key, old, None))
        for owner in owner_uids(old):
            if owner in self._foreground and not self._owners.dependents(owner):
                self._release(*self._foreground.pop(owner))

    def _release(self, table: _Table, key: Key) -> None:
        """The last dependent of an owner that is deleted in the foreground is gone."""
        owner = table.objects[key]
        left = [each for each in owner["metadata"]["finalizers"] if each != FOREGROUND]
        if left:
            self._write(table, key, owner, {**owner, "metadata": {**owner["metadata"], "finalizers": left}})
        else:
            self._remove(table, key, owner)

    def _collect(self, place: _Place) -> None:
        table, key = place
        body = table.objects.get(key)
        if body is not None and self._owners.are_gone(body):
            self.delete(table.resource, key, uid=body["metadata"]["uid"])


def _content(body: Body) -> Body:
    return {field: value for field, value in body.items() if field not in ("metadata", "status")}
