"""The same picture more than once: byte copies, near copies, and copies under two labels.

Near copies (saved anew, resized, mirrored, turned, slightly shifted) are looked for among the
nearest descriptors and confirmed on pixels. Cells of one class look alike, so what counts is fine
structure: two cells share a shape, never their granules.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import gaussian_filter
from skimage.feature import match_template
from sklearn.neighbors import NearestNeighbors

from cytowell.checks.issues import Issue, Progress, components, findings, flags, name_sets, shown
from cytowell.checks.scan import Scan, look
from cytowell.images import Preprocessing, open_upright
from cytowell.types import BoolArray, Dataset, Findings, IntArray

NEIGHBOURS = 6
"""Nearest descriptors that are looked at; sets of more copies join through one another."""

LOOKS_ALIKE = 0.86
"""Correlation of thumbnails from which a pair is worth decoding again."""

SIDE, REACH = 128, 10
"""Side in pixels at which pairs are compared, and the largest shift that is tried."""

ALIKE, SAME_STRUCTURE, BEYOND_DOUBT = 0.95, 0.90, 0.95
"""Correlations of two pictures: of grey values; of structure between 1 and 4 of 128 pixels; and of
that structure where two labels of one image are to be called a contradiction. Copies reach 0.98
and more, the most similar pairs of different blood cells 0.86 and 0.65."""

CHAIN_SHARE = 0.01
"""A chain of near copies that joins more than this share of the images is not joined."""

LARGEST_SET = 100
"""Members from which a large set is taken for a chain without comparing all of it."""

ROBOFLOW_MARK = ".rf."

_Pairs = npt.NDArray[np.int64]
_Grey = npt.NDArray[np.float32]
_Decode = Callable[[int], tuple[_Grey, _Grey]]
_NO_PAIRS: _Pairs = np.zeros((0, 2), dtype=np.int64)


@dataclass(frozen=True)
class Links:
    """Pairs of photographs, positions in `Scan.paths`; each (P, 2).

    `certain` are the near pairs that are one picture beyond doubt; `left` those of chains that were
    not joined. `structure` is the correlation of each near pair.
    """

    exact: _Pairs
    near: _Pairs
    structure: npt.NDArray[np.float64]
    left: _Pairs

    @property
    def certain(self) -> _Pairs:
        """Near pairs that are one picture beyond doubt."""
        return self.near[self.structure >= BEYOND_DOUBT]


def check(
    dataset: Dataset,
    scan: Scan | None = None,
    record: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Find copies, and pictures that stand under two labels.

    Issues: `exact_duplicate`, `near_duplicate`, `two_labels`, `augmented` (copies that Roboflow
    made of one photograph). Every copy of a picture under two labels is excluded, since nobody can
    tell which label is right.

    Parameters
    ----------
    scan
        What one look at the photographs gave; looked at now without it.
    """
    seen = scan or look(dataset, record, progress)
    links = _links(seen, record, progress)
    exact, near = _flagged(dataset, seen, links)
    certain = np.concatenate([links.exact, links.certain])
    contradicted = _two_labels(dataset, seen, components(len(seen.paths), certain))
    stems, augmented = _augmented(dataset)
    joined = np.concatenate([links.exact, links.near])
    sets = _sets(dataset, seen, joined, stems, exact.flagged | near.flagged)
    issues = {
        "exact_duplicate": exact,
        "near_duplicate": near,
        "two_labels": contradicted,
        "augmented": augmented,
    }
    remarks = _remarks(dataset, issues, links)
    return findings(dataset, issues, (), remarks, sets, contradicted.flagged)


