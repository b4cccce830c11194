"""`python -m tests.bench.trainer [name ...]`: time and memory of real trainings, each a process of its own; docs/benchmarks-trainer.md.

The data is generated from fixed seeds, written as Parquet before the clock starts, and never leaves the temporary folder.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retrain_trainer import synthetic
from tests.bench import report

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks-trainer.md"
TRAINER = Path(__file__).parents[2] / "trainer_image"
COLUMNS = ("what", "wall s", "CPU s", "load s", "search s", "fit s", "evaluate s", "write s", "peak RSS MiB", "metric")
INTERACTIONS = {"100 k": "users=1000&items=1700&n=100000", "1 M": "users=6000&items=3700&n=1000000"}
TABLE_ROWS, TABLE_COLUMNS = 1_000_000, 20
GOAL_SKIP_S = 1.0


@dataclass(frozen=True)
class Case:
    """A training. `data` writes its file into a folder."""

    name: str
    config: dict[str, Any]
    data: Callable[[Path], Path]
    environment: dict[str, str] = field(default_factory=dict)


def interactions(size: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / f"interactions-{size.replace(' ', '')}.parquet"
        if not path.exists():
            synthetic.generate(synthetic.parse(f"synthetic:interactions?{INTERACTIONS[size]}&seed=1")).to_parquet(path, index=False)
        return path

    return write


def table(folder: Path) -> Path:
    """Two classes from a logistic law of 20 normal columns."""
    import numpy as np
    import pandas as pd  # type: ignore[import-untyped]

    path = folder / "table.parquet"
    if not path.exists():
        rng = np.random.default_rng(1)
        values = rng.normal(size=(TABLE_ROWS, TABLE_COLUMNS))
        chance = 1 / (1 + np.exp(-(values @ rng.normal(size=TABLE_COLUMNS)) + values[:, 0] * values[:, 1]))
        frame = pd.DataFrame(values, columns=[f"x{i}" for i in range(TABLE_COLUMNS)])
        frame.assign(y=(rng.random(TABLE_ROWS) < chance).astype(int)).to_parquet(path, index=False)
    return path


def recommender(algorithm: str) -> dict[str, Any]:
    return {"task": "recommender", "algorithm": algorithm, "userColumn": "user", "itemColumn": "item", "timeColumn": "time"}


def tabular(estimator: str, **params: Any) -> dict[str, Any]:
    return {"task": "tabular", "target": "y", "estimator": estimator, "params": params}


CASES = [
    *(
        Case(f"{algorithm}, {size} interactions", recommender(algorithm), interactions(size))
        for size in INTERACTIONS
        for algorithm in ("toppop", "ease", "rp3beta", "ials")
    ),
    Case("ials, 1 M interactions, 20 trials", recommender("ials"), interactions("1 M"), {"RETRAIN_RETUNE": '{"trials": 20}'}),
    Case("logistic regression, 1 M x 20", tabular("sklearn.linear_model.LogisticRegression"), table),
    Case("histogram boosting, 1 M x 20", tabular("sklearn.ensemble.HistGradientBoostingClassifier"), table),
]


@dataclass(frozen=True)
class Measured:
    """One process, with those that it started: seconds by the clock and of the CPU, and its result."""

    wall_s: float
    cpu_s: float
    result: dict[str, Any]


def train(case: Case, folder: Path, run_id: str, **more: str) -> Measured:
    """RuntimeError when it fails."""
    config, result = folder / "config.json", folder / "result.json"
    config.write_text(json.dumps(case.config))
    given = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(TRAINER),
        "PYTHONHASHSEED": "0",
        "RETRAIN_CONFIG": str(config),
        "RETRAIN_RUN_ID": run_id,
        "RETRAIN_DATA_URI": str(case.data(folder)),
        "RETRAIN_OUTPUT_URI": str(folder / "output"),
        "RETRAIN_RESULT_PATH": str(result),
        **case.environment,
        **more,
    }
    began_s, used_s = time.monotonic(), cpu_s()
    done = subprocess.run([sys.executable, "-m", "retrain_trainer"], env=given, capture_output=True, text=True, check=False)
    wall_s, took_s = time.monotonic() - began_s, cpu_s() - used_s
    if done.returncode != 0:
        raise RuntimeError(f"{case.name}: {done.stderr[-2000:]}")
    return Measured(wall_s, took_s, json.loads(result.read_text()))


def cpu_s() -> float:
    """Seconds of CPU that ended children of this process have used: unlike the clock, hardly moved by a busy machine."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def skip(folder: Path) -> tuple[Measured, int]:
    """The quickest of five runs that find the 1 M x 20 table unchanged, and the file's bytes."""
    case = Case("skip", tabular("sklearn.linear_model.LogisticRegression"), table)
    told = train(case, folder, "look", RETRAIN_MODE="Simulate").result
    before = {"RETRAIN_PREVIOUS_DATA_VERSION": told["data"]["version"], "RETRAIN_PREVIOUS_CONFIG_HASH": told["config"]["hash"]}
    runs = [train(case, folder, f"skip-{i}", RETRAIN_DATA_CHECK="Skip", **before) for i in range(5)]
    assert all(run.result["outcome"] == "skipped" for run in runs)
    return min(runs, key=lambda run: run.wall_s), told["data"]["bytes"]


