"""The algorithms of task `recommender`: their parameters, search spaces and fits.

    toppop   what most people took; the baseline beside every result
    ease     a linear model of items from items, in closed form (Steck 2019); ours, dense, at most 10,000 items
    ials     implicit matrix factorisation by alternating least squares, irspack's
    rp3beta  a random walk over user and item, less popular items raised, irspack's

irspack is imported when one of its two is fitted, never to read a model.
"""

import importlib
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError
from scipy import linalg, sparse  # type: ignore[import-untyped]

from retrain_trainer.config import StrictModel
from retrain_trainer.contract import Failure, Reason
from retrain_trainer.task import Report

EASE_MAX_ITEMS = 10_000  # the Gram matrix is dense: 800 MB of float64 at this many, and half as much for the model
GRAM_BLOCK = 1024  # rows of it that are made at a time


DEFAULT_PENALTY = 4.0  # of a user's factors; a fixed reg is too much for many items and too little for few


class ToppopParams(StrictModel):
    """None."""


class EaseParams(StrictModel):
    """`reg`: added to the diagonal of the Gram matrix."""

    reg: float = Field(300.0, gt=0, le=1e6)


class IalsParams(StrictModel):
    """irspack's names. irspack's own defaults (alpha0 0, 20 components) recommend worse than toppop; these were measured, see
    the README."""

    n_components: int = Field(32, ge=1, le=1024)
    alpha0: float = Field(0.1, gt=0, le=10)  # weight of what was not taken
    reg: float | None = Field(None, gt=0, le=10)  # None: DEFAULT_PENALTY over what it is multiplied with for the mean user
    nu: float = Field(1.0, ge=0, le=2)  # how much more the frequent are regularised
    epochs: int = Field(16, ge=1, le=500)


class Rp3betaParams(StrictModel):
    """irspack's names. Its beta of 0.6 recommends worse than toppop where data is sparse; these were measured, see
    the README."""

    alpha: float = Field(1.0, gt=0, le=5)
    beta: float = Field(0.0, ge=0, le=2)
    top_k: int = Field(300, ge=1, le=10_000)
    normalize_weight: bool = False


AlgorithmParams = ToppopParams | EaseParams | IalsParams | Rp3betaParams
PARAMS: Mapping[str, type[AlgorithmParams]] = {"toppop": ToppopParams, "ease": EaseParams, "ials": IalsParams, "rp3beta": Rp3betaParams}


def parse(algorithm: str, params: Mapping[str, Any]) -> AlgorithmParams:
    """Typed parameters with their defaults. Raises Failure (exit 2)."""
    kind = PARAMS[algorithm]
    try:
        return kind.model_validate(dict(params))
    except ValidationError as error:
        if unknown := [str(item["loc"][0]) for item in error.errors() if item["type"] == "extra_forbidden"]:
            known = ", ".join(kind.model_fields) or "none"
            raise Failure(Reason.INVALID_PARAMS, f"{algorithm} has no parameter {', '.join(unknown)}: it has {known}") from None
        told = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
        raise Failure(Reason.INVALID_PARAMS, f"parameters of {algorithm}: {told}") from None


def suggest(algorithm: str, trial: Any) -> dict[str, Any]:
    """Parameters from an Optuna trial."""
    match algorithm:
        case "ease":
            return {"reg": trial.suggest_float("reg", 1.0, 3000.0, log=True)}
        case "ials":
            return {
                "n_components": trial.suggest_int("n_components", 8, 128, log=True),
                "alpha0": trial.suggest_float("alpha0", 0.01, 1.0, log=True),
                "reg": trial.suggest_float("reg", 1e-3, 1e-1, log=True),
                "epochs": trial.suggest_int("epochs", 4, 16),
            }
        case "rp3beta":
            return {
                "alpha": trial.suggest_float("alpha", 0.5, 2.0),
                "beta": trial.suggest_float("beta", 0.0, 1.2),
                "top_k": trial.suggest_int("top_k", 10, 1000, log=True),
                "normalize_weight": trial.suggest_categorical("normalize_weight", [False, True]),
            }
        case _:
            raise Failure(Reason.BAD_CONFIGURATION, f"{algorithm} has no parameters to search for: leave out spec.retune")


