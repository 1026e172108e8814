"""What is wrong with single files: unreadable, cut short, misnamed, blank, blurred, odd.

A property that more than half of a class shows is taken for that class's nature (dark wells, small
crops), said in a remark and not flagged: a check that flags everything is not read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from cleanvision.issue_managers.image_property import BrightnessProperty, EntropyProperty
from sklearn.neighbors import NearestNeighbors

from cytowell.checks.issues import Issue, findings, flags, shown
from cytowell.checks.scan import Scan, look
from cytowell.images import NPZ_MARK
from cytowell.types import BoolArray, Dataset, Findings, FloatArray

DARK, LIGHT, EMPTY = 0.32, 0.05, 0.3
"""cleanvision's own thresholds on its scores for dark, light and low information."""

TINY_SIDE = 20
"""A shorter side under this many pixels shows no cell."""

BLANK_CONTRAST = 8.0
"""Grey levels between the darkest and the brightest thousandth under which nothing is seen."""

BLURRED_SHARE = 0.7
"""Sharpness below this share of the median of similar images is blurred. On blood cells of 360
pixels a Gaussian blur of 1.5 pixels falls below it."""

PEERS = 30
"""Images of the nearest colours whose sharpness one is compared with."""

ODD_SIZE = 2.0
"""Factor by which a side or the aspect differs from the data set's median."""

ODD_COLOUR, ODD_COLOUR_LEAST, ODD_SHARE = 8.0, 0.06, 0.01
"""Times the usual distance in mean chroma to the nearest hundredth of the images, the least such
distance that is odd (chroma, 0..1), and that hundredth."""

_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png"},
    "BMP": {".bmp"},
    "WEBP": {".webp"},
    "TIFF": {".tif", ".tiff"},
    "HEIF": {".heic", ".heif"},
}
_KNOWN_SUFFIXES = frozenset[str]().union(*_SUFFIXES.values())

_Floats = npt.NDArray[np.floating]


def check(dataset: Dataset, scan: Scan | None = None) -> Findings:
    """Find files that cannot be used, or that look unlike the others.

    Issues: `unreadable`, `truncated`, `wrong_extension`, `several_frames`, `tiny`, `blank`,
    `blurred`, `dark`, `light`, `odd_size`, `odd_colour`. Samples whose photograph cannot be decoded
    are excluded.

    Parameters
    ----------
    scan
        What one look at the photographs gave; looked at now without it.

    Examples
    --------
    >>> from cytowell.types import Dataset, Sample
    >>> found = check(Dataset((Sample("missing.jpg", "cell"),), ("cell",)))
    >>> found.counts()["unreadable"], bool(found.excluded[0])
    (1, True)
    """
    seen = scan or look(dataset)
    readable = seen.spread(seen.readable)
    issues = _of_files(dataset, seen)
    remarks: list[str] = []
    excluded: BoolArray = ~readable
    if excluded.any():
        names = [Path(p).name for p, bad in zip(dataset.paths, excluded, strict=True) if bad]
        remarks.append(f"{len(names)} of {len(dataset)} images cannot be read: {shown(names)}.")
    if readable.any():
        for name, issue in _of_pictures(seen).items():
            issues[name], remark = _unless_usual(dataset, name, issue, readable)
            remarks += [remark] if remark else []
    return findings(dataset, issues, remarks=remarks, excluded=excluded)


def _of_files(dataset: Dataset, seen: Scan) -> dict[str, Issue]:
    facts = seen.facts
    errors = seen.spread(facts["error"].to_numpy())
    failed = errors != ""
    complete = seen.spread(facts["complete"].to_numpy(dtype=bool))
    kinds = seen.spread(facts["format"].to_numpy())
    frames = seen.spread(facts["frames"].to_numpy())
    # A known format whose end is missing was cut short; whatever else fails cannot be read.
    cut = ~complete & np.isin(kinds, list(_SUFFIXES))
    named = np.array([_misnamed(p, k) for p, k in zip(dataset.paths, kinds, strict=True)])
    why = {int(i): str(errors[i]) for i in np.flatnonzero(failed)}
    ends = {int(i): why.get(int(i), "the file's end is missing") for i in np.flatnonzero(cut)}
    return {
        "unreadable": flags(failed & ~cut, why),
        "truncated": flags(cut, ends),
        "wrong_extension": flags(
            named, {int(i): f"{kinds[i]} by its content" for i in np.flatnonzero(named)}
        ),
        "several_frames": flags(
            frames > 1,
            {int(i): f"{frames[i]} frames, only one is used" for i in np.flatnonzero(frames > 1)},
        ),
    }


def _misnamed(path: str, kind: str) -> bool:
    suffix = Path(path).suffix.lower()
    if NPZ_MARK in path or not kind or suffix not in _KNOWN_SUFFIXES:
        return False
    return suffix not in _SUFFIXES.get(kind, set())