def _links(seen: Scan, record: Preprocessing | None, progress: Progress | None) -> Links:
    readable = np.flatnonzero(seen.readable)
    hashes = seen.facts["sha256"].to_numpy()[readable]
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    exact = np.column_stack([readable[first[inverse]], readable]).astype(np.int64)
    exact = exact[exact[:, 0] != exact[:, 1]]
    alone = readable[np.sort(first)]
    if len(alone) < 2:
        return Links(exact, _NO_PAIRS, np.zeros(0), _NO_PAIRS)
    count = min(NEIGHBOURS + 1, len(alone))
    finder = NearestNeighbors(algorithm="brute").fit(seen.descriptors[alone])
    nearest = finder.kneighbors(n_neighbors=count - 1, return_distance=False)
    every = np.column_stack([np.repeat(alone, count - 1), alone[nearest.ravel()]])
    compare = _Comparison(seen, _pictures(seen, record), progress)
    compare.least = 1 - _tolerance(alone, finder, compare)
    pairs, structure = compare.confirmed(np.unique(np.sort(every, axis=1), axis=0))
    chained = _chains(pairs, compare)
    return Links(exact, pairs[~chained], structure[~chained], pairs[chained])


class _Comparison:
    """Compares photographs of one scan, two at a time; decodes again what looks alike."""

    def __init__(self, seen: Scan, picture: _Decode, progress: Progress | None = None) -> None:
        self.seen = seen
        self.picture = picture
        self.progress = progress
        self.least = SAME_STRUCTURE

    def __call__(self, pair: npt.NDArray[np.int64], o: int) -> tuple[float, float]:
        return agreement(self.picture(int(pair[0])), self.picture(int(pair[1])), int(o))

    def confirmed(self, pairs: _Pairs) -> tuple[_Pairs, npt.NDArray[np.float64]]:
        """Give those of the pairs that are one picture, and how well their structure agrees."""
        alike, turned = _thumbnails_agree(self.seen, pairs, self.progress)
        chosen = np.flatnonzero(alike >= LOOKS_ALIKE)
        structure = np.zeros(len(pairs))
        for done, k in enumerate(chosen):
            grey, fine = self(pairs[k], int(turned[k]))
            structure[k] = fine if grey >= ALIKE else 0.0
            if self.progress is not None and (done % 50 == 49 or done + 1 == len(chosen)):
                self.progress("confirming near copies on pixels", done + 1, len(chosen))
        same = structure >= self.least
        return pairs[same], structure[same]


def oriented(image: npt.NDArray[np.generic], which: int) -> npt.NDArray[np.generic]:
    """Give the image in one of its eight orientations, 0 as it is; square images (..., S, S)."""
    turned = np.swapaxes(image, -1, -2) if which >= 4 else image
    return np.rot90(turned, which % 4, axes=(-2, -1))


def _thumbnails_agree(
    seen: Scan, pairs: _Pairs, progress: Progress | None
) -> tuple[npt.NDArray[np.float64], IntArray]:
    """Correlate thumbnails in eight orientations over shifts of half a thumbnail's pixel.

    Returns
    -------
    tuple
        Best correlation of each pair and the orientation of its first that gave it; each (P,).
    """
    best, turned = np.zeros(len(pairs)), np.zeros(len(pairs), dtype=np.int64)
    side, block = seen.grey.shape[1], 512
    for start in range(0, len(pairs), block):
        part = slice(start, start + block)
        one, other = (_normalised(seen.grey[pairs[part, i]]) for i in (0, 1))
        waves = fft.rfft2(other)
        for o in range(8):
            cross = fft.rfft2(oriented(one, o)).conj() * waves
            wide = np.zeros((len(cross), 2 * side, side + 1), dtype=np.complex64)
            half = side // 2
            wide[:, :half, : half + 1] = cross[:, :half]
            wide[:, -half:, : half + 1] = cross[:, half:]
            map_ = fft.irfft2(wide, s=(2 * side, 2 * side)) * 4
            near = np.roll(map_, (5, 5), (1, 2))[:, :11, :11].max(axis=(1, 2))
            better = near > best[part]
            best[part] = np.where(better, near, best[part])
            turned[part] = np.where(better, o, turned[part])
        if progress is not None:
            progress("comparing look-alikes", min(start + block, len(pairs)), len(pairs))
    return best, turned


def _normalised(grey: npt.NDArray[np.uint8]) -> _Grey:
    values = grey.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=(1, 2), keepdims=True), 1e-3))


