"""A pod's first container as a local process: paths, environment, volumes, and how it ends."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.pod_builders import look_up, pod, python

from retrain_operator.embedded.pod_paths import Mount, to_local
from retrain_operator.embedded.pods import ImageMap, PodConfigError, PodProcess, Terminated, UnknownImage

MOUNTS = [
    Mount("/data", Path("/local/data")),
    Mount("/data/models/", Path("/local/models")),
    Mount("/etc/retrain/config.json", Path("/local/config.json")),
    Mount("/dev/termination-log", Path("/local/termination-log")),
]
# Ends only when the test says so, and tells when its handlers are in place.
WAITS = "import signal, sys, pathlib; {handler}; pathlib.Path('ready').touch(); signal.pause()"


async def start(body: Mapping[str, Any], root: Path) -> PodProcess:
    return await PodProcess.start(body, images=ImageMap({"python": ["python"]}), lookup=look_up, root=root)


async def run(body: Mapping[str, Any], root: Path) -> tuple[Terminated, str]:
    process = await start(body, root)
    end = await asyncio.wait_for(process.wait(), 30)
    return end, process.log_path.read_text() if process.log_path.exists() else ""


async def until_exists(path: Path) -> None:
    async with asyncio.timeout(30):
        while not path.exists():  # noqa: ASYNC110 - a file of another process: nothing to be notified by
            await asyncio.sleep(0.01)


# Paths


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("/data", "/local/data", id="the mount itself"),
        pytest.param("/data/", "/local/data/", id="the mount with a slash"),
        pytest.param("/data/train.csv", "/local/data/train.csv", id="below the mount"),
        pytest.param("/database/x", "/database/x", id="a longer name is another folder"),
        pytest.param("/data/models/m.skops", "/local/models/m.skops", id="the longest mount wins"),
        pytest.param("/data/models", "/local/models", id="a mount given with a slash matches without"),
        pytest.param("/etc/retrain/config.json", "/local/config.json", id="a mounted file"),
        pytest.param("/etc/retrain/config.json.bak", "/etc/retrain/config.json.bak", id="not the mounted file"),
        pytest.param("/dev/termination-log", "/local/termination-log", id="the termination message"),
        pytest.param("file:///data/x", "file:///local/data/x", id="after file://"),
        pytest.param("--out=/data/x", "--out=/local/data/x", id="after a flag"),
        pytest.param("--out=file:///data/x", "--out=file:///local/data/x", id="after a flag and file://"),
        pytest.param("s3://data/x", "s3://data/x", id="another scheme"),
        pytest.param("https://host/data/x", "https://host/data/x", id="inside a URL"),
        pytest.param("/usr/bin:/data", "/usr/bin:/data", id="inside a list of paths"),
        pytest.param('{"path": "/data/x"}', '{"path": "/data/x"}', id="inside JSON"),
        pytest.param("data/x", "data/x", id="a relative path"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_container_paths_become_local_paths(value: str, expected: str) -> None:
    assert to_local(value, MOUNTS) == expected


# Images


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param("trainer", "by-name", id="bare"),
        pytest.param("trainer:1.0", "by-name", id="tag"),
        pytest.param("host.example:5000/team/trainer@sha256:0a", "by-name", id="host, path and digest"),
        pytest.param("host.example/exact/trainer:2", "by-reference", id="a whole reference wins over a name"),
        pytest.param("host.example/any/thing:1", "by-prefix", id="prefix"),
        pytest.param("host.example/trainer-x", "by-prefix", id="a longer name is another image"),
        pytest.param("other.example/trainer-x", None, id="unknown"),
    ],
)
def test_an_image_stands_for_a_command(image: str, expected: str | None) -> None:
    images = ImageMap({"trainer": ["by-name"], "host.example/": ["by-prefix"], "host.example/exact/trainer": ["by-reference"]})
    if expected is None:
        with pytest.raises(UnknownImage, match=r"other\.example/trainer-x"):
            images.command(image)
    else:
        assert images.command(image) == [expected]


@pytest.mark.parametrize(
    ("container", "reason", "message"),
    [
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "a"}}}]},
            "CreateContainerConfigError",
            'configmap "none" not found',
            id="ConfigMap",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "none"}}}]},
            "CreateContainerConfigError",
            "couldn't find key none in Secret ml/keys",
            id="key of a Secret",
        ),
        pytest.param(
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}], "spec": {"volumes": [{"name": "v", "secret": {"secretName": "none"}}]}},
            "ContainerCreating",
            'secret "none" not found',
            id="volume",
        ),
        pytest.param(
            {
                "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "../../x"}],
                "spec": {"volumes": [{"name": "v", "emptyDir": {}}]},
            },
            "CreateContainerConfigError",
            "leads out of its volume",
            id="subPath that leads out",
        ),
        pytest.param(
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}], "spec": {"volumes": [{"name": "v", "nfs": {"server": "s"}}]}},
            "ContainerCreating",
            "not supported",
            id="a kind of volume that needs a real node",
        ),
    ],
)
async def test_what_is_missing_is_named(container: dict[str, Any], reason: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PodConfigError, match=message) as caught:
        await start(pod("python", **container), tmp_path)
    assert caught.value.reason == reason


# Processes


async def test_volumes_reach_the_process(tmp_path: Path) -> None:
    code = """
