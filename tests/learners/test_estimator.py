"""`CellClassifier` keeps scikit-learn's contract, on images."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import cytowell
from cytowell import CellClassifier
from cytowell.errors import BadInput, DatasetError

onnx = pytest.importorskip("onnx", reason="the tiny network of these tests needs onnx")

SIDE = 16

ROWS = (
    "a row of numbers becomes a picture before the estimator sees it: what its numbers are "
    "(NaN, infinite, sparse, none, of how many features) is the drawing's to judge"
)
CANNOT_HOLD = {
    "check_n_features_in": "an image has no number of features: n_features_in_ is not set",
    "check_n_features_in_after_fitting": "the same",
    "check_estimators_nan_inf": ROWS,
    "check_estimators_empty_data_messages": ROWS,
    "check_estimator_sparse_tag": ROWS,
    "check_estimator_sparse_array": ROWS,
    "check_estimator_sparse_matrix": ROWS,
}
"""Checks of scikit-learn that cannot hold for images, each with its reason."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a network whose features are the pixels, so that a check takes no time."""
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["image"], ["numbers"], to=kinds.FLOAT),
        helper.make_node("AveragePool", ["turned"], ["small"], kernel_shape=[1, 1]),
        helper.make_node("Flatten", ["small"], ["features"]),
    ]
    nodes.insert(1, helper.make_node("Transpose", ["numbers"], ["turned"], perm=[0, 3, 1, 2]))
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("image", kinds.UINT8, ["N", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("features", kinds.FLOAT, ["N", 3 * SIDE * SIDE])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file: Path = tmp_path_factory.mktemp("network") / "pixels.onnx"
    onnx.save(model, file)
    return str(file)


@pytest.fixture(scope="module")
def photographs(cells: Path) -> cytowell.Dataset:
    return cytowell.read(cells)


def labels_of(data: cytowell.Dataset) -> list[str]:
    return [str(s.label) for s in data.samples]


class OfRows(CellClassifier):
    """Draws rows of numbers as images: scikit-learn's checks know nothing else."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.string = False
        tags.no_validation = False
        return tags

    def fit(self, X: Any, y: Any, groups: Any = None) -> Any:
        super().fit(drawn(X), y, groups)
        self._width = np.asarray(X).shape[1]
        return self

    def predict_proba(self, X: Any) -> Any:
        if hasattr(self, "_width") and np.asarray(X).shape[1:] not in ((self._width,), ()):
            raise ValueError("Reshape your data: its rows are not as long as those of the fit.")
        return super().predict_proba(drawn(X))


def drawn(X: Any) -> list[Any]:
    """Give an image of each row: a stripe for each number, in which its bits are grey levels."""
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"Expected 2D array, got {rows.ndim}D array instead. Reshape your data.")
    images = []
    for row in rows:
        grey = np.full((SIDE, SIDE), 128, dtype=np.uint8)
        for i, number in enumerate(row[:SIDE]):
            grey[i] = np.uint8(round(255 / (1 + np.exp(-number / 3))))
        images.append(grey)
    return images


def quick(network: str, **changed: Any) -> CellClassifier:
    return CellClassifier(
        **({"backbones": (network,), "crops": (1.0,), "strengths": (0.03,)} | changed)
    )


def test_it_passes_the_checks_of_scikit_learn(network: str) -> None:
    model = OfRows(backbones=(network,), crops=(1.0,), strengths=(0.03, 0.3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ended = check_estimator(
            model, expected_failed_checks=CANNOT_HOLD, on_fail=None, on_skip=None
        )
    wrong = [f"{e['check_name']}: {e['exception']!r}" for e in ended if e["status"] == "failed"]
    assert not wrong, "\n".join(wrong)
    passed = {e["check_name"] for e in ended if e["status"] == "passed"}
    assert {"check_estimators_pickle", "check_classifiers_train", "check_fit_idempotent"} <= passed
    assert len(passed) > 40
    failed = {e["check_name"] for e in ended if e["status"] == "xfail"}
    assert failed == set(CANNOT_HOLD), "a check that holds is no exception"


def test_an_estimator_is_cloned_and_its_parameters_are_set() -> None:
    model = CellClassifier(crops=(0.5,), random_state=3)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert copy.get_params()["crops"] == (0.5,)
    assert copy.set_params(balance="smote").balance == "smote"
    assert model.balance == "balanced"
    with pytest.raises(ValueError, match="Invalid parameter 'crop'"):
        copy.set_params(crop=1.0)


def test_paths_pictures_and_arrays_give_the_same_probabilities(
    photographs: cytowell.Dataset, network: str
) -> None:
    paths, labels = list(photographs.paths), labels_of(photographs)
    pictures = [Image.open(p).convert("RGB") for p in paths]
    model = quick(network).fit(paths, labels)
    given = model.predict_proba(paths)
    assert given.shape == (40, 5)
    np.testing.assert_allclose(given.sum(axis=1), 1)
    for same in (
        pictures,
        [np.asarray(p) for p in pictures],
        pd.Series(paths),
        np.array(paths),
        photographs,
    ):
        np.testing.assert_array_equal(model.predict_proba(same), given)
    assert model.predict(paths).tolist() == [model.classes_[i] for i in given.argmax(axis=1)]
    stacked = np.stack([np.asarray(p.resize((40, 30))) for p in pictures])
    assert model.predict(stacked).shape == (40,)
    assert quick(network).fit(pictures, labels).score(pictures, labels) > 0.9


def test_real_features_tell_the_classes_apart(photographs: cytowell.Dataset) -> None:
    labels = labels_of(photographs)
    model = CellClassifier(backbones=("imagenet",), crops=(1.0,), strengths=(0.03,))
    cut = GroupKFold(2)
    scores = cross_val_score(model, photographs.paths, labels, groups=photographs.groups, cv=cut)
    assert scores.min() > 0.4, "chance is 0.2"
    assert "imagenet" in model.fit(photographs.paths, labels).backbone_


def test_folds_of_a_search_keep_groups_whole(
    photographs: cytowell.Dataset, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cytowell.learners import estimator, linear

    seen: list[set[str]] = []
    before = linear.judging_folds

    def watched(y: Any, groups: Any, *rest: Any) -> Any:
        seen.append(set(groups))
        return before(y, groups, *rest)

    monkeypatch.setattr(estimator, "judging_folds", watched)
    groups = [str(i % 4) for i in range(40)]
    labels = labels_of(photographs)
    quick(network).fit(photographs.paths, labels, groups=groups)
    assert seen == [{"0", "1", "2", "3"}]
    quick(network).fit(photographs, labels)
    assert seen[1] == set(photographs.groups), "samples keep their own"
    scores = cross_val_score(
        quick(network), photographs.paths, labels, groups=groups, cv=GroupKFold(4),
        error_score="raise",
    )  # fmt: skip
    assert len(scores) == 4


def test_it_is_searched_in_a_pipeline(photographs: cytowell.Dataset, network: str) -> None:
    def opened(paths: Any) -> list[Image.Image]:
        return [Image.open(p).convert("L") for p in paths]

    steps = [("open", FunctionTransformer(opened)), ("cells", quick(network))]
    search = GridSearchCV(
        Pipeline(steps), {"cells__balance": ["none", "balanced"]}, cv=2, error_score="raise"
    )
    search.fit(list(photographs.paths), labels_of(photographs))
    assert search.best_params_["cells__balance"] in ("none", "balanced")
    assert set(search.predict(list(photographs.paths))) <= set(photographs.classes)


def test_what_is_pickled_gives_the_same(photographs: cytowell.Dataset, network: str) -> None:
    labels = labels_of(photographs)
    model = quick(network).fit(photographs.paths, labels)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(
        again.predict_proba(photographs.paths), model.predict_proba(photographs.paths)
    )


def test_labels_come_back_as_they_were_given(photographs: cytowell.Dataset, network: str) -> None:
    codes = photographs.labels * 10 + 1
    model = quick(network).fit(photographs.paths, codes)
    assert model.classes_.tolist() == [1, 11, 21, 31, 41]
    assert model.predict(photographs.paths).dtype == codes.dtype
    assert np.mean(model.predict(photographs.paths) == codes) > 0.9


def test_what_is_no_list_of_images_is_a_value_error_that_says_what_to_give(
    photographs: cytowell.Dataset, network: str, tmp_path: Path
) -> None:
    model = quick(network)
    with pytest.raises(NotFittedError):
        model.predict(photographs.paths)
    for wrong, words in (
        ("one.jpg", "X is one image"),
        (np.zeros((4, 9)), "no list of images"),
        (np.zeros((30, 40, 3), dtype=np.uint8), "no list of images"),
        ([np.zeros((30, 40, 3))] * 4, r"X\[0\] of shape \(30, 40, 3\) and type float64"),
        ([], "holds no image"),
        (7, "no list of images"),
    ):
        with pytest.raises(BadInput, match=words) as told:
            model.fit(wrong, ["a", "b", "a", "b"])
        assert isinstance(told.value, ValueError)
    paths = photographs.paths[:2]
    with pytest.raises(BadInput, match="one class only"):
        model.fit(paths, ["a", "a"])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.fit(paths, ["a"])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.fit(paths, ["a", "b"], groups=["g"])
    with pytest.raises(DatasetError, match=r"nowhere\.jpg"):
        model.fit([*paths, str(tmp_path / "nowhere.jpg")], ["a", "b", "a"])
