"""The rules of the Kubernetes API server, on a dict: what is stored, under which version, and what follows from a write.

Synchronous, and without copies: bodies that go in must not be changed afterwards, bodies that come out are only to be read. A write makes a
new body that shares what did not change. `MemoryCluster` puts the protocol, isolation and faults around it; the embedded controllers work
on it directly, as their originals have the API server to themselves as far as the operator can tell.
"""

import re
from collections.abc import Callable
from datetime import datetime

from retrain_operator.cluster.protocol import (
    JOBS,
    PODS,
    RUNS,
    SCHEDULES,
    Body,
)

# (new body, body as stored or None at create) -> the body with defaults. Raises Rejected. Called when more than metadata or status changes.
Admission = Callable[[Body, Body | None], Body]

HAVE_STATUS = frozenset({SCHEDULES, RUNS, JOBS, PODS})  # these have a status subresource and a generation

SERVER_OWNED = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # of generateName, as the API server's


def timestamp(instant: datetime) -> str:
    """RFC 3339, whole seconds, as metav1.Time."""
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")
