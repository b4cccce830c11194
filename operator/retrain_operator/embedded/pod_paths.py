"""Container paths as local paths. There is no mount namespace, so what a pod says about its mounts is rewritten instead."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# What may stand before an absolute path: the name of a flag, and a scheme.
_BEFORE_PATH = re.compile(r"(?:--?[\w.-]+=)?(?:file://)?(?=/)")


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the container and where it really lies."""

    container_path: str
    local_path: Path


def to_local(value: str, mounts: Sequence[Mount]) -> str:
    """`value` with its leading container path replaced. The longest mount wins; anything else stays as it is.

    A path counts at the start, after `file://` and after `--flag=`; inside other text, such as a list or JSON, it does
    not.
    """
    before = _BEFORE_PATH.match(value)
    if before is None:
        return value
    start, path = before[0], value[before.end() :]
    for mount in sorted(mounts, key=lambda mount: len(mount.container_path), reverse=True):
        folder = mount.container_path.rstrip("/")
        if path.rstrip("/") == folder or path.startswith(f"{folder}/"):
            return f"{start}{mount.local_path}{path[len(folder) :]}"
    return value
