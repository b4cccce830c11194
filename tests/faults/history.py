"""Every version of every object that the observer saw, in the order of the API server's own revisions. No I/O.

Resource versions are one count over all resources (one etcd), so they say what came before what, with no clock involved. `at` is the
observer's monotonic clock, for the few questions that are about seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Body = dict[str, Any]


class Version(NamedTuple):
    """One version of one object; `deleted` is its last."""

    version: int
    at: float
    body: Body
    deleted: bool = False


@dataclass(slots=True)
class Life:
    """One object, by its UID."""

    resource: str
    uid: str
    versions: list[Version] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.last["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.last["metadata"]["namespace"])

    @property
    def last(self) -> Body:
        return self.versions[-1].body

    @property
    def created(self) -> Version:
        return self.versions[0]

    @property
    def is_gone(self) -> bool:
        return self.versions[-1].deleted

    @property
    def status(self) -> Body:
        status: Body = self.last.get("status") or {}
        return status

    @property
    def spec(self) -> Body:
        spec: Body = self.last.get("spec") or {}
        return spec

    @property
    def owner(self) -> Body:
        """The controlling owner reference, or an empty one."""
        references = self.last["metadata"].get("ownerReferences") or ()
        return next((each for each in references if each.get("controller")), {})


@dataclass(slots=True)
class History:
    """The lives of one namespace."""

    lives: dict[str, Life] = field(default_factory=dict)

    def add(self, resource: str, version: Version) -> None:
        uid = version.body["metadata"]["uid"]
        life = self.lives.setdefault(uid, Life(resource, uid))
        if not life.versions or life.versions[-1].version < version.version:
            life.versions.append(version)

    def of(self, resource: str) -> list[Life]:
        """All that ever were, by their creation."""
        return sorted((life for life in self.lives.values() if life.resource == resource), key=lambda life: life.created.version)

    def living(self, resource: str) -> Iterator[Life]:
        return (life for life in self.of(resource) if not life.is_gone)

    @property
    def last_change_at(self) -> float:
        return max((life.versions[-1].at for life in self.lives.values()), default=-1.0)