def _pictures(seen: Scan, record: Preprocessing | None) -> _Decode:
    """Give what decodes a photograph again for comparing; the last few hundred are kept."""

    @functools.lru_cache(maxsize=512)
    def decode(position: int) -> tuple[_Grey, _Grey]:
        image = open_upright(seen.paths[position], record).convert("L")
        values = np.asarray(image.resize((SIDE, SIDE)), dtype=np.float32)
        return values, gaussian_filter(values, 1.0) - gaussian_filter(values, 4.0)

    return decode


def agreement(one: tuple[_Grey, _Grey], other: tuple[_Grey, _Grey], o: int) -> tuple[float, float]:
    """Correlate two pictures at the shift that suits them best: grey values, fine structure."""
    if min(one[1].std(), other[1].std()) < 0.5:
        return 0.0, 0.0  # nothing to see in one of them, and nothing is not a copy of nothing
    inner = slice(REACH, SIDE - REACH)
    found = [
        float(match_template(b, oriented(a, o)[inner, inner]).max())
        for a, b in zip(one, other, strict=True)
    ]
    return found[0], found[1]


def _tolerance(alone: IntArray, finder: NearestNeighbors, compare: _Comparison) -> float:
    """Give how far from 1 a copy's structure may correlate, by how alike strangers are here.

    Wells of one plate share rim and shading. Neighbours so far down the list that as many copies
    would not be joined anyway stand for strangers; a copy has to be four times nearer than they.
    """
    rank = max(NEIGHBOURS + 2, round(2 * CHAIN_SHARE * len(alone)))
    if rank >= len(alone):
        return 1 - SAME_STRUCTURE
    few = np.unique(np.linspace(0, len(alone) - 1, 48).astype(np.int64))
    vectors = compare.seen.descriptors[alone[few]]
    ranked = finder.kneighbors(vectors, rank + 1, return_distance=False)
    pairs = np.column_stack([alone[few], alone[ranked[:, rank]]])
    _, turned = _thumbnails_agree(compare.seen, pairs, None)
    apart = [1 - compare(pair, int(o))[1] for pair, o in zip(pairs, turned, strict=True)]
    return min(1 - SAME_STRUCTURE, 0.25 * float(np.quantile(apart, 0.1)))


def _chains(pairs: _Pairs, compare: _Comparison) -> BoolArray:
    """Mark the pairs of chains: sets of over 1 % of the images that are not copies of one.

    A set of which every member is a copy of the best connected one is no chain, however large its
    share; so that a small folder may hold four copies of an image.
    """
    count = len(compare.seen.paths)
    marked = np.zeros(len(pairs), dtype=np.bool_)
    if not len(pairs):
        return marked
    component = components(count, pairs)
    sizes = np.bincount(component)
    degree = np.bincount(pairs.ravel(), minlength=count)
    for large in np.flatnonzero((sizes > CHAIN_SHARE * count) & (sizes > 2)):
        members = np.flatnonzero(component == large)
        hub = members[np.argmax(degree[members])]
        others = members[members != hub]
        star = np.column_stack([np.full(len(others), hub), others]).astype(np.int64)
        if len(others) > LARGEST_SET or len(compare.confirmed(star)[0]) < len(others):
            marked |= component[pairs[:, 0]] == large
    return marked


def _flagged(dataset: Dataset, seen: Scan, links: Links) -> tuple[Issue, Issue]:
    of_file = _copy_of(seen, links.exact)
    exact: dict[int, str] = {int(i): of_file[int(p)] for i, p in enumerate(seen.photograph)
                             if int(p) in of_file}  # fmt: skip
    rows: dict[tuple[int, object], int] = {}
    readable = seen.readable
    for i, (sample, photograph) in enumerate(zip(dataset.samples, seen.photograph, strict=True)):
        first = rows.setdefault((int(photograph), sample.box), i)
        if first != i and readable[photograph]:
            exact[first] = exact[i] = "listed more than once"
    near_of = _copy_of(seen, np.concatenate([links.near, links.left]))
    near = {int(i): f"near {near_of[int(p)]}" for i, p in enumerate(seen.photograph)
            if int(p) in near_of}  # fmt: skip
    return _marked(len(dataset), exact), _marked(len(dataset), near)


