from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cytowell.errors import RecipeError, StorageError, TooFewImages, UnknownName
from cytowell.images import open_upright
from cytowell.sources import SYNTHETIC_MARK, samples_cells, samples_plates, samples_wells
from cytowell.sources.samples import PER_SLIDE, write_samples

BOX = ("x", "y", "width", "height")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def all_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_samples(tmp_path_factory.mktemp("samples"), "all", per_class=7)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for kind in ("cells", "wells", "plates", "titres"):
        one = write_samples(tmp_path / "one", kind, per_class=1, seed=3)[kind]
        two = write_samples(tmp_path / "two", kind, per_class=1, seed=3)[kind]
        other = write_samples(tmp_path / "other", kind, per_class=1, seed=4)[kind]
        assert contents(one) == contents(two)
        images = [p for p in contents(one) if p.endswith(".jpg")]
        assert all(contents(one)[p] != contents(other)[p] for p in images)


def test_a_picture_does_not_depend_on_how_many_are_drawn(
    all_sets: dict[str, Path], tmp_path: Path
) -> None:
    few, many = contents(write_samples(tmp_path, per_class=1)["cells"]), contents(all_sets["cells"])
    for name in few:
        if name.endswith(".jpg"):
            assert few[name] == many[name]


def test_every_set_is_marked_and_every_picture_says_so(all_sets: dict[str, Path]) -> None:
    assert set(all_sets) == {"cells", "wells", "plates", "titres"}
    for folder in all_sets.values():
        text = (folder / SYNTHETIC_MARK).read_text(encoding="utf-8")
        assert text.startswith("SYNTHETIC")
        assert "seed: 7" in text
        assert "cytowell: " in text
        for photograph in folder.rglob("*.jpg"):
            with Image.open(photograph) as image:
                assert b"synthetic" in image.info["comment"]


@pytest.mark.parametrize("kind", ["cells", "wells", "plates"])
def test_the_table_names_readable_pictures_with_label_and_group(
    all_sets: dict[str, Path], kind: str
) -> None:
    table = pd.read_csv(all_sets[kind] / "samples.csv", dtype=str)
    assert list(table.columns[:3]) == ["path", "label", "group"]
    assert not table[["path", "label", "group"]].isna().to_numpy().any()
    for path in table["path"].unique():
        assert open_upright(all_sets[kind] / path).mode == "RGB"
    on_disk = {p.relative_to(all_sets[kind]).as_posix() for p in all_sets[kind].rglob("*.jpg")}
    assert set(table["path"]) == on_disk


@pytest.mark.parametrize("kind", ["cells", "wells"])
def test_classes_are_folders_and_groups_hold_every_class(
    all_sets: dict[str, Path], kind: str
) -> None:
    table = pd.read_csv(all_sets[kind] / "samples.csv")
    names = samples_cells.KINDS if kind == "cells" else samples_wells.STATES
    assert set(table["label"]) == set(names)
    assert (table["path"].str.split("/").str[0] == table["label"]).all()
    assert (table.groupby("label").size() == 7).all()
    per_group = table.groupby(["group", "label"]).size().unstack()
    assert per_group.shape == (2, len(names))
    assert (per_group.max() == PER_SLIDE).all()


def test_every_well_of_a_plate_is_known(all_sets: dict[str, Path]) -> None:
    folder = all_sets["plates"]
    truth = pd.read_csv(folder / "wells.csv")
    assert list(truth.columns) == ["photo", "plate", "well", *BOX, "state"]
    assert set(truth["state"]) <= {"positive", "negative", "dark"}
    sizes = truth.groupby("photo").size()
    assert set(sizes) == set(samples_plates.FORMATS)
    assert truth.groupby("plate")["photo"].nunique().eq(2).all()
    for photo, rows in truth.groupby("photo"):
        with Image.open(folder / str(photo)) as image:
            width, height = image.size
        assert rows["well"].is_unique
        assert rows["well"].iloc[0] == "A1"
        assert (rows["x"] >= 0).all()
        assert (rows["y"] >= 0).all()
        assert (rows["x"] + rows["width"] <= width).all()
        assert (rows["y"] + rows["height"] <= height).all()
        yolo = np.loadtxt(folder / "labels" / f"{Path(str(photo)).stem}.txt", ndmin=2)
        centre = (rows["x"] + rows["width"] / 2) / width
        np.testing.assert_allclose(yolo[:, 1], centre, atol=1e-5)
        np.testing.assert_allclose(yolo[:, 4], rows["height"] / height, atol=1e-5)


