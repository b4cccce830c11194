"""The environment of a container: the same answers as a kubelet's."""

import os
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.pod_builders import look_up, pod

from retrain_operator.embedded.pod_env import expand, field, quantity, resolve_environment, resource


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("$(A)/x", "one/x", id="known"),
        pytest.param("$(NOT)", "$(NOT)", id="unknown stays"),
        pytest.param("$$(A)", "$(A)", id="escaped"),
        pytest.param("$A ${A} $", "$A ${A} $", id="shell syntax stays"),
        pytest.param("$(A)$(B)", "onetwo", id="two"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "one", "B": "two"}) == expected


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        pytest.param({"env": [{"name": "A", "value": "x"}, {"name": "B", "value": "$(A)y"}]}, {"A": "x", "B": "xy"}, id="expansion"),
        pytest.param(
            {"env": [{"name": "B", "value": "$(A)"}, {"name": "A", "value": "x"}]}, {"A": "x", "B": "$(A)"}, id="only what is before"
        ),
        pytest.param({"env": [{"name": "A"}]}, {"A": ""}, id="no value"),
        pytest.param(
            {"env": [{"name": "R", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "rate"}}}]},
            {"R": "0.1"},
            id="ConfigMap key",
        ),
        pytest.param(
            {"env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}]}, {"T": "s3cret"}, id="Secret key"
        ),
        pytest.param(
            {"env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "none", "key": "token", "optional": True}}}]},
            {},
            id="optional and missing: not set",
        ),
        pytest.param({"envFrom": [{"prefix": "P_", "configMapRef": {"name": "texts"}}]}, {"P_a": "1", "P_b": "2"}, id="whole ConfigMap"),
        pytest.param(
            {"envFrom": [{"configMapRef": {"name": "texts"}}], "env": [{"name": "a", "value": "mine"}]},
            {"a": "mine", "b": "2"},
            id="env over envFrom",
        ),
        pytest.param({"envFrom": [{"secretRef": {"name": "none", "optional": True}}]}, {}, id="optional and missing as a whole"),
        pytest.param({"env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}, {"N": "run-1"}, id="field"),
    ],
)
async def test_environment(declared: Mapping[str, Any], expected: Mapping[str, str]) -> None:
    body = pod(**declared)
    assert await resolve_environment(body, body["spec"]["containers"][0], look_up) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "run-1"),
        ("metadata.namespace", "ml"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "retrain"),
        ("metadata.annotations['retrain.dev/config']", '{"task": "tabular"}'),
        ("metadata.annotations['none']", ""),
        ("metadata.labels", 'app="retrain"\ntier="batch"'),
        ("spec.nodeName", "local"),
        ("spec.serviceAccountName", "trainer"),
        ("status.podIP", "127.0.0.1"),
    ],
)
def test_fields_of_the_downward_api(path: str, expected: str) -> None:
    assert field(pod(), path) == expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        pytest.param({"resource": "limits.cpu"}, "2", id="cores are rounded up"),
        pytest.param({"resource": "limits.cpu", "divisor": "1m"}, "1500", id="millicores"),
        pytest.param({"resource": "limits.memory", "divisor": "1Mi"}, "4096", id="MiB"),
        pytest.param({"resource": "limits.memory", "divisor": "0"}, str(4 * 2**30), id="divisor unset"),
        pytest.param({"resource": "requests.cpu"}, str(os.cpu_count()), id="none: what the machine has"),
    ],
)
def test_resources_of_the_downward_api(reference: Mapping[str, Any], expected: str) -> None:
    assert resource({"resources": {"limits": {"cpu": "1500m", "memory": "4Gi"}}}, reference) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("500m", "0.5"), ("2", "2"), ("1e3", "1000"), ("1.5Gi", str(int(1.5 * 2**30))), ("3k", "3000")]
)
def test_quantities(text: str, expected: str) -> None:
    assert quantity(text) == quantity(expected)
