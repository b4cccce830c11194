"""What the operator asks of a cluster: one protocol, implemented by the real API server and by the in-memory one.

Bodies are plain JSON objects as the Kubernetes API defines them. Absence and already-exists are return values, because every caller has
to deal with them; what is left are the errors below:

    ClusterError
    ├── Unavailable      no answer, or 5xx, or 429: it may or may not have happened; ask again after `retry_after_s`
    ├── Rejected         4xx that will be the same next time (422 Invalid, 400, 413): `message` is the API server's own
    ├── Forbidden        403: a right or a quota is missing; somebody must change something outside
    └── Expired          410: the resource version of a list or watch is too old; list again
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from retrain_operator.api.names import GROUP, VERSION, Key

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """One namespaced resource of the API."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


SCHEDULES = Resource(GROUP, VERSION, "retrainschedules", "RetrainSchedule")
RUNS = Resource(GROUP, VERSION, "retrainjobs", "RetrainJob")
JOBS = Resource("batch", "v1", "jobs", "Job")
PODS = Resource("", "v1", "pods", "Pod")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")


class ClusterError(Exception):
    """A call to the cluster failed. `message` is fit to be shown to a user."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Unavailable(ClusterError):
    """No usable answer: lost, timed out, 5xx or 429. The write may have happened."""

    def __init__(self, message: str, *, status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(message, status=status)
        self.retry_after_s = retry_after_s


class Rejected(ClusterError):
    """The API server refuses this object, now and next time."""


class Forbidden(ClusterError):
    """A right or a quota is missing."""


class Expired(ClusterError):
    """The resource version is older than what the API server still knows: list again."""


class AlreadyExists(NamedTuple):
    """A create found the name taken."""

    key: Key


class Conflict(NamedTuple):
    """A write carried a resource version that is no longer the newest."""

    key: Key


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects at one moment, or a part of them. `resource_version` is where a watch continues."""

    items: list[Body]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch. A BOOKMARK's body carries only the resource version."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    body: Body


class Cluster(Protocol):
    """Reads and writes of one cluster. Every method may raise ClusterError."""

    async def get(self, resource: Resource, key: Key) -> Body | None:
        """The object, or None when there is none."""

    async def list(self, resource: Resource, namespace: str | None, *, label_selector: str = "", field_selector: str = "") -> Listing:
        """All objects of a namespace, or of all namespaces (None), newest state (never a stale cache)."""

    def pages(self, resource: Resource, namespace: str | None, *, label_selector: str = "") -> AsyncIterator[Listing]:
        """The same list in parts, at least one, all of one moment. Raises Expired when the rest is no longer to be had."""

    def watch(
        self, resource: Resource, namespace: str | None, *, resource_version: str, label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Changes after `resource_version`, bookmarks included. Ends normally when the server closes it; raises Expired on 410."""

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body | AlreadyExists:
        """The object as stored, or AlreadyExists, which may be our own: a lost answer is asked for again, but for runs and Jobs."""

    async def replace(self, resource: Resource, key: Key, body: Mapping[str, Any]) -> Body | Conflict | None:
        """PUT, compare-and-swap on `metadata.resourceVersion`. None when the object is gone."""

    async def patch_status(
        self, resource: Resource, key: Key, status: Mapping[str, Any], *, resource_version: str
    ) -> Body | Conflict | None:
        """JSON merge patch of the status subresource (null removes), compare-and-swap on `resource_version`. None when it is gone."""

    async def patch_spec(self, resource: Resource, key: Key, patch: Mapping[str, Any], *, resource_version: str) -> Body | Conflict | None:
        """JSON merge patch of all but the status, compare-and-swap on `resource_version`. None when it is gone."""

    async def delete(self, resource: Resource, key: Key, *, uid: str, foreground: bool = False) -> bool:
        """Deletion of exactly this object; in the foreground it stays until what it owns is gone. False when that UID is not there."""

    async def log_tail(self, pod: Key, container: str, lines: int) -> Sequence[str]:
        """The last lines of a container's log; empty when there is none, or no such pod any more."""