def cells(case: Case, measured: Measured) -> tuple[str, ...]:
    result = measured.result
    phases = result["phaseSeconds"]
    name, value = next((name, value) for name, value in result["metrics"].items() if name.startswith(("ndcg", "roc_auc")))
    seconds = (f"{phases[phase]:.1f}" if phase in phases else "" for phase in ("load", "search", "fit", "evaluate", "write"))
    return case.name, f"{measured.wall_s:.1f}", f"{measured.cpu_s:.1f}", *seconds, f"{result['peakRssMiB']:.0f}", f"{name} {value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trainer", description=__doc__)
    parser.add_argument("name", nargs="*", help="beginnings of the names to measure; all if none is given")
    parser.add_argument("--no-page", action="store_true", help="print only")
    options = parser.parse_args()
    names: tuple[str, ...] = tuple(options.name)
    started, load_at_start = report.now(), report.load()
    rows: list[tuple[str, ...]] = [COLUMNS]
    with tempfile.TemporaryDirectory(prefix="bench-trainer-") as scratch:
        folder = Path(scratch)
        skipped, skip_bytes = skip(folder)
        took = f"{skipped.wall_s:.2f} s ({skipped.cpu_s:.2f} s of CPU)"
        told = f"Unchanged data ({skip_bytes / 2**20:.0f} MiB): skipped in {took}; goal {GOAL_SKIP_S:.0f} s."
        print(told, flush=True)
        cases = [each for each in CASES if not names or each.name.startswith(names)]
        for i, case in enumerate(cases, 1):
            print(f"{i} of {len(cases)}: {case.name} …", flush=True)
            rows.append(cells(case, train(case, folder, f"run-{i}")))
            print(
                "    " + ", ".join(f"{column} {cell}" for column, cell in zip(COLUMNS[1:], rows[-1][1:], strict=True) if cell), flush=True
            )
    if not options.no_page:
        loads = f"load average {load_at_start} at the start, {report.load()} at the end"
        began = f"Started {started:%Y-%m-%d %H:%M} UTC on {report.machine()}; {loads}."
        command = shlex.join(["python", "-m", "tests.bench.trainer", *names])
        PAGE.write_text(PAGE_TEXT.format(command=command, began=began, told=told, table=markdown(rows)))


def markdown(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


PAGE_TEXT = """# Benchmarks of the trainer

Generated by `{command}` (`make bench-trainer` runs all); edits are lost. {began}

{told}

{table}

- On a machine that others use too, seconds of CPU hold, seconds by the clock do not.
- Each row is one process, from its start to its end, on generated data with fixed seeds, written as Parquet before. The phases are those
  of the result; importing libraries is part of `load`. Peak RSS is that of the training process as the kernel has it.
- Interactions are synthetic (`synthetic:interactions?…`): their metrics compare algorithms on this data and say nothing of others.
- Goals: a run on unchanged data ends in less than a second; a search of 20 trials on 1 M interactions stays under 1,024 MiB.
"""


if __name__ == "__main__":
    main()
