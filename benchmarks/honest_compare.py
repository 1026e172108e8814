"""What the tests and intervals of comparisons and counts hold, by simulation with known truth.

`rows()` gives one row a setting; run alone it prints them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from cytowell.evaluation.comparison import accuracy_interval, corrected_t_p, pairs
from cytowell.evaluation.misclassification import KnownErrors, true_cells

GROUPS = (2, 3, 5, 7, 10, 20)
FloatArray = npt.NDArray[np.float64]


def rows() -> list[dict[str, Any]]:
    """Give what, setting, n, nominal, measured and simulations of every figure."""
    return [*paired_tests(), *fold_tests(), *pooled_intervals(), *corrected_counts()]


def _row(what: str, setting: str, n: int, nominal: float, held: Any) -> dict[str, Any]:
    values = np.asarray(held, dtype=float)
    return {
        "what": what,
        "setting": setting,
        "n": n,
        "nominal": nominal,
        "measured": round(float(values.mean()), 3),
        "simulations": len(values),
    }


def paired_tests(simulations: int = 800, seed: int = 1) -> list[dict[str, Any]]:
    """Type I error of the sign-flip permutation: candidates alike, slides that err together."""
    found = []
    for groups in GROUPS:
        rng = np.random.default_rng(seed + groups)
        sizes = rng.integers(5, 16, groups)
        names = np.repeat(np.arange(groups), sizes).astype(str)
        p = np.empty(simulations)
        for i in range(simulations):
            # Each slide suits one or the other candidate, by chance; equally good in all.
            suits = rng.normal(0, 0.8, groups)
            right = [
                (rng.random(len(names)) < np.repeat(stats.norm.cdf(1.2 + s * suits), sizes))
                for s in (0.5, -0.5)
            ]
            p[i] = pairs([r.astype(float) for r in right], names, seed=i)[0].p
        found.append(_row("type I error, sign-flip permutation", "groups", groups, 0.05, p < 0.05))
    alone = np.arange(100).astype(str)
    rng = np.random.default_rng(seed)
    by_image = [
        pairs([(rng.random(100) < 0.9).astype(float) for _ in range(2)], alone)[0].p
        for _ in range(simulations)
    ]
    found.append(
        _row("type I error, McNemar exact", "images", 100, 0.05, np.array(by_image) < 0.05)
    )
    return found


def _folds(
    images: int, features: int, count: int, simulations: int, seed: int
) -> tuple[FloatArray, FloatArray, float]:
    """Cross-validate nearest means on Gaussian classes that overlap.

    Gives whether two learners, each of half the features, are right on each image in its fold,
    (S, N, 2) with folds one after the other; the accuracies that the first truly has, its mean.
    """
    rng = np.random.default_rng(seed)
    y = np.tile([0, 1], images // 2)
    mean = np.zeros(2 * features)
    mean[[0, features]] = 0.8
    X = rng.normal(size=(simulations, images, 2 * features))
    X += np.where(y[:, None] == 1, mean, -mean)
    fold = np.arange(images) * count // images
    right = np.zeros((simulations, images, 2))
    truth = []
    for f in range(count):
        learn, judge = fold != f, fold == f
        for k in range(2):
            mine = slice(k * features, (k + 1) * features)
            ones = X[:, learn & (y == 1), mine].mean(axis=1)
            zeros = X[:, learn & (y == 0), mine].mean(axis=1)
            weight = ones - zeros
            bias = -(weight * (ones + zeros)).sum(axis=1) / 2
            score = np.einsum("snp,sp->sn", X[:, judge, mine], weight) + bias[:, None]
            right[:, judge, k] = (score > 0) == (y[judge] == 1)
            if k == 0:
                length = np.linalg.norm(weight, axis=1)
                reach = weight @ mean[mine]
                truth.append(
                    (stats.norm.cdf((reach + bias) / length)
                     + stats.norm.cdf((reach - bias) / length)) / 2
                )  # fmt: skip
    return right, np.array(truth), float(np.mean(truth))


def fold_tests(simulations: int = 1000, seed: int = 2) -> list[dict[str, Any]]:
    """Type I error of the corrected t-test between learners that are equally good."""
    found = []
    for count in (2, 5, 10):
        right, _, _ = _folds(40, 5, count, simulations, seed + count)
        by_fold = right.reshape(simulations, count, -1, 2).mean(axis=2)
        difference = by_fold[..., 0] - by_fold[..., 1]
        tested = 40 / count
        p = np.array([corrected_t_p(d, tested, 40 - tested) for d in difference])
        found.append(
            _row("type I error, corrected t-test", "folds of 40 images", count, 0.05, p < 0.05)
        )
    return found


def pooled_intervals(simulations: int = 600, seed: int = 3) -> list[dict[str, Any]]:
    """Coverage of the interval of a pooled cross-validation's accuracy."""
    found = []
    for images, features in ((30, 5), (60, 20), (60, 100), (120, 100), (300, 20)):
        right, _, truth = _folds(images, features, 5, simulations, seed + images + features)
        place, alone = np.arange(images), np.arange(images).astype(str)
        for name, divisions in (("widened", 5), ("Wilson alone", 1)):
            held = []
            for s in range(simulations):
                low, high = accuracy_interval(right[s, :, 0], place, alone, divisions, images * 0.8)
                held.append(low <= truth <= high)
            setting = f"5 folds, {features} features, images"
            found.append(_row(f"coverage, pooled accuracy, {name}", setting, images, 0.95, held))
    return found


def corrected_counts(simulations: int = 150, seed: int = 4) -> list[dict[str, Any]]:
    """Coverage of corrected shares of 200 cells; classes are declined at different rates."""
    three = (
        np.array([0.6, 0.3, 0.1]),
        np.array([[0.95, 0.03, 0.02], [0.04, 0.94, 0.02], [0.05, 0.05, 0.9]]),
        np.array([0.5, 0.65, 0.7]),
    )
    wrong = (
        np.array([0.55, 0.3, 0.1, 0.05]),
        np.array([[0.9, 0.0, 0.1, 0.0], [0.0, 0.98, 0.02, 0.0], [0.2, 0.05, 0.75, 0.0],
                  [0.0, 0.02, 0.0, 0.98]]),
        np.array([0.8, 0.95, 0.6, 0.9]),
    )  # fmt: skip
    found = []
    for name, (share, matrix, decides) in (("57 % decided", three), ("a poor class", wrong)):
        for each in (10, 100):
            rng = np.random.default_rng(seed + each)
            called = (share * decides) @ matrix
            held = []
            for i in range(simulations):
                known = rng.binomial(each, decides)
                confusion = np.stack(
                    [rng.multinomial(n, row) for n, row in zip(known, matrix, strict=True)]
                )
                counts = rng.multinomial(200, called / called.sum())
                errors = KnownErrors(confusion, each - known)
                cells = true_cells(counts, errors, seed=i, draws=200)
                drawn = cells / cells.sum(axis=1, keepdims=True)
                low, high = np.percentile(drawn[1:], [2.5, 97.5], axis=0)
                held.append(np.mean((low <= share) & (high >= share)))
            found.append(
                _row(f"coverage, corrected share, {name}", "test images a class", each, 0.95, held)
            )
    return found


def main() -> None:
    """Print every row."""
    for row in rows():
        print("  ".join(str(v) for v in row.values()), flush=True)


if __name__ == "__main__":
    main()
