"""Pods for the tests of the local kubelet stand-in, and the objects that they refer to."""

import base64
from collections.abc import Mapping
from typing import Any

OBJECTS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("ConfigMap", "settings"): {"data": {"rate": "0.1", "sub": "deep"}, "binaryData": {"blob": base64.b64encode(b"\x00\x01").decode()}},
    ("ConfigMap", "texts"): {"data": {"a": "1", "b": "2"}},
    ("Secret", "keys"): {"data": {"token": base64.b64encode(b"s3cret").decode()}},
}


def pod(*command: str, **container: Any) -> dict[str, Any]:
    spec = container.pop("spec", {})
    labels, annotations = {"app": "retrain", "tier": "batch"}, {"retrain.dev/config": '{"task": "tabular"}'}
    return {
        "metadata": {"name": "run-1", "namespace": "ml", "uid": "u-1", "labels": labels, "annotations": annotations},
        "spec": {
            "nodeName": "local",
            "serviceAccountName": "trainer",
            "containers": [{"name": "trainer", "image": "python", "command": list(command), **container}],
            **spec,
        },
    }


def python(code: str, **container: Any) -> dict[str, Any]:
    return pod("python", "-c", code, **container)


async def look_up(kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
    assert namespace == "ml"
    return OBJECTS.get((kind, name))
