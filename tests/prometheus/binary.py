"""Finds a real Prometheus: one that is named or installed, else Debian's package, unpacked into a cache outside the checkout.

The folder of the cache is named by the package's version and appears by one rename, so that a half-done one is never taken. Nothing is
installed, and no right is needed.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

BINARY_VARIABLE = "RETRAIN_PROMETHEUS"
PACKAGE = "prometheus"
TIMEOUT_S = 180


class PrometheusUnavailable(Exception):
    """There is none, and it cannot be had here. Says what to do."""


def find_prometheus() -> Path:
    """The binary. Raises PrometheusUnavailable."""
    given = os.environ.get(BINARY_VARIABLE) or shutil.which(PACKAGE)
    if given:
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retrain-operator" / "prometheus"
    cache.mkdir(parents=True, exist_ok=True)
    version = _candidate()
    if version is None:
        unpacked = sorted(cache.glob("[0-9]*/usr/bin/prometheus"))
        if unpacked:
            return unpacked[-1]
        raise PrometheusUnavailable(
            f"no Prometheus: name one in {BINARY_VARIABLE}, or on Debian run `apt-get update`, so that its package can be fetched"
        )
    target = cache / re.sub(r"[^A-Za-z0-9.+~-]", "_", version)
    if not target.is_dir():
        _unpack(version, cache, target)
    return target / "usr/bin/prometheus"


def _candidate() -> str | None:
    """Version of the package that apt would fetch."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    told = subprocess.run(["apt-cache", "policy", PACKAGE], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    found = re.search(r"^\s*Candidate: (\S+)", told.stdout, re.MULTILINE)
    return found[1] if found and found[1] != "(none)" else None


def _unpack(version: str, cache: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache, prefix="partial-") as folder:
        # Without the sandbox: its user may not write here.
        fetched = _run("apt-get", "-o", "APT::Sandbox::User=root", "download", f"{PACKAGE}={version}", cwd=folder)
        packages = list(Path(folder).glob("*.deb"))
        if fetched.returncode or not packages:
            raise PrometheusUnavailable(f"the package {PACKAGE} cannot be fetched: {fetched.stderr.strip()}")
        unpacked = _run("dpkg", "-x", str(packages[0]), "unpacked", cwd=folder)
        if unpacked.returncode:
            raise PrometheusUnavailable(f"the package {PACKAGE} cannot be unpacked: {unpacked.stderr.strip()}")
        if not target.is_dir():  # another run may have been quicker
            (Path(folder) / "unpacked").rename(target)


def _run(*command: str, cwd: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
