"""The networks of a comparison's folds teach the one that is delivered; frozen by a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cytowell
from cytowell.errors import RecipeError, UnknownName
from cytowell.runs.candidates import Fit, candidates
from cytowell.runs.compare import Question, compare
from cytowell.runs.protocols import Protocol
from cytowell.runs.recipe import Flags, from_flags, read
from cytowell.runs.run import Voice
from cytowell.runtime.bundle import load
from cytowell.types import Dataset

pytestmark = pytest.mark.torch

TINY = "test_efficientnet"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    safetensors = pytest.importorskip("safetensors.torch")
    torch.manual_seed(5)
    body = timm.create_model(TINY, pretrained=False, num_classes=0)
    for name, value in body.state_dict().items():
        if value.ndim == 1 and value.is_floating_point():
            value.add_(torch.rand_like(value) * (0.5 if "var" in name else 0.1))
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    safetensors.save_file(body.state_dict(), file)
    return str(file)


def question(weights: str, **changes: Any) -> Question:
    given: dict[str, Any] = {
        "words": (f"timm:{TINY}",),
        "protocols": (Protocol("folds", 2),),
        "fit": Fit(side=32, epochs=1, weights=weights, views=1, by_image=True),
        "choose": True,
        "distill": True,
    }
    return Question(**given | changes)


def test_the_folds_networks_teach_the_one_that_is_delivered(
    plenty: Dataset, tiny: str, tmp_path: Path
) -> None:
    said: list[str] = []
    out = tmp_path / "compare"
    done = compare(plenty, out, question(tiny), Voice(said.append))
    assert done.run is not None
    recipe = read(done.run.folder / "recipe.toml")
    teachers = [Path(t) for t in recipe.settings.teachers]
    assert len(teachers) == 2
    assert len({load(t).digest for t in teachers}) == 2
    assert done.choice is not None
    assert "Distilled from 2 networks of the folds: together they are right on" in (
        done.choice.sentence
    )
    assert "2 networks of the folds teach the one that is delivered" in said
    remarks = " ".join(load(done.run.bundle).facts.origin["remarks"])
    assert "Distilled from" in remarks
    assert "2 networks" in (out / "report.html").read_text(encoding="utf-8")
    # No teacher has seen an image that calibrates or tests the one that it taught.
    held = done.run.split.where("validation", "test")
    assert len(done.run.split.validation)
    seen = {s.path for s in plenty.take(done.run.split.train).samples}
    assert not seen & {s.path for s in plenty.take(held).samples}
    again = compare(plenty, out, question(tiny), Voice(said.append))
    assert "2 of 2 cells are known already" in said
    assert again.run is not None
    assert load(again.run.bundle).digest == load(done.run.bundle).digest


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"choose": False}, "--choose"),
        ({"protocols": (Protocol("holdout"),)}, "--folds"),
        ({"engine": "ray"}, "--engine local"),
    ],
)
def test_what_cannot_be_distilled_is_refused_at_once(
    changes: dict[str, Any], match: str, plenty: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=match):
        compare(plenty, tmp_path / "out", question("nothing", **changes))
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_by_name_is_a_candidate_with_weights_of_its_own(tiny: str) -> None:
    (made,) = candidates((f"timm:{TINY}@{tiny}",), Fit())
    assert made.recipe.learner == "finetune"
    assert (made.recipe.settings.backbone, made.recipe.settings.weights) == (f"timm:{TINY}", tiny)
    assert made.name == f"timm:{TINY}@tiny.safetensors"
    both, _ = candidates((f"timm:{TINY}+timm:resnet18", "hf-hub:lab/cells@v2"), Fit())
    assert both.recipe.settings.backbone == f"timm:{TINY}+timm:resnet18"
    with pytest.raises(UnknownName, match="no network 'timm:resnet1"):
        candidates(("timm:resnet1",), Fit())


def test_frozen_features_of_a_checkpoint_by_name(
    plenty: Dataset, tiny: str, tmp_path: Path
) -> None:
    flags = Flags(learner="frozen", backbone=f"timm:{TINY}", weights=tiny)
    made, _ = from_flags(flags)
    assert made.settings.backbones == (f"timm:{TINY}@{tiny}",)
    run = cytowell.train(plenty, tmp_path / "run", made)
    facts = load(run.bundle).facts
    assert facts.origin["architecture"] == f"timm:{TINY}"
    assert "tiny.safetensors, sha256" in facts.origin["weights"]
    assert facts.preprocessing.interpolation == "bicubic"
    with pytest.raises(RecipeError, match="--weights is for networks"):
        from_flags(Flags(learner="frozen", backbone="imagenet", weights=tiny))
