"""The environment of a container as Kubernetes resolves it: literals, $(VAR), ConfigMaps, Secrets, fields, resources."""

import base64
import math
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

Body = Mapping[str, Any]
Lookup = Callable[[str, str, str], Awaitable[Body | None]]
"""(kind, namespace, name) to the object, or None when there is none. Kinds asked for: ConfigMap, Secret."""

LOOPBACK = "127.0.0.1"
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip


class PodConfigError(Exception):
    """The pod refers to something that is not there (yet). `reason` is what a kubelet shows as waiting."""

    def __init__(self, message: str, *, reason: str = "CreateContainerConfigError") -> None:
        super().__init__(message)
        self.reason = reason


async def resolve_environment(pod: Body, container: Body, lookup: Lookup) -> dict[str, str]:
    """What the container's `envFrom` and `env` say, later names over earlier ones. Raises PodConfigError."""
    environment: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        environment |= await _whole_object(pod, source, lookup)
    for variable in container.get("env") or ():
        value = await _value(pod, container, variable, environment, lookup)
        if value is not None:
            environment[variable["name"]] = value
    return environment


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`$(NAME)` replaced where NAME is known and left alone where not; `$$` is a dollar sign."""

    def replacement(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else environment.get(found[1], found[0])

    return _REFERENCE.sub(replacement, text)


def contents(kind: str, body: Body) -> dict[str, bytes]:
    """The keys of a ConfigMap or Secret."""
    encoded = body.get("data") if kind == "Secret" else body.get("binaryData")
    found = {key: base64.b64decode(value) for key, value in (encoded or {}).items()}
    texts = body.get("stringData") if kind == "Secret" else body.get("data")
    return found | {key: value.encode() for key, value in (texts or {}).items()}


def field(pod: Body, path: str) -> str:
    """A pod field of the downward API; labels and annotations as a whole come as lines of key="value"."""
    metadata, spec = pod["metadata"], pod["spec"]
    keyed = _KEYED_FIELD.fullmatch(path)
    if keyed:
        return str((metadata.get(keyed[1]) or {}).get(keyed[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = metadata.get(path.removeprefix("metadata.")) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", "default"),
        "metadata.uid": metadata.get("uid", ""),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.hostIP": LOOPBACK,
        "status.podIP": LOOPBACK,
        "status.hostIPs": LOOPBACK,
        "status.podIPs": LOOPBACK,
    }
    if path not in known:
        raise PodConfigError(f"field {path!r} is not supported")
    return str(known[path])


def resource(container: Body, reference: Body) -> str:
    """A `resourceFieldRef`, rounded up to whole divisors. Without a limit: what this machine has, as on a node."""
    kind, _, name = reference["resource"].partition(".")
    amounts = (container.get("resources") or {}).get(kind) or {}
    amount = quantity(amounts[name]) if name in amounts else _of_this_machine(name)
    return str(math.ceil(amount / quantity(reference.get("divisor") or "1", zero=Decimal(1))))


def quantity(text: str | int | float, *, zero: Decimal | None = None) -> Decimal:
    """A Kubernetes quantity such as 500m or 4Gi. A divisor of "0" means unset: `zero` stands in for it."""
    found = re.fullmatch(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)", str(text))
    if found is None or found[2] not in _SUFFIXES:
        raise PodConfigError(f"{text!r} is not a quantity")
    amount = Decimal(found[1]) * _SUFFIXES[found[2]]
    return zero if zero is not None and not amount else amount


def _of_this_machine(name: str) -> Decimal:
    if name == "cpu":
        return Decimal(os.cpu_count() or 1)
    if name == "memory":
        return Decimal(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return Decimal(0)


async def _whole_object(pod: Body, source: Body, lookup: Lookup) -> dict[str, str]:
    prefix = source.get("prefix", "")
    for reference, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if reference in source:
            body = await find(pod, kind, source[reference]["name"], source[reference].get("optional", False), lookup)
            return {prefix + key: value.decode() for key, value in contents(kind, body or {}).items()}
    raise PodConfigError(f"envFrom {sorted(source)} is not supported")


async def _value(pod: Body, container: Body, variable: Body, environment: Mapping[str, str], lookup: Lookup) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return expand(variable.get("value") or "", environment)
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource(container, source["resourceFieldRef"])
    for reference, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if reference in source:
            return await _key(pod, kind, source[reference], lookup)
    raise PodConfigError(f"env {variable['name']}: {sorted(source)} is not supported")


async def _key(pod: Body, kind: str, reference: Body, lookup: Lookup) -> str | None:
    optional, name, key = reference.get("optional", False), reference["name"], reference["key"]
    body = await find(pod, kind, name, optional, lookup)
    value = contents(kind, body or {}).get(key)
    if value is None and not optional:
        raise PodConfigError(f"couldn't find key {key} in {kind} {pod['metadata'].get('namespace', 'default')}/{name}")
    return None if value is None else value.decode()


async def find(pod: Body, kind: str, name: str, optional: bool, lookup: Lookup) -> Body | None:
    """The object, or None when it is missing and may be. Raises PodConfigError in a kubelet's words."""
    body = await lookup(kind, pod["metadata"].get("namespace", "default"), name)
    if body is None and not optional:
        raise PodConfigError(f'{kind.lower()} "{name}" not found')
    return body