def _copy_of(seen: Scan, pairs: _Pairs) -> dict[int, str]:
    words: dict[int, str] = {}
    for a, b in pairs.tolist():
        words.setdefault(a, f"copy of {Path(seen.paths[b]).name}")
        words.setdefault(b, f"copy of {Path(seen.paths[a]).name}")
    return words


def _marked(count: int, why: Mapping[int, str]) -> Issue:
    flagged = np.zeros(count, dtype=np.bool_)
    flagged[list(why)] = True
    return flags(flagged, why)


def _two_labels(dataset: Dataset, seen: Scan, component: IntArray) -> Issue:
    """Flag every sample of a picture (and box in it) that stands under more than one label."""
    members: dict[tuple[int, object], list[int]] = {}
    for i, sample in enumerate(dataset.samples):
        if sample.label is not None and seen.readable[seen.photograph[i]]:
            key = (int(component[seen.photograph[i]]), sample.box)
            members.setdefault(key, []).append(i)
    why: dict[int, str] = {}
    for positions in members.values():
        labels = sorted({str(dataset.samples[i].label) for i in positions})
        if len(labels) > 1:
            why |= dict.fromkeys(positions, f"one image under the labels {', '.join(labels)}")
    return _marked(len(dataset), why)


def _augmented(dataset: Dataset) -> tuple[list[str], Issue]:
    """Find Roboflow's copies: names ``<stem>.rf.<hash>.jpg`` that share a stem."""
    names = [Path(p).name for p in dataset.paths]
    stems = [n.split(ROBOFLOW_MARK)[0] if ROBOFLOW_MARK in n else "" for n in names]
    files: dict[str, set[str]] = {}
    for stem, path in zip(stems, dataset.paths, strict=True):
        files.setdefault(stem, set()).add(path)
    why = {
        i: f"one of {len(files[s])} augmented copies of {s}"
        for i, s in enumerate(stems)
        if s and len(files[s]) > 1
    }
    return [s if i in why else "" for i, s in enumerate(stems)], _marked(len(dataset), why)


def _sets(
    dataset: Dataset, seen: Scan, joined: _Pairs, stems: list[str], copies: BoolArray
) -> tuple[str, ...]:
    """Give the set of each sample: copies and augmented copies stay on one side of a split."""
    component = components(len(seen.paths), joined)
    keys = [f"picture {c}" for c in seen.spread(component)]
    place = {key: i for i, key in enumerate(dict.fromkeys([*keys, *filter(None, stems)]))}
    pairs = [(place[k], place[s]) for k, s in zip(keys, stems, strict=True) if s]
    tied = components(len(place), np.array(pairs, dtype=np.int64).reshape(-1, 2))
    of_sample = np.array([tied[place[k]] for k in keys], dtype=np.int64)
    kept = copies | np.array([bool(s) for s in stems], dtype=np.bool_)
    names = name_sets(of_sample)
    return tuple(n if k else "" for n, k in zip(names, kept, strict=True))


def _remarks(dataset: Dataset, issues: Mapping[str, Issue], links: Links) -> list[str]:
    said = []
    names = {k: [Path(dataset.paths[i]).name for i in sorted(v.why)] for k, v in issues.items()}
    if names["exact_duplicate"]:
        said.append(f"{len(names['exact_duplicate'])} images are byte copies of one another.")
    if names["near_duplicate"]:
        said.append(f"{len(names['near_duplicate'])} images are near copies of one another.")
    if names["two_labels"]:
        said.append(
            f"{len(names['two_labels'])} images stand under two labels and are left out, since "
            f"nobody can tell which is right: {shown(names['two_labels'])}."
        )
    if names["augmented"]:
        count = len(names["augmented"])
        said.append(f"{count} images are augmented copies; those of one photograph stay together.")
    if len(links.left):
        count = len(np.unique(links.left))
        said.append(
            f"{count} images form chains of near copies that each join more than 1 % of all; they "
            "are reported and not joined. If they are frames of one film, give its name as group."
        )
    return said