import json, os, pathlib
found = {name: pathlib.Path(os.environ[name]).read_text() for name in ("CONFIG", "RATE", "DEEP", "TOKEN", "LABELS", "HOST")}
pathlib.Path(os.environ["OUT"]).write_text("kept")
(pathlib.Path(os.environ["TEMPORARY"]) / "x").write_text("scratch")
pathlib.Path(os.environ["MESSAGE"]).write_text(json.dumps(found))
"""
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "file").write_text("of the host")
    volumes = [
        {
            "name": "config",
            "downwardAPI": {"items": [{"path": "config.json", "fieldRef": {"fieldPath": "metadata.annotations['retrain.dev/config']"}}]},
        },
        {"name": "settings", "configMap": {"name": "settings"}},
        {
            "name": "all",
            "projected": {
                "sources": [
                    {"secret": {"name": "keys", "items": [{"key": "token", "path": "secrets/token"}]}},
                    {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                    {"configMap": {"name": "settings", "items": [{"key": "sub", "path": "a/b"}]}},
                    {"serviceAccountToken": {"path": "token"}},
                ]
            },
        },
        {"name": "host", "hostPath": {"path": str(tmp_path / "host")}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "models"}},
        {"name": "temporary", "emptyDir": {}},
    ]
    mounts = [
        {"name": "config", "mountPath": "/etc/retrain"},
        {"name": "settings", "mountPath": "/settings/rate", "subPath": "rate"},
        {"name": "all", "mountPath": "/all"},
        {"name": "host", "mountPath": "/host"},
        {"name": "claim", "mountPath": "/models", "subPath": "churn"},
        {"name": "temporary", "mountPath": "/scratch"},
    ]
    environment = {
        "CONFIG": "/etc/retrain/config.json", "RATE": "/settings/rate", "DEEP": "/all/a/b", "TOKEN": "/all/secrets/token",
        "LABELS": "/all/labels", "HOST": "/host/file", "OUT": "/models/out", "TEMPORARY": "/scratch", "MESSAGE": "/dev/termination-log",
    }  # fmt: skip
    body = python(
        code, env=[{"name": name, "value": value} for name, value in environment.items()], volumeMounts=mounts, spec={"volumes": volumes}
    )
    end, log = await run(body, tmp_path / "root")
    assert (end.exit_code, log) == (0, "")
    assert end.message == (
        '{"CONFIG": "{\\"task\\": \\"tabular\\"}", "RATE": "0.1", "DEEP": "deep", "TOKEN": "s3cret", '
        '"LABELS": "app=\\"retrain\\"\\ntier=\\"batch\\"", "HOST": "of the host"}'
    )
    assert (tmp_path / "root/claims/ml/models/churn/out").read_text() == "kept", "a claim outlives its pods"


async def test_the_environment_is_clean_and_arguments_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_PARENT", "1")
    code = "import os, sys; print(sys.argv[1:], 'OF_THE_PARENT' in os.environ, os.environ['HOSTNAME'], os.getcwd() == os.environ['HOME'])"
    body = python(code, args=["--to=$(TO)", "$$(TO)"], env=[{"name": "TO", "value": "/models"}])
    _, log = await run(body, tmp_path)
    assert log == "['--to=/models', '$(TO)'] False run-1 True\n"


async def test_args_are_the_entrypoints_arguments(tmp_path: Path) -> None:
    _, log = await run(pod(args=["-c", "print('entrypoint')"]), tmp_path)
    assert log == "entrypoint\n"


@pytest.mark.parametrize(
    ("code", "exit_code", "reason"),
    [
        pytest.param("pass", 0, "Completed", id="success"),
        pytest.param("raise SystemExit(3)", 3, "Error", id="exit code"),
        pytest.param("import os; os.kill(os.getpid(), 15)", 143, "Error", id="SIGTERM"),
        pytest.param("import os; os.kill(os.getpid(), 9)", 137, "Error", id="SIGKILL"),
    ],
)
async def test_how_it_ended(code: str, exit_code: int, reason: str, tmp_path: Path) -> None:
    end, _ = await run(python(code), tmp_path)
    assert (end.exit_code, end.reason, end.message) == (exit_code, reason, "")
    assert end.started_at <= end.finished_at


async def test_killed_with_a_memory_limit_is_out_of_memory(tmp_path: Path) -> None:
    end, _ = await run(python("import os; os.kill(os.getpid(), 9)", resources={"limits": {"memory": "1Gi"}}), tmp_path)
    assert (end.exit_code, end.reason) == (137, "OOMKilled")


async def test_a_command_that_does_not_exist_is_a_start_error(tmp_path: Path) -> None:
    end, _ = await run(pod("no-such-program"), tmp_path)
    assert (end.exit_code, end.reason) == (128, "StartError")
    assert "no-such-program" in end.message


async def test_an_unknown_image_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(UnknownImage, match="unheard-of"):
        await start(pod(image="unheard-of:1"), tmp_path)


@pytest.mark.parametrize(
    ("policy", "code", "expected"),
    [
        pytest.param("File", "print('last words'); raise SystemExit(1)", "", id="File: the log is not the message"),
        pytest.param("FallbackToLogsOnError", "print('last words'); raise SystemExit(1)", "last words\n", id="fallback on error"),
        pytest.param("FallbackToLogsOnError", "print('last words')", "", id="fallback: not on success"),
        pytest.param("FallbackToLogsOnError", "print('x\\n' * 200); raise SystemExit(1)", "x\n" * 79 + "\n", id="fallback: 80 lines"),
        pytest.param("File", "import os; open(os.environ['M'], 'w').write('a' + 'b' * 4096)", "b" * 4096, id="the last 4096 bytes"),
    ],
)
async def test_termination_message(policy: str, code: str, expected: str, tmp_path: Path) -> None:
    body = python(code, env=[{"name": "M", "value": "/dev/termination-log"}], terminationMessagePolicy=policy)
    end, _ = await run(body, tmp_path)
    assert end.message == expected


async def test_another_termination_message_path(tmp_path: Path) -> None:
    body = python("import os; open(os.environ['M'], 'w').write('x')", env=[{"name": "M", "value": "/m"}], terminationMessagePath="/m")
    end, _ = await run(body, tmp_path)
    assert end.message == "x"


async def test_sigterm_lets_it_finish_in_its_own_way(tmp_path: Path) -> None:
    process = await start(python(WAITS.format(handler="signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))")), tmp_path)
    await until_exists(tmp_path / "pods/u-1/scratch/ready")
    end = await process.terminate(grace_s=30)
    assert (end.exit_code, end.reason) == (5, "Error")


async def test_sigkill_after_the_grace_period(tmp_path: Path) -> None:
    body = python(WAITS.format(handler="signal.signal(signal.SIGTERM, signal.SIG_IGN)"), resources={"limits": {"memory": "1Gi"}})
    process = await start(body, tmp_path)
    await until_exists(tmp_path / "pods/u-1/scratch/ready")
    end = await process.terminate(grace_s=0.05)
    assert (end.exit_code, end.reason) == (137, "Error"), "our own SIGKILL is not an OOM"


async def test_children_end_with_the_first_process(tmp_path: Path) -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"
    _, log = await run(python(code), tmp_path)
    async with asyncio.timeout(30):
        while _is_alive(int(log)):  # noqa: ASYNC110 - killed before `run` returned; this is the time to be reaped
            await asyncio.sleep(0.01)


def _is_alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
