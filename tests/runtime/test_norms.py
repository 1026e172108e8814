"""Statistics of batch normalisation: measured behind layers already changed, written in place."""

import numpy as np
import pytest

import cytowell
from cytowell.runtime import norms
from cytowell.runtime.session import Session
from cytowell.weights import blood


@pytest.fixture(scope="module")
def model() -> bytes:
    return (blood() / "backbone.onnx").read_bytes()


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    size = cytowell.load("blood").facts.preprocessing.size
    random = np.random.default_rng(0)
    coarse = random.integers(90, 250, (6, 8, 8, 3), dtype=np.uint8)
    return np.asarray(coarse.repeat(size // 8, axis=1).repeat(size // 8, axis=2))


def test_statistics_written_back_leave_the_file_as_it_was(model: bytes) -> None:
    assert norms.rewritten(model, norms.statistics_in(model)) == model


def test_a_share_of_nothing_changes_no_statistic(model: bytes, pictures: np.ndarray) -> None:
    kept = norms.statistics_in(model)
    found = norms.remeasured(model, pictures[:2], 0.0)
    assert len(found) == len(kept) == 49
    for (mean, variance), (old_mean, old_variance) in zip(found, kept, strict=True):
        np.testing.assert_allclose(mean, old_mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(variance, old_variance, rtol=1e-5, atol=1e-6)


def test_pictures_measured_behind_their_own_statistics_give_them_again(
    model: bytes, pictures: np.ndarray
) -> None:
    # Measured all at once, from the network as it was, deep layers would not.
    changed = norms.rewritten(model, norms.remeasured(model, pictures, 1.0))
    own, again = norms.statistics_in(changed), norms.remeasured(changed, pictures, 1.0)
    for (mean, variance), (same, _) in zip(own, again, strict=True):
        assert np.max(np.abs(mean - same) / np.sqrt(variance + 1e-3)) < 0.05
    assert Session(changed, "changed").features(pictures[:1]).shape[1] == 1752


def test_half_the_share_goes_half_the_way_in_the_first_layer(
    model: bytes, pictures: np.ndarray
) -> None:
    old = norms.statistics_in(model)[0][0]
    half, full = (norms.remeasured(model, pictures, s)[0][0] for s in (0.5, 1.0))
    np.testing.assert_allclose(half, (old + full) / 2, rtol=1e-3, atol=1e-4)


def test_a_network_without_norms_of_its_own_has_no_layers() -> None:
    assert norms.norm_layers(b"") == ()
