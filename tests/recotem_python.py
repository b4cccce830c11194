"""A Python 3.12 with Recotem, for the test of its shim: made once, in the cache outside the checkout, from pinned versions.

A pytest plugin. A test asks for `recotem_python`, the interpreter. Without a Python 3.12 it is skipped, and the reason
says what to install; where there is one, CI=true makes a Recotem that cannot be installed a failure.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cluster.binaries import cache_folder, say_to_stderr

VARIABLE = "RETRAIN_PYTHON312"
EXAMPLE = Path(__file__).parents[1] / "trainer_image/examples/recotem"
_PROBE = "import ensurepip, ssl, sys, venv; sys.exit(sys.version_info[:2] != (3, 12))"


class InstallFailed(Exception):
    """Recotem cannot be installed here; the message is pip's."""


@pytest.fixture(scope="session")
def recotem_python(pytestconfig: pytest.Config) -> Path:
    """Interpreter of an environment that has Recotem."""
    python = find_python()
    if python is None:
        if VARIABLE in os.environ:
            pytest.fail(f"{VARIABLE}={os.environ[VARIABLE]} is no Python 3.12 with venv", pytrace=False)
        pytest.skip(f"no Python 3.12, which Recotem needs: install python3.12 with venv (pyenv is found too), or name one in {VARIABLE}")
    try:
        with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            return find_or_build(python)
    except InstallFailed as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI=true and Recotem cannot be installed: {error}", pytrace=False)
        pytest.skip(f"Recotem cannot be installed: {error}")


def find_python(environ: Mapping[str, str] = os.environ) -> str | None:
    """The first Python 3.12 that can make environments: the one that is named, else on PATH, else of pyenv."""
    return next((each for each in _candidates(environ) if _is_python_312(each)), None)


def _candidates(environ: Mapping[str, str]) -> Iterator[str]:
    if named := environ.get(VARIABLE):
        yield named
        return
    yield sys.executable
    if on_path := shutil.which("python3.12", path=environ.get("PATH")):
        yield on_path
    pyenv = Path(environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob("versions/3.12*/bin/python3.12"), reverse=True))


def _is_python_312(python: str) -> bool:
    try:  # pyenv's shims are on PATH for versions too that are not switched on
        return subprocess.run([python, "-c", _PROBE], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def find_or_build(python: str) -> Path:
    """The interpreter of the cached environment, keyed by Python and by the pinned versions. Raises InstallFailed."""
    constraints = EXAMPLE / "constraints.txt"
    cache = cache_folder().with_name("recotem")
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / hashlib.sha256(constraints.read_bytes() + os.path.realpath(python).encode()).hexdigest()[:12]
    made = folder / "bin" / "python"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ((folder / "ready").exists() and _is_python_312(str(made))):  # the Python that it was made from may be gone
            say_to_stderr("installing Recotem into the cache, about a minute, once")
            _run([python, "-m", "venv", "--clear", str(folder)])
            _run([str(made), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--constraint", str(constraints), "recotem"])
            (folder / "ready").touch()
    return made


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallFailed("\n".join(done.stderr.strip().splitlines()[-5:]))
