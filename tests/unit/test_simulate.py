"""`retrain simulate`: small simulations with the timelines that they must have, and what the command says and returns."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrain_operator.cli import main
from retrain_operator.cron import Cron
from retrain_operator.embedded.simulation import Question, simulate
from retrain_operator.embedded.simulation_story import What

EXAMPLES = sorted((Path(__file__).parents[2] / "manifests/examples").glob("*.yaml"))


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def schedule(cron: str = "0 * * * *", zone: str = "Etc/UTC", **spec: Any) -> dict[str, Any]:
    run = {"trainer": {"image": "trainer:1"}, **spec.pop("run", {})}
    return {
        "apiVersion": "retrain.dev/v1alpha1",
        "kind": "RetrainSchedule",
        "metadata": {"name": "churn", "namespace": "ml"},
        "spec": {"schedule": cron, "timeZone": zone, "jobTemplate": {"spec": run}, **spec},
    }


def question(body: dict[str, Any], start: str = "2026-03-01", hours: int = 24, **more: Any) -> Question:
    return Question(body, instant(start), instant(start) + timedelta(hours=hours), **more)


def timeline(asked: Question) -> list[str]:
    """Month-day and time in UTC, what, and what makes the difference."""
    lines = []
    for entry in simulate(asked).timeline:
        tick = f" {entry.tick:%H:%M}" if entry.tick and entry.what not in (What.COMPLETED, What.FAILED) else ""
        first = f" from {entry.first_tick:%H:%M} ({entry.count})" if entry.first_tick else ""
        told = f": {entry.text or entry.reason}" if entry.text or entry.reason else ""
        lines.append(f"{entry.at:%d %H:%M} {entry.what.value}{tick}{first}{told}")
    return lines


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(
            question(schedule("30 1 * * *", "Europe/London"), "2026-03-28T12:00", 36),
            [
                "29 01:00 note: clocks go forward 1 h: GMT to BST",
                "29 01:00 note: 01:30 does not exist on this day: runs at 02:00",
                "29 01:00 run started 01:00",
                "29 01:40 run completed",
            ],
            id="London, spring: a time in the gap runs at its end",
        ),
        pytest.param(
            question(schedule("30 1 * * *", "Europe/London"), "2026-10-24T12:00", 24),
            [
                "25 00:30 note: 01:30 happens twice: runs at the first",
                "25 00:30 run started 00:30",
                "25 01:00 note: clocks go back 1 h: BST to GMT",
                "25 01:10 run completed",
            ],
            id="London, autumn: a repeated time runs at the first",
        ),
        pytest.param(
            question(schedule("30 2 * * *", "America/New_York"), "2026-03-08T04:00", 24),
            [
                "08 07:00 note: clocks go forward 1 h: EST to EDT",
                "08 07:00 note: 02:30 does not exist on this day: runs at 03:00",
                "08 07:00 run started 07:00",
                "08 07:40 run completed",
            ],
            id="New York, spring: a time in the gap runs at its end",
        ),
        pytest.param(
            question(schedule("0 */1 * * *", "America/New_York"), "2026-11-01T04:30", 3, runs_take_s=600),
            [
                "01 05:00 note: 01:00 happens twice: runs both times",
                "01 05:00 run started 05:00",
                "01 05:10 run completed",
                "01 06:00 note: clocks go back 1 h: EDT to EST",
                "01 06:00 run started 06:00",
                "01 06:10 run completed",
                "01 07:00 run started 07:00",
                "01 07:10 run completed",
            ],
            id="New York, autumn: stepped hours follow real time",
        ),
        pytest.param(
            question(schedule("0 */1 * * *", "Europe/London"), "2026-03-29T00:30", 1, runs_take_s=600),
            [
                "29 01:00 note: clocks go forward 1 h: GMT to BST",
                "29 01:00 note: 01:00 does not exist on this day: no tick, the interval stays as it was",
                "29 01:00 run started 01:00",
                "29 01:10 run completed",
            ],
            id="London, spring: stepped hours follow real time",
        ),
        pytest.param(
            question(schedule(), hours=4, runs_take_s=7800),
            [
                "01 00:00 run started 00:00",
                "01 01:00 tick waits 01:00: ConcurrencyForbid",
                "01 02:00 tick skipped 01:00: ConcurrencyForbid",
                "01 02:00 tick waits 02:00: ConcurrencyForbid",
                "01 02:10 run completed",
                "01 02:10 run started 02:00",
                "01 03:00 tick waits 03:00: ConcurrencyForbid",
            ],
            id="Forbid: runs that take longer than the interval",
        ),
        pytest.param(
            question(schedule(), "2026-03-01T00:00", 8, down=((instant("2026-03-01T00:30"), instant("2026-03-01T06:10")),)),
            [
                "01 00:00 run started 00:00",
                "01 00:30 operator down",
                "01 06:10 operator up",
                "01 06:10 run completed",
                "01 06:10 tick skipped 05:00 from 01:00 (5): Superseded",
                "01 06:10 run started 06:00",
                "01 06:50 run completed",
                "01 07:00 run started 07:00",
                "01 07:40 run completed",
            ],
            id="an outage: the latest missed tick runs, the others are told of",
        ),
        pytest.param(
            question(schedule(startingDeadlineSeconds=600), hours=4, down=((instant("2026-03-01T00:50"), instant("2026-03-01T02:30")),)),
            [
                "01 00:00 run started 00:00",
                "01 00:40 run completed",
                "01 00:50 operator down",
                "01 02:30 operator up",
                "01 02:30 tick skipped 02:00 from 01:00 (2): DeadlineMissed",
                "01 03:00 run started 03:00",
                "01 03:40 run completed",
            ],
            id="an outage beyond the deadline: missed",
        ),
        pytest.param(
            question(schedule("0 2 * * *", suspend=True), hours=72),
            ["04 00:00 tick skipped 02:00 from 02:00 (3): Suspended"],
            id="suspended: nothing starts, and it is told at the end",
        ),
        pytest.param(question(schedule("0 0 1 1 *")), [], id="no tick: nothing happens"),
        pytest.param(
            question(schedule(run={"activeDeadlineSeconds": 600, "retry": {"limit": 0}}), hours=1, runs_take_s=2400),
            ["01 00:00 run started 00:00", "01 00:10 run failed: DeadlineExceeded"],
            id="a run longer than its own deadline",
        ),
        pytest.param(
            question(schedule(run={"mode": "Simulate"}), hours=1),
            ["01 00:00 run started 00:00", "01 00:40 run completed"],
            id="mode Simulate",
        ),
    ],
)
def test_timeline(asked: Question, expected: list[str]) -> None:
    assert timeline(asked) == expected


def test_every_run_fails_at_a_rate_of_one() -> None:
    told = simulate(question(schedule(run={"retry": {"limit": 0}}), hours=6, fail_rate=1.0))
    assert [entry.what for entry in told.entries] == [What.STARTED, What.FAILED] * 6
    assert {entry.reason for entry in told.entries if entry.what is What.FAILED} == {"UnexpectedError"}
    assert told.summary()["runs"] == {"completed": 0, "failed": 6, "skipped": 0, "deleted": 0, "unfinished": 0}


def test_a_failed_run_is_retried() -> None:
    told = simulate(question(schedule("0 2 * * *", run={"retry": {"limit": 2, "jitter": 0}}), fail_rate=1.0))
    runs = [(entry.what, entry.job) for entry in told.entries]
    root = "churn-29538840"
    assert [each for each in runs if each[0] is What.RETRIED] == [(What.RETRIED, f"{root}-r1"), (What.RETRIED, f"{root}-r2")]
    assert [job for what, job in runs if what is What.FAILED] == [root, f"{root}-r1", f"{root}-r2"]
    assert told.summary()["retries"] == 2
    assert told.summary()["longestWaitSeconds"] == 0


def test_summary() -> None:
    told = simulate(question(schedule("0 9,10 * * *", "Europe/Paris"), hours=48, runs_take_s=5400)).summary()
    assert told == {
        "ticks": 4,
        "runs": {"completed": 4, "failed": 0, "skipped": 0, "deleted": 0, "unfinished": 0},
        "skips": {},
        "retries": 0,
        "trainingSeconds": 4 * 5400,
        "longestWaitSeconds": 1800,
        "busiestHour": {"hour": 9, "starts": 2},
    }


def test_the_ticks_of_an_outage_beyond_counting_are_counted() -> None:
    down = ((instant("2026-03-01T00:50"), instant("2026-03-11T00:30")),)
    told = simulate(question(schedule(), hours=24 * 11, down=down))
    assert told.summary()["skips"] == {"Superseded": 239}
    assert [entry.reason for entry in told.entries if entry.what is What.EVENT] == ["TooManyMissedTicks"]
    assert told.summary()["runs"]["completed"] == told.summary()["ticks"] - 239


def test_a_week_of_the_demo_has_the_ticks_of_cron() -> None:
    body = yaml.safe_load(files("retrain_operator.embedded").joinpath("demo.yaml").read_text())
    told = simulate(question(body, hours=24 * 7, runs_take_s=20))
    started = [entry.tick for entry in told.entries if entry.what is What.STARTED]
    expected = list(Cron.parse("* * * * *").ticks_backward(told.end - timedelta(seconds=1), told.start - timedelta(seconds=1)))[::-1]
    assert started == expected
    assert len(started) == 7 * 24 * 60
    assert [entry.at for entry in told.entries if entry.what is What.STARTED] == expected


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(question(schedule(), hours=72), id="hourly"),
        pytest.param(question(schedule("15,45 8-10 * * 1-5", "Europe/London"), "2026-03-26", 24 * 6, runs_take_s=2000), id="clock change"),
        pytest.param(question(schedule(run={"retry": {"jitter": 0}}), hours=60, fail_rate=0.15, seed=4), id="failures and retries"),
        pytest.param(question(schedule(run={"retry": {"limit": 0}}), hours=60, fail_rate=0.4, seed=1), id="failures"),
        pytest.param(
            question(
                schedule("*/20 * * * *"), hours=20, runs_take_s=1000, down=((instant("2026-03-01T09:10"), instant("2026-03-01T12:05")),)
            ),
            id="outage",
        ),
        pytest.param(question(schedule("0 0 * * *", successfulJobsHistoryLimit=0), hours=24 * 9, runs_take_s=36_000), id="no history"),
    ],
)
def test_what_is_taken_from_memory_is_what_the_controller_does(asked: Question) -> None:
    assert simulate(asked).timeline == simulate(replace(asked, replay=False)).timeline


def test_the_same_seed_fails_the_same_runs() -> None:
    asked = question(schedule(run={"retry": {"limit": 0}}), hours=24, fail_rate=0.3, seed=7)
    assert simulate(asked).entries == simulate(asked).entries
    assert simulate(asked).entries != simulate(replace(asked, seed=8)).entries


# The command


def write(folder: Path, *bodies: dict[str, Any]) -> str:
    path = folder / "schedule.yaml"
    path.write_text(yaml.safe_dump_all(bodies))
    return str(path)


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, schedule("30 2 * * *", "Europe/London"))
    assert main(["simulate", "-f", path, "--from", "2026-06-01T00:00Z", "--days", "1", "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {"schedule", "from", "to", "timeline", "summary"}
    assert (told["schedule"], told["from"], told["to"]) == ("churn", "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z")
    assert told["timeline"] == [
        {
            "at": "2026-06-01T01:30:00Z",
            "local": "2026-06-01T02:30:00+01:00",
            "what": "run started",
            "job": "churn-29671290",
            "tick": "2026-06-01T01:30:00Z",
        },
        {
            "at": "2026-06-01T02:10:00Z",
            "local": "2026-06-01T03:10:00+01:00",
            "what": "run completed",
            "job": "churn-29671290",
            "tick": "2026-06-01T01:30:00Z",
            "tookSeconds": 2400,
        },
    ]
    assert told["summary"]["runs"]["completed"] == 1


def test_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, schedule("30 2 * * *", "America/New_York"))
    assert main(["simulate", "-f", path, "--from", "2026-03-08T05:00Z", "--days", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "churn: 30 2 * * * America/New_York, 1 day from Sun 2026-03-08 00:00 EST -05:00",
        "",
        "  Sun 2026-03-08 03:00 EDT -04:00  03-08T07:00Z  clocks go forward 1 h: EST to EDT",
        "  Sun 2026-03-08 03:00 EDT -04:00  03-08T07:00Z  02:30 does not exist on this day: runs at 03:00",
        "  Sun 2026-03-08 03:00 EDT -04:00  03-08T07:00Z  run started   churn-29549220",
        "  Sun 2026-03-08 03:40 EDT -04:00  03-08T07:40Z  run completed churn-29549220, after 40m",
        "",
        "  ticks          1",
        "  runs           1 completed",
        "  skipped ticks  none",
        "  retries        0",
        "  training time  40m",
        "  longest wait   0s",
        "  busiest hour   03:00, 1 starts",
    ]


def test_a_long_horizon_is_short_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, schedule("0 * * * *", "Europe/London"))
    command = ["simulate", "-f", path, "--from", "2026-01-01T00:00Z", "--days", "120", "--down", "2026-02-01T00:30Z/2026-02-01T08:00Z"]
    assert main(command) == 0
    short = capsys.readouterr().out.splitlines()
    assert len(short) < 40
    assert max(map(len, short)) <= 100
    assert any("operator down" in line for line in short)
    assert any("7 ticks skipped, 01:00 to 07:00: Superseded" in line for line in short)
    assert any("… runs: " in line for line in short)
    assert main([*command, "--all"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 2 * 24 * 119


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_shipped_examples(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "-f", str(example), "--from", "2026-03-28T00:00Z", "--days", "2", "--runs-take", "4m"]) == 0
    told = capsys.readouterr()
    documents = list(yaml.safe_load_all(example.read_text()))
    schedules = [each for each in documents if each["kind"] == "RetrainSchedule"]
    for each in schedules:
        name = each["metadata"]["name"]
        assert name in (told.out if "schedule" in each["spec"] else told.err)
        assert (f"{name}: only its ticks are simulated" in told.err) == ({"schedule", "policy"} <= each["spec"].keys())
    assert ("ignored" in told.err) == (len(schedules) < len(documents))


STORIES = [
    pytest.param("01", ["--days", "1", "--runs-take", "4m"], ["ticks          288", "runs           288 completed"], id="01: all run"),
    pytest.param("01", ["--days", "1"], ["runs           287 completed, 1 unfinished"], id="01: runs take less than their deadline"),
    pytest.param("04", ["--days", "2"], ["2 ticks skipped", "Suspended", "runs           none"], id="04: suspended"),
    pytest.param("05", ["--days", "5"], ["clocks go forward 1 h", "02:39 does not exist on this day: runs at 03:00"], id="05: a gap"),
    pytest.param(
        "05",
        ["--days", "8", "--down", "2026-03-07T00:00Z/2026-03-12T12:00Z"],
        ["skipped ticks  3 DeadlineMissed, 1 Superseded", "waits: ConcurrencyQueue", "runs           4 completed"],
        id="05: an outage, made up for",
    ),
    pytest.param("05", ["--days", "5", "--fail-rate", "1"], ["Paused: 3 runs failed in a row", "2 Paused"], id="05: failures in a row"),
    pytest.param(
        "07", ["--days", "365"], ["cancer-quarterly-md41bbb44f0", "ticks          4", "runs           5 completed"], id="07: by hand"
    ),
]


@pytest.mark.parametrize(("number", "flags", "expected"), STORIES)
def test_what_the_shipped_schedules_would_do(
    number: str, flags: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    [example] = [each for each in EXAMPLES if each.name.startswith(number)]
    assert main(["simulate", "-f", str(example), "--from", "2026-03-06T00:00Z", *flags]) == 0
    told = capsys.readouterr().out
    assert [each for each in expected if each not in told] == [], told


def test_several_schedules_each_on_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    other = schedule() | {"metadata": {"name": "upsell"}}
    text = yaml.safe_dump_all([schedule(), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}, None, other])
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert main(["simulate", "-f", "-", "--days", "1"]) == 0
    told = capsys.readouterr()
    assert [line.partition(":")[0] for line in told.out.splitlines() if " 1 day from " in line] == ["churn", "upsell"]
    assert told.err == "retrain simulate: stdin: ignored: ConfigMap settings is not a RetrainSchedule\n"
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "notes.txt").write_text("not for us")
    assert main(["simulate", "-f", str(tmp_path), "--days", "1"]) == 0


def test_nobody_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = (path for path in EXAMPLES if path.name.startswith("17"))
    assert main(["simulate", "-f", str(example), "--days", "2"]) == 0
    assert "NotificationFailed" not in capsys.readouterr().out


def test_a_drift_policy_is_not_simulated_and_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watched = {"signals": [{"name": "psi", "configMap": {"name": "drift", "key": "psi"}, "above": 0.2}]}
    both, alone = schedule(policy=watched), schedule(policy=watched)
    del alone["spec"]["schedule"]
    assert simulate(question(both)).timeline == simulate(question(schedule())).timeline
    assert main(["simulate", "-f", write(tmp_path, both), "--days", "1"]) == 0
    assert "churn: only its ticks are simulated, not its drift policy" in capsys.readouterr().err
    assert main(["simulate", "-f", write(tmp_path, alone), "--days", "1"]) == 0
    told = capsys.readouterr()
    assert "churn: it has no schedule, only a drift policy" in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(schedule("61 * * * *"), 'RetrainSchedule "churn" is invalid: spec.schedule: minute', id="refused when applied"),
        pytest.param(schedule(nonsense=1), "spec.nonsense: Extra inputs are not permitted", id="an unknown field"),
        pytest.param(schedule("0 0 31 2 *"), "never fires", id="31 February"),
        pytest.param(schedule(zone="Europe/Londn"), 'timeZone "Europe/Londn" is not an IANA time zone', id="an unknown zone"),
        pytest.param(schedule() | {"apiVersion": "retrain.dev/v2"}, 'in version "retrain.dev/v2"', id="another version"),
        pytest.param(schedule() | {"metadata": {}}, "has no name", id="no name"),
        pytest.param(schedule() | {"metadata": {"name": "Churn!"}}, "Churn!", id="a bad name"),
        pytest.param(schedule() | {"metadata": {"name": "c" * 41}}, "at most 40 characters", id="a long name"),
        pytest.param(schedule() | {"spec": None}, "spec.jobTemplate: Field required", id="no spec"),
        pytest.param(schedule() | {"spec": "daily"}, "valid dictionary", id="a spec that is a text"),
        pytest.param(schedule(run={"config": {"rows": "x" * 140_000}}), "config is longer than", id="no Job can be made of it"),
    ],
)
def test_an_invalid_schedule(body: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "-f", write(tmp_path, body)]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert "Traceback" not in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: [", "not YAML", id="not YAML"),
        pytest.param("just text", "not a Kubernetes object", id="not an object"),
        pytest.param("", "no RetrainSchedule in", id="empty"),
    ],
)
def test_a_file_without_objects(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text(text)
    assert main(["simulate", "-f", str(tmp_path / "x.yaml")]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "-f", "/nowhere.yaml"]) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ["--from", "yesterday"],
        ["--from", "2026-03-01T00:00"],
        ["--days", "0"],
        ["--runs-take", "long"],
        ["--runs-take", "0s"],
        ["--fail-rate", "2"],
        ["--down", "2026-03-01T00:00Z"],
        ["--down", "2026-03-02T00:00Z/2026-03-01T00:00Z"],
    ],
    ids=" ".join,
)
def test_a_flag_that_makes_no_sense(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["simulate", "-f", write(tmp_path, schedule()), *flags])
    assert stopped.value.code == 2
    assert flags[0] in capsys.readouterr().err
