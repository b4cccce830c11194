"""Fixtures of the trainer's tests. The trainer is a package of its own, tested from the checkout."""

import os
import sys
from pathlib import Path

import pytest

from tests.trainer.harness import TRAINER, Ended, Trainer

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before scikit-learn: threads that wait for each other turn a small fit into minutes

if str(TRAINER) not in sys.path:
    sys.path.insert(0, str(TRAINER))


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(tmp_path)


@pytest.fixture(scope="session")
def breast_cancer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Ended]:
    """One real training, looked at by several tests; with the times of its imports on stderr."""
    trainer = Trainer(tmp_path_factory.mktemp("breast-cancer"))
    config = {"task": "tabular", "estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "params": {"max_iter": 50}}
    return trainer, trainer.run(config, extra={"PYTHONPROFILEIMPORTTIME": "1"})
