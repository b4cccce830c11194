"""The volumes of a pod as local folders and files."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from retrain_operator.embedded.pod_env import (
    Body,
    Lookup,
    PodConfigError,
    contents,
    expand,
    field,
    find,
    resource,
)
from retrain_operator.embedded.pod_paths import Mount

_CLAIMS = "claims"  # under the root, beside the pods: a claim outlives them
_KINDS = {"configMap": "ConfigMap", "secret": "Secret"}


async def prepare_volumes(
    pod: Body, container: Body, environment: Mapping[str, str], lookup: Lookup, *, root: Path, folder: Path
) -> list[Mount]:
    """Makes every volume that the container mounts. A missing ConfigMap or Secret raises PodConfigError.

    configMap, secret, downwardAPI and projected are copied once, at the start; emptyDir lies in the pod's `folder`; a
    claim is a folder under `root`, made at first use. Service-account tokens are left out. `readOnly` is not enforced.
    """
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    mounts = []
    for mount in container.get("volumeMounts") or ():
        if mount["name"] not in volumes:
            raise PodConfigError(f"volume {mount['name']!r} is mounted and not defined")
        try:
            local = await _prepare(pod, volumes[mount["name"]], lookup, root=root, folder=folder)
        except PodConfigError as error:
            # A kubelet goes on trying to mount: the container is being created for as long as that takes.
            raise PodConfigError(f"volume {mount['name']!r}: {error}", reason="ContainerCreating") from None
        part = mount.get("subPath") or expand(mount.get("subPathExpr") or "", environment)
        if part:
            local = _inside(local, part)
            if not local.exists():
                local.mkdir(parents=True)
        mounts.append(Mount(mount["mountPath"], local))
    return mounts


async def _prepare(pod: Body, volume: Body, lookup: Lookup, *, root: Path, folder: Path) -> Path:
    if "hostPath" in volume:
        return _host_path(volume["hostPath"])
    if "persistentVolumeClaim" in volume:
        claim = str(volume["persistentVolumeClaim"]["claimName"])
        path = root / _CLAIMS / str(pod["metadata"].get("namespace", "default")) / claim
    else:
        path = folder / "volumes" / str(volume["name"])
    path.mkdir(parents=True, exist_ok=True)
    for name, content in await _files(pod, volume, lookup):
        file = _inside(path, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return path


def _host_path(source: Body) -> Path:
    path = Path(source["path"])
    if source.get("type") == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    return path


async def _files(pod: Body, volume: Body, lookup: Lookup) -> Iterable[tuple[str, bytes]]:
    if "emptyDir" in volume or "persistentVolumeClaim" in volume:
        return ()
    if "projected" in volume:
        files: list[tuple[str, bytes]] = []
        for source in volume["projected"].get("sources") or ():
            if "serviceAccountToken" not in source:
                files.extend(await _files(pod, source, lookup))
        return files
    if "downwardAPI" in volume:
        return [(item["path"], _downward(pod, item).encode()) for item in volume["downwardAPI"].get("items") or ()]
    for source, kind in _KINDS.items():
        if source in volume:
            return await _copied(pod, kind, volume[source], lookup)
    raise PodConfigError(f"{sorted(set(volume) - {'name'})} is not supported")


async def _copied(pod: Body, kind: str, source: Body, lookup: Lookup) -> list[tuple[str, bytes]]:
    optional = source.get("optional", False)
    name = source.get("secretName") or source["name"]
    values = contents(kind, await find(pod, kind, name, optional, lookup) or {})
    if not source.get("items"):
        return list(values.items())
    missing = [item["key"] for item in source["items"] if item["key"] not in values]
    if missing and not optional:
        raise PodConfigError(f"{kind.lower()} references non-existent config key: {', '.join(missing)}")
    return [(item["path"], values[item["key"]]) for item in source["items"] if item["key"] in values]


def _downward(pod: Body, item: Mapping[str, Any]) -> str:
    if "fieldRef" in item:
        return field(pod, item["fieldRef"]["fieldPath"])
    reference = item["resourceFieldRef"]
    named = [each for each in pod["spec"]["containers"] if each["name"] == reference["containerName"]]
    return resource(named[0], reference)


def _inside(folder: Path, part: str) -> Path:
    """`part` below `folder`. A `..` must not lead out: pods of this stand-in run with the rights of whoever started it."""
    if Path(part).is_absolute() or ".." in Path(part).parts:
        raise PodConfigError(f"{part!r} leads out of its volume")
    return folder / part
