"""What an answer of the API server means: the `Status` object and the HTTP status, mapped to the errors of the protocol."""

from dataclasses import dataclass
from http import HTTPStatus

from retrain_operator.cluster.protocol import Body, ClusterError, Expired, Forbidden, Rejected, Resource, Unavailable

# How the API server ends its message when a PUT named a UID, and there is no object at all. Seen for Leases, which a PUT would otherwise
# create; other resources answer 404.
NO_SUCH_OBJECT = "UID in object meta: "


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. `body` is the object, or the `Status` of a failure, or a `Status` with plain text as its message."""

    status: int
    body: Body
    retry_after_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def message(self) -> str:
        return str(self.body.get("message") or f"HTTP status {self.status} without a message")

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    def says_gone(self, resource: Resource) -> bool:
        """The one object that was asked for is not there; not its namespace, and not its type."""
        if self.status == HTTPStatus.CONFLICT:
            return self.message.endswith(NO_SUCH_OBJECT)
        return self.status == HTTPStatus.NOT_FOUND and self._missing_kind() in (resource.plural, resource.kind)

    def error(self, resource: Resource) -> ClusterError:
        """What to raise for an answer that the caller has no return value for."""
        match self.status:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                return Forbidden(self.message, status=self.status)
            case HTTPStatus.NOT_FOUND if not self._missing_kind():
                return Rejected(_not_served(resource), status=self.status)
            case HTTPStatus.GONE:
                return Expired(self.message, status=self.status)
            # 409: something else was changed at the same moment, such as the resource quota that a create is counted in.
            case HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.CONFLICT | HTTPStatus.TOO_MANY_REQUESTS:
                return Unavailable(self.message, status=self.status, retry_after_s=self.retry_after_s)
            case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return Unavailable(self.message, status=status, retry_after_s=self.retry_after_s)
        return Rejected(self.message, status=self.status)

    def _missing_kind(self) -> str:
        """What a 404 is about, empty when the API server does not serve the path at all."""
        return str((self.body.get("details") or {}).get("kind", ""))


def _not_served(resource: Resource) -> str:
    return (
        f"the API server does not serve {resource.plural} of {resource.api_version}: install the CRDs "
        "(kubectl apply --server-side -k crds/), or check the version of the cluster"
    )
