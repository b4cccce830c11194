"""A fitted recommender: arrays, how they score, and how they are written as npz without pickle. numpy and scipy only.

    toppop            popularity     one number per item
    ease, rp3beta     similarity     items x items; a user's scores are the history times this
    ials              factors        users x d and items x d; a new history is folded in by one exact least-squares step

Identifiers are UTF-8 bytes with offsets. `history_*` is what each user had, as CSR: what a known user is not offered again.
"""

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]

from retrain_trainer import ranking

FORMAT = "npz"
SCHEMA = "retrain/recommender/1"
ALGORITHMS = ("toppop", "ease", "ials", "rp3beta")
Array = NDArray[Any]


@dataclass(frozen=True)
class RecommenderModel:
    """`history` is CSR, users x items, in the order of the identifiers, which are sorted text. `arrays` are the algorithm's own."""

    algorithm: str
    users: Array
    items: Array
    history: Any
    arrays: Mapping[str, Any]

    def scores(self, history: Any) -> NDArray[np.float32]:
        """Dense scores, one row for each row of `history`, CSR over this model's items."""
        if self.algorithm == "toppop":
            return np.tile(self.arrays["popularity"], (history.shape[0], 1))
        if self.algorithm == "ials":
            folded: NDArray[np.float32] = self.fold_in(history) @ self.arrays["item_factors"].T
            return folded
        found = history @ self.arrays["similarity"]
        return np.asarray(found.toarray() if sparse.issparse(found) else found, np.float32)

    def known_scores(self, places: Array) -> NDArray[np.float32]:
        """Dense scores of the users at these places."""
        if self.algorithm == "ials":
            found: NDArray[np.float32] = self.arrays["user_factors"][places] @ self.arrays["item_factors"].T
            return found
        return self.scores(self.history[places])

    def fold_in(self, history: Any) -> NDArray[np.float32]:
        """Factors of users with these histories: the exact minimum of the training loss with the items held fixed."""
        items = self.arrays["item_factors"].astype(np.float64)
        alpha0, reg, nu = (float(self.arrays[name]) for name in ("alpha0", "reg", "nu"))
        everything = alpha0 * items.T @ items
        found = np.zeros((history.shape[0], items.shape[1]), np.float32)
        for i in range(history.shape[0]):
            part = slice(history.indptr[i], history.indptr[i + 1])
            own, weights = items[history.indices[part]], history.data[part].astype(np.float64)
            if len(own):
                penalty = reg * (len(own) + alpha0 * len(items)) ** nu
                system = everything + (own.T * weights) @ own + penalty * np.eye(items.shape[1])
                found[i] = np.linalg.solve(system, weights @ own)
        return found

    def recommend(self, user: str, k: int) -> list[tuple[str, float]]:
        """Item and score for a user of the training data, without what the user had. KeyError for another user."""
        place = int(np.searchsorted(self.users, user))
        if place == len(self.users) or self.users[place] != user:
            raise KeyError(user)
        own = self.history[place]
        return self._best(self.known_scores(np.array([place])), own, k)

    def recommend_for(self, had: Sequence[str], k: int) -> list[tuple[str, float]]:
        """Item and score for a new user who had these items; those that are not known are ignored."""
        places = np.searchsorted(self.items, had)
        known = sorted({int(at) for at, item in zip(places, had, strict=True) if at < len(self.items) and self.items[at] == item})
        own = sparse.csr_matrix((np.ones(len(known), np.float32), ([0] * len(known), known)), (1, len(self.items)))
        return self._best(self.scores(own), own, k)

    def _best(self, scores: NDArray[np.float32], own: Any, k: int) -> list[tuple[str, float]]:
        scores[0, own.indices] = -np.inf
        return [(str(self.items[at]), float(scores[0, at])) for at in ranking.top(scores, k)[0] if at >= 0]


def write(model: RecommenderModel) -> bytes:
    """The model as npz. Equal models give equal bytes."""
    arrays: dict[str, Array] = {"schema": _text(SCHEMA), "algorithm": _text(model.algorithm)}
    for name, ids in (("users", model.users), ("items", model.items)):
        arrays[f"{name}_utf8"], arrays[f"{name}_offsets"] = _pack(ids)
    for name, value in {"history": model.history, **model.arrays}.items():
        if sparse.issparse(value):
            arrays |= {f"{name}_indptr": value.indptr, f"{name}_indices": value.indices, f"{name}_data": value.data}
        else:
            arrays[name] = np.asarray(value)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def read(content: bytes) -> RecommenderModel:
    """The model again. Executes nothing; ValueError or KeyError for what is not such a model."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if (found := bytes(arrays.pop("schema")).decode()) != SCHEMA:
        raise ValueError(f"it is {found[:40]!r}, not {SCHEMA}")
    if (algorithm := bytes(arrays.pop("algorithm")).decode()) not in ALGORITHMS:
        raise ValueError(f"its algorithm is {algorithm[:40]!r}")
    users, items = (_unpack(arrays.pop(f"{name}_utf8"), arrays.pop(f"{name}_offsets")) for name in ("users", "items"))
    history = _csr("history", arrays, (len(users), len(items)))
    if "similarity_data" in arrays:
        arrays["similarity"] = _csr("similarity", arrays, (len(items), len(items)))
    _check(algorithm, arrays, len(users), len(items))
    return RecommenderModel(algorithm, users, items, history, arrays)


def _check(algorithm: str, arrays: Mapping[str, Any], users: int, items: int) -> None:
    width = arrays["item_factors"].shape[1] if algorithm == "ials" else 0
    every: dict[str, dict[str, tuple[int, ...]]] = {
        "toppop": {"popularity": (items,)},
        "ease": {"similarity": (items, items)},
        "rp3beta": {"similarity": (items, items)},
        "ials": {"user_factors": (users, width), "item_factors": (items, width), "alpha0": (), "reg": (), "nu": ()},
    }
    for name, shape in every[algorithm].items():
        if arrays[name].shape != shape or arrays[name].dtype.kind != "f":
            raise ValueError(f"{name} has another shape or type than {algorithm} needs")


def _csr(name: str, arrays: dict[str, Any], shape: tuple[int, int]) -> Any:
    indptr, indices, data = (arrays.pop(f"{name}_{part}") for part in ("indptr", "indices", "data"))
    found = sparse.csr_matrix((data, indices, indptr), shape)
    found.check_format(full_check=True)  # an index out of range would read foreign memory
    return found


def _text(value: str) -> Array:
    return np.frombuffer(value.encode(), np.uint8)


def _pack(ids: Array) -> tuple[Array, Array]:
    encoded = [each.encode("utf-8", "surrogatepass") for each in ids.tolist()]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in encoded], dtype=np.int64)]).astype(np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def _unpack(content: Array, offsets: Array) -> Array:
    whole, ends = content.astype(np.uint8).tobytes(), offsets.astype(np.int64).tolist()
    return np.array([whole[begin:end].decode("utf-8", "surrogatepass") for begin, end in itertools.pairwise(ends)], dtype=object)