def _of_pictures(seen: Scan) -> dict[str, Issue]:
    facts = seen.facts.iloc[seen.photograph].reset_index(drop=True)
    fine = facts["error"].to_numpy() == ""
    width, height = facts["width"].to_numpy(float), facts["height"].to_numpy(float)
    contrast = facts["contrast"].to_numpy(float)
    blank = np.minimum(contrast / (2 * BLANK_CONTRAST), _score(EntropyProperty(), facts, 0.1))
    blank_flag = (contrast < BLANK_CONTRAST) & fine
    return {
        "tiny": _below(np.minimum(width, height) / (2 * TINY_SIDE), 0.5, fine),
        "blank": Issue(_clean(blank, fine), blank_flag, {}),
        "blurred": _below(_sharpness(facts, fine & ~blank_flag), 0.5, fine & ~blank_flag),
        "dark": _below(_score(BrightnessProperty("dark"), facts), DARK, fine),
        "light": _below(_score(BrightnessProperty("light"), facts), LIGHT, fine),
        "odd_size": _below(_size(width, height, fine), 0.5, fine),
        "odd_colour": _below(_colour(facts, fine & ~blank_flag), 0.5, fine & ~blank_flag),
    }


def _score(
    judge: BrightnessProperty | EntropyProperty, facts: pd.DataFrame, factor: float | None = None
) -> FloatArray:
    """Let cleanvision score the facts that it would have measured itself."""
    kind = getattr(judge, "issue_type", "low_information")
    options = {} if factor is None else {"normalizing_factor": factor}
    scores = judge.get_scores(facts, kind, **options)
    return np.asarray(scores.iloc[:, 0].to_numpy(), dtype=np.float64)


def _below(score: _Floats, threshold: float, fine: npt.NDArray[np.bool_]) -> Issue:
    with np.errstate(invalid="ignore"):
        return Issue(_clean(score, fine), np.asarray((score < threshold) & fine), {})


def _clean(score: _Floats, fine: npt.NDArray[np.bool_]) -> FloatArray:
    """Give 1 where nothing could be measured: that is another issue."""
    return np.where(fine & np.isfinite(score), np.clip(score, 0, 1), 1.0)


def _chroma(facts: pd.DataFrame) -> _Floats:
    return facts[["red_green", "blue_green", "saturation"]].to_numpy(float)


def _sharpness(facts: pd.DataFrame, fine: npt.NDArray[np.bool_]) -> _Floats:
    """Score sharpness against images of the same colours; 0.5 is `BLURRED_SHARE` of their median.

    Another microscope or stain is softer as a whole without being out of focus.
    """
    score = np.ones(len(fine))
    if not fine.any():
        return score
    sharp = facts["sharpness"].to_numpy(float)[fine]
    chroma = _chroma(facts)[fine]
    finder = NearestNeighbors(n_neighbors=min(PEERS, len(sharp))).fit(chroma)
    peers = (
        np.median(sharp[finder.kneighbors(return_distance=False)], axis=1)
        if (len(sharp) > PEERS)
        else np.full(len(sharp), np.median(sharp))
    )
    usual = np.minimum(peers, np.median(sharp))
    score[fine] = sharp / np.maximum(2 * BLURRED_SHARE * usual, 1e-9)
    return score


def _size(width: _Floats, height: _Floats, fine: npt.NDArray[np.bool_]) -> _Floats:
    """Score size and aspect against the medians; 0.5 is a factor of `ODD_SIZE`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        worst = np.zeros(len(width))
        for measure in (np.sqrt(width * height), width / height):
            off = np.abs(np.log(measure / np.median(measure[fine])))
            worst = np.maximum(worst, off)
        return np.asarray(1 - 0.5 * worst / np.log(ODD_SIZE * 1.001))


def _colour(facts: pd.DataFrame, fine: npt.NDArray[np.bool_]) -> _Floats:
    """Score mean chroma by how far the nearest hundredth of the images is; 0.5 is the threshold.

    Few that look like one another are another stain, not a fault; one alone is odd.
    """
    score = np.ones(len(fine))
    if fine.sum() < 8:
        return score
    chroma = _chroma(facts)[fine]
    rank = max(3, round(ODD_SHARE * len(chroma)))
    distance = NearestNeighbors(n_neighbors=rank).fit(chroma).kneighbors()[0][:, -1]
    limit = max(ODD_COLOUR_LEAST, ODD_COLOUR * float(np.median(distance)))
    score[fine] = 1 - 0.5 * distance / limit
    return score


def _unless_usual(
    dataset: Dataset, name: str, issue: Issue, readable: npt.NDArray[np.bool_]
) -> tuple[Issue, str]:
    """Take a flag back where more than half of a class carries it, and say so."""
    usual: list[str] = []
    flagged = issue.flagged.copy()
    score = issue.score.copy()
    for label in np.unique(dataset.labels):
        members = readable & (dataset.labels == label)
        if members.sum() >= 4 and issue.flagged[members].mean() > 0.5:
            usual.append(dataset.classes[label] if label >= 0 else "images without a label")
            flagged[members] = False
            score[members] = 1.0
    if not usual:
        return issue, ""
    words = name.replace("_", " ")
    said = f"Most images of {shown(usual)} are {words}: taken for their nature, not flagged."
    return Issue(score, flagged, issue.why), said
