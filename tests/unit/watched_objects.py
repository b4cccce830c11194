"""Bodies and lists for tests of what a watch tells, and how they are shown."""

from retrain_operator.cluster.protocol import Body, Listing


def body(name: str, version: int, *, uid: str = "", namespace: str = "ns") -> Body:
    return {"metadata": {"namespace": namespace, "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}}


def listing(version: int, *items: Body) -> Listing:
    return Listing(list(items), str(version))


def shown(type_: str, body_: Body) -> str:
    """ "ADDED a@5", and "DELETED a" for one without a version."""
    metadata = body_["metadata"]
    version = metadata.get("resourceVersion")
    return f"{type_} {metadata['name']}" + (f"@{version}" if version else f" {metadata['uid']}")