def fit(params: AlgorithmParams, history: Any, seed: int, report: Report) -> dict[str, Any]:
    """The algorithm's arrays, see recommendermodel.py. `history` is CSR, users x items. Raises Failure (exit 4, or 8 without irspack)."""
    match params:
        case EaseParams():
            return {"similarity": ease(history, params.reg)}
        case IalsParams():
            return _ials(params, history, seed, report)
        case Rp3betaParams():
            return {"similarity": _rp3beta(params, history)}
        case ToppopParams():
            return {"popularity": np.asarray(history.sum(axis=0), np.float32).ravel()}


def ease(history: Any, reg: float) -> Any:
    """Items x items, float32: -P_ij / P_jj with P the inverse of the Gram matrix plus `reg`, and 0 on the diagonal."""
    items = history.shape[1]
    if items > EASE_MAX_ITEMS:
        raise Failure(
            Reason.TRAINING_REFUSED,
            f"ease takes at most {EASE_MAX_ITEMS} items, the training part has {items}: take ials or rp3beta, or raise minItemInteractions",
        )
    by_item = history.T.tocsr()
    gram = np.empty((items, items))
    for begin in range(0, items, GRAM_BLOCK):
        gram[begin : begin + GRAM_BLOCK] = (by_item[begin : begin + GRAM_BLOCK] @ history).toarray()
    gram[np.diag_indices(items)] += reg
    # In place: a second dense matrix of this size would be the run's peak. The transpose of a symmetric matrix is itself.
    factor, fault = linalg.lapack.dpotrf(gram.T, lower=1, overwrite_a=1)
    inverse, other_fault = linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    if fault or other_fault:
        raise Failure(Reason.TRAINING_REFUSED, f"ease cannot solve this data with reg {reg}: raise it")
    diagonal = inverse.diagonal().copy()
    weights = np.tril(inverse, -1).astype(np.float32)
    weights += weights.T.copy()
    weights /= -diagonal.astype(np.float32)
    return weights


def _ials(params: IalsParams, history: Any, seed: int, report: Report) -> dict[str, Any]:
    kind = _irspack("ials", "IALSRecommender")
    users, items = history.shape
    reg = params.reg or DEFAULT_PENALTY / (history.nnz / users + params.alpha0 * items) ** params.nu
    trainer = kind(
        history,
        n_components=params.n_components,
        alpha0=params.alpha0,
        reg=reg,
        nu=params.nu,
        random_seed=seed % 2**31,
        n_threads=1,  # with more, about one fit in 60 came out with other last bits: its threads add up in any order
        train_epochs=params.epochs,
    )
    trainer.start_learning()
    for epoch in range(params.epochs):
        trainer.run_epoch()
        report((epoch + 1) / params.epochs)
    factors = np.ascontiguousarray(trainer.get_item_embedding(), np.float32)
    if not np.isfinite(factors).all():
        raise Failure(Reason.TRAINING_REFUSED, "ials did not converge: raise reg, or lower n_components")
    return {"item_factors": factors, "alpha0": np.float64(params.alpha0), "reg": np.float64(reg), "nu": np.float64(params.nu)}


def _rp3beta(params: Rp3betaParams, history: Any) -> Any:
    kind = _irspack("rp3", "RP3betaRecommender")
    trainer = kind(
        history,
        alpha=params.alpha,
        beta=params.beta,
        top_k=min(params.top_k, history.shape[1]),
        normalize_weight=params.normalize_weight,
        n_threads=_threads(),
    )
    similarity = sparse.csr_matrix(trainer.learn().W, dtype=np.float32)
    similarity.sort_indices()
    return similarity


def _irspack(module: Literal["ials", "rp3"], name: str) -> Callable[..., Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of pydantic, about irspack; nothing that a user could do
            found: Callable[..., Any] = getattr(importlib.import_module(f"irspack.recommenders.{module}"), name)
    except ImportError as error:
        install = "pip install 'retrain-trainer[recommender]' && pip install --no-deps 'irspack>=0.5.2,<0.6'"
        raise Failure(Reason.PACKAGE_MISSING, f"{name} needs packages: {install} ({error})") from error
    return found


def _threads() -> int:
    """As many as the operator allows by the CPU limit."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else os.cpu_count() or 1
