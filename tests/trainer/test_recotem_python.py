"""Where a Python 3.12 is looked for, in an order that a person can overrule."""

import sys
from pathlib import Path

import pytest

from tests.recotem_python import VARIABLE, find_python

NOT_THIS_ONE = pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="this interpreter is a 3.12: it is taken first")


def executable(path: Path, code: int = 0) -> Path:
    """Something that answers the question whether it is a Python 3.12."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_the_one_that_is_named_and_no_other(tmp_path: Path) -> None:
    named = executable(tmp_path / "mine")
    other = executable(tmp_path / "bin/python3.12")
    assert find_python({VARIABLE: str(named), "PATH": str(other.parent)}) == str(named)
    assert find_python({VARIABLE: str(executable(named, code=1)), "PATH": str(other.parent)}) is None


@NOT_THIS_ONE
def test_on_path_before_pyenv_unless_it_does_not_run(tmp_path: Path) -> None:
    on_path = executable(tmp_path / "bin/python3.12")
    pyenv = executable(tmp_path / "pyenv/versions/3.12.1/bin/python3.12")
    environ = {"PATH": str(on_path.parent), "PYENV_ROOT": str(tmp_path / "pyenv")}
    assert find_python(environ) == str(on_path)
    executable(on_path, code=1)  # pyenv's shim of a version that is not switched on
    assert find_python(environ) == str(pyenv)


@NOT_THIS_ONE
def test_none(tmp_path: Path) -> None:
    assert find_python({"PATH": str(tmp_path), "PYENV_ROOT": str(tmp_path)}) is None
