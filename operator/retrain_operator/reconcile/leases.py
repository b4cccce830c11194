"""Guards' Leases as this process wrote them last, so that most starts need not read theirs first: the swap itself tells what is not so."""

from collections import OrderedDict
from typing import NamedTuple

from retrain_operator.api.names import ANNOTATION_HOLDER, Key
from retrain_operator.cluster.protocol import Body

LEASES_MAX = 10_000  # of any that is dropped, only the read comes back


class WrittenLease(NamedTuple):
    """Who had the guard from this version of the Lease on."""

    uid: str
    version: str
    holder_uid: str
    holder: str


class WrittenLeases:
    """By key. A Lease is either as written, or to be read, or was never heard of."""

    def __init__(self) -> None:
        self._leases: OrderedDict[Key, WrittenLease | None] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._leases

    def get(self, key: Key) -> WrittenLease | None:
        """As written, or None."""
        return self._leases.get(key)

    def wrote(self, key: Key, lease: Body) -> None:
        """`lease` is the answer."""
        metadata = lease["metadata"]
        holder = (metadata.get("annotations") or {}).get(ANNOTATION_HOLDER, "")
        self._keep(key, WrittenLease(metadata["uid"], metadata["resourceVersion"], lease["spec"]["holderIdentity"], holder))

    def must_read(self, key: Key) -> None:
        """Somebody else wrote it."""
        self._keep(key, None)

    def _keep(self, key: Key, lease: WrittenLease | None) -> None:
        self._leases[key] = lease
        self._leases.move_to_end(key)
        if len(self._leases) > LEASES_MAX:
            self._leases.popitem(last=False)
