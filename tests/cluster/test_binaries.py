"""Which binaries are taken, and when there are none. Nothing is built here."""

from pathlib import Path

import pytest

from tests.cluster.binaries import (
    BIN_VARIABLE,
    NAMES,
    ControlPlaneBuildFailed,
    ControlPlaneUnavailable,
    Pins,
    cache_folder,
    cache_key,
    find_or_build,
    ready_binaries,
)

MODULE = """module example

go 1.30.0

require (
	go.etcd.io/etcd/server/v3 v3.9.1 // indirect
	k8s.io/kubernetes v1.40.2 // indirect
)
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "go.mod").write_text(MODULE)
    (tmp_path / "go.sum").write_text("")
    return tmp_path


def test_versions_come_from_the_module(module: Path) -> None:
    assert Pins.read(module) == Pins(kubernetes="1.40.2", etcd="3.9.1", go="1.30.0")


def test_a_module_without_the_pins_is_refused(module: Path) -> None:
    (module / "go.mod").write_text("module example\n")
    with pytest.raises(ControlPlaneBuildFailed, match="kubernetes"):
        Pins.read(module)


def test_the_cache_key_changes_with_any_dependency(module: Path) -> None:
    before = cache_key(Pins.read(module), module)
    (module / "go.sum").write_text("k8s.io/api v0.40.2 h1:x\n")
    after = cache_key(Pins.read(module), module)
    assert before.startswith("k8s-1.40.2-etcd-3.9.1-")
    assert before != after


def test_a_given_folder_is_taken_when_it_has_all_of_them(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).touch(mode=0o755)
    assert ready_binaries({BIN_VARIABLE: str(tmp_path)}) == tmp_path


def test_a_given_folder_that_lacks_one_is_refused_by_name(tmp_path: Path) -> None:
    for name in NAMES[1:]:
        (tmp_path / name).touch(mode=0o755)
    with pytest.raises(ControlPlaneUnavailable, match=NAMES[0]):
        ready_binaries({BIN_VARIABLE: str(tmp_path)})


def test_a_half_done_build_is_not_taken(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    (cache_folder(environ) / "partial-1").mkdir(parents=True)
    assert ready_binaries(environ) is None


def test_modules_out_of_reach_are_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\n[ "$1" = version ] && echo go version go1.99.0 && exit\necho "module lookup disabled" >&2; exit 1\n')
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    said: list[str] = []
    with pytest.raises(ControlPlaneUnavailable, match="module lookup disabled"):
        find_or_build(said.append, {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert "about 6 minutes" in said[0], "how long it takes is said first"
