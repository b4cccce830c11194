"""Each algorithm against its formula, and what a model's file holds."""

import io
from typing import Any

import numpy as np
import pytest
from scipy import sparse  # type: ignore[import-untyped]

from retrain_trainer import recommendermodel, recommenders
from retrain_trainer.contract import Failure, Reason
from retrain_trainer.recommendermodel import RecommenderModel

RNG = np.random.default_rng(1)
HISTORY = sparse.csr_matrix((RNG.random((40, 12)) < 0.3) * RNG.integers(1, 4, (40, 12)), dtype=np.float32)
USERS, ITEMS = (np.array(sorted(f"{kind}{i}ä" for i in range(size)), dtype=object) for kind, size in (("u", 40), ("i", 12)))


def fitted(algorithm: str, seed: int = 0, **params: Any) -> RecommenderModel:
    arrays = recommenders.fit(recommenders.parse(algorithm, params), HISTORY, seed, lambda done: None)
    model = RecommenderModel(algorithm, USERS, ITEMS, HISTORY, arrays)
    if algorithm == "ials":
        arrays["user_factors"] = model.fold_in(HISTORY)
    return model


def test_ease_is_the_closed_form() -> None:
    dense = HISTORY.toarray().astype(float)
    inverse = np.linalg.inv(dense.T @ dense + 5.0 * np.eye(12))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(recommenders.ease(HISTORY, 5.0), expected, atol=1e-6)


def test_ease_of_many_blocks_is_ease_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = recommenders.ease(HISTORY, 5.0)
    monkeypatch.setattr(recommenders, "GRAM_BLOCK", 5)
    assert np.array_equal(recommenders.ease(HISTORY, 5.0), whole)


def test_ease_refuses_too_many_items() -> None:
    with pytest.raises(Failure, match=r"at most 10000 items, the training part has 10001: take ials or rp3beta") as caught:
        recommenders.ease(sparse.csr_matrix((3, 10_001), dtype=np.float32), 1.0)
    assert caught.value.reason is Reason.TRAINING_REFUSED
    assert caught.value.code == 4


def test_a_new_user_of_ials_is_folded_in_as_irspack_does() -> None:
    theirs = recommenders._irspack("ials", "IALSRecommender")(
        HISTORY, n_components=6, alpha0=0.2, reg=0.05, nu=0.7, random_seed=3, n_threads=1, solver_type="CHOLESKY"
    )
    theirs.start_learning()
    for _ in range(5):
        theirs.run_epoch()
    arrays = {"item_factors": theirs.get_item_embedding(), "alpha0": 0.2, "reg": 0.05, "nu": 0.7}
    ours = RecommenderModel("ials", USERS, ITEMS, HISTORY, arrays).fold_in(HISTORY)
    np.testing.assert_allclose(ours, theirs.compute_user_embedding(HISTORY), rtol=1e-3, atol=1e-4)


def test_toppop_counts() -> None:
    assert np.array_equal(fitted("toppop").arrays["popularity"], HISTORY.toarray().sum(axis=0))


@pytest.mark.parametrize("algorithm", recommendermodel.ALGORITHMS)
def test_a_model_survives_its_file_and_equal_fits_give_equal_bytes(algorithm: str) -> None:
    model = fitted(algorithm)
    content = recommendermodel.write(model)
    restored = recommendermodel.read(content)
    assert restored.users.tolist() == USERS.tolist()
    assert restored.items.tolist() == ITEMS.tolist()
    assert np.array_equal(restored.known_scores(np.arange(40)), model.known_scores(np.arange(40)))
    assert recommendermodel.write(restored) == content == recommendermodel.write(fitted(algorithm))


@pytest.mark.parametrize("algorithm", ["ials", "rp3beta"])
def test_threads_change_nothing(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = fitted(algorithm).known_scores(np.arange(40))
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert np.array_equal(fitted(algorithm).known_scores(np.arange(40)), one)


def test_another_seed_is_another_ials() -> None:
    assert not np.array_equal(fitted("ials").arrays["item_factors"], fitted("ials", seed=1).arrays["item_factors"])


@pytest.mark.parametrize("algorithm", recommendermodel.ALGORITHMS)
def test_nobody_is_offered_what_they_had(algorithm: str) -> None:
    model = fitted(algorithm)
    had = {str(ITEMS[at]) for at in HISTORY[0].indices}
    assert not had & {item for item, _ in model.recommend(str(USERS[0]), 20)}
    assert len(model.recommend(str(USERS[0]), 20)) == 12 - len(had)
    assert not had & {item for item, _ in model.recommend_for([*sorted(had), "never seen"], 5)}


def test_the_same_history_gives_the_same_list_by_name_and_by_items() -> None:
    plain = sparse.csr_matrix(HISTORY > 0, dtype=np.float32)
    model = RecommenderModel("ease", USERS, ITEMS, plain, {"similarity": recommenders.ease(plain, 5.0)})
    assert model.recommend_for([str(ITEMS[at]) for at in plain[3].indices], 5) == model.recommend(str(USERS[3]), 5)


def test_an_unknown_user_is_said_to_be_unknown() -> None:
    with pytest.raises(KeyError, match="nobody"):
        fitted("toppop").recommend("nobody", 3)


def changed(arrays: dict[str, Any]) -> bytes:
    with np.load(io.BytesIO(recommendermodel.write(fitted("rp3beta")))) as file:
        whole = {name: file[name] for name in file.files} | arrays
    file_out = io.BytesIO()
    np.savez(file_out, **whole)
    return file_out.getvalue()


@pytest.mark.parametrize(
    "arrays",
    [
        pytest.param({"history_data": np.array([print], dtype=object)}, id="a pickle inside"),
        pytest.param({"history_indices": np.full(HISTORY.nnz, 99, np.int32)}, id="an item that is not there"),
        pytest.param({"similarity_indices": np.full(3, 2**31 - 1, np.int32)}, id="a matrix that points out of itself"),
        pytest.param({"algorithm": np.frombuffer(b"pickle", np.uint8)}, id="another algorithm"),
        pytest.param({"algorithm": np.frombuffer(b"ials", np.uint8)}, id="arrays of another algorithm"),
        pytest.param({"schema": np.frombuffer(b"other/1", np.uint8)}, id="another schema"),
    ],
)
def test_a_broken_file_is_refused(arrays: dict[str, Any]) -> None:
    content = changed(arrays)
    with pytest.raises((ValueError, KeyError)):
        recommendermodel.read(content)


@pytest.mark.parametrize(
    ("algorithm", "params", "message"),
    [
        pytest.param("ease", {"lambda": 3}, "ease has no parameter lambda: it has reg", id="unknown"),
        pytest.param("toppop", {"k": 3}, "toppop has no parameter k: it has none", id="unknown, where there is none"),
        pytest.param("ials", {"reg": -1}, "parameters of ials: reg: Input should be greater than 0", id="out of range"),
        pytest.param("rp3beta", {"top_k": "many"}, "top_k: Input should be a valid integer", id="text for a number"),
    ],
)
def test_params_are_refused(algorithm: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(Failure) as caught:
        recommenders.parse(algorithm, params)
    assert caught.value.reason is Reason.INVALID_PARAMS
    assert message in caught.value.message