def test_two_photographs_of_a_plate_show_the_same_wells(all_sets: dict[str, Path]) -> None:
    truth = pd.read_csv(all_sets["plates"] / "wells.csv")
    seen = truth[truth["state"] != "dark"]
    assert (seen.groupby(["plate", "well"])["state"].nunique() == 1).all()


def test_boxes_lie_where_the_wells_are() -> None:
    """Violet wells on a pale deck: a box is violet in its middle and not at its corners."""
    none = np.zeros((4, 6), dtype=np.bool_)
    scene = samples_plates.Scene(24, none, none, turn=20.0, perspective=0.1, violet=True)
    image, wells = samples_plates.draw_plate(scene, np.random.default_rng(1))
    pixels = np.asarray(image, dtype=float)
    for well in wells:
        box = well.box
        x, y = int(box.x + box.width / 2), int(box.y + box.height / 2)
        corner = pixels[int(box.y), int(box.x)]
        assert pixels[y, x, 1] < 0.7 * corner[1]
        assert 0.8 < box.width / box.height < 1.25


def test_foci_light_up_only_where_there_is_virus() -> None:
    """The brightest green of a positive field exceeds that of most negative ones."""
    greens: dict[str, list[float]] = {state: [] for state in samples_wells.STATES}
    for state in samples_wells.STATES:
        for i in range(6):
            look = samples_wells.plate_conjugate(np.random.default_rng([1, i]))
            image = samples_wells.draw_field(state, np.random.default_rng([2, i]), look)
            pixels = np.asarray(image, dtype=float)
            assert pixels[:8, :8].mean() < 25
            greens[state].append(float(np.quantile(pixels[:, :, 1] - pixels[:, :, 0], 0.999)))
    assert np.median(greens["positive"]) > 1.5 * np.median(greens["negative"])


def test_cells_are_neither_trivial_nor_hopeless(tmp_path: Path) -> None:
    folder = write_samples(tmp_path, "cells", per_class=18)["cells"]
    table = pd.read_csv(folder / "samples.csv")

    def colours(path: str) -> npt.NDArray[np.float64]:
        pixels = np.asarray(open_upright(folder / path))[50:150, 50:150].reshape(-1, 3)
        bins = [np.histogram(pixels[:, c], 12, (0, 256))[0] / len(pixels) for c in range(3)]
        return np.concatenate(bins)

    X = np.stack([colours(p) for p in table["path"]])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    called = cross_val_predict(model, X, table["label"], groups=table["group"], cv=GroupKFold(3))
    accuracy = float((called == table["label"]).mean())
    assert 0.4 < accuracy < 0.97


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_samples(tmp_path, "wells", per_class=2, progress=lambda n, of: seen.append((n, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_synthetic_set_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    folder = write_samples(tmp_path, "wells", per_class=2)["wells"]
    write_samples(tmp_path, "wells", per_class=1)
    assert len(list(folder.rglob("*.jpg"))) == 2
    (folder / SYNTHETIC_MARK).unlink()
    with pytest.raises(StorageError, match="no synthetic set"):
        write_samples(tmp_path, "wells", per_class=1)
    assert len(list(folder.rglob("*.jpg"))) == 2


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    (tmp_path / "cells").write_text("precious")
    with pytest.raises(StorageError, match="cannot be written"):
        write_samples(tmp_path / "out", per_class=1)
    with pytest.raises(StorageError, match="cannot be written"):
        write_samples(tmp_path, per_class=1)
    assert (tmp_path / "cells").read_text() == "precious"


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'cells'"):
        write_samples(tmp_path, "cell")
    with pytest.raises(TooFewImages):
        write_samples(tmp_path, per_class=0)
    with pytest.raises(RecipeError):
        write_samples(tmp_path, seed=-1)
    assert not list(tmp_path.iterdir())
