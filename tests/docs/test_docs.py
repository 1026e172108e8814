"""The docs say everything that there is, and their examples run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import cytowell
from cytowell import registry
from cytowell.plates.layout_files import read_layout
from cytowell.runs import recipe as recipes
from cytowell.runs.reference import page
from cytowell.sources.samples import write_samples
from cytowell.types import Box, Dataset, Sample

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_every_finding_is_documented(tmp_path: Path) -> None:
    folder = write_samples(tmp_path, "cells", per_class=3)["cells"]
    findings = cytowell.check(cytowell.read(folder), doubt=True)
    boxed = Dataset((Sample(str(tmp_path / "no.jpg"), "cell", box=Box(1, 2, 3, 4)),), ("cell",))
    issues = {*findings.issues, *cytowell.check(boxed).issues}
    said = (DOCS / "checks.md").read_text(encoding="utf-8")
    missing = [issue for issue in issues if f"`{issue}`" not in said]
    assert not missing


@pytest.mark.parametrize("kind", ["learners", "sources", "checks", "titre-rules"])
def test_every_part_is_documented(kind: str) -> None:
    said = "\n".join(
        p.read_text(encoding="utf-8") for p in [*DOCS.glob("*.md"), ROOT / "README.md"]
    )
    missing = [name for name in registry.TABLE[kind] if not re.search(rf"\b{name}\b", said)]
    assert not missing


def test_the_reference_of_recipes_is_that_of_the_settings() -> None:
    """Write it anew: ``python -m cytowell.runs.reference > docs/recipe.md``."""
    assert (DOCS / "recipe.md").read_text(encoding="utf-8") == page()


def test_the_recipe_in_the_docs_can_be_read(tmp_path: Path) -> None:
    found = re.search(r"```toml\n(.*?)```", page(), re.DOTALL)
    assert found is not None
    (tmp_path / "recipe.toml").write_text(found[1], encoding="utf-8")
    made = recipes.read(tmp_path / "recipe.toml")
    assert (made.settings.epochs, made.settings.augmentation.rotation) == (8.0, 90.0)


def test_every_public_name_is_loaded() -> None:
    for name in cytowell.__all__:
        assert getattr(cytowell, name) is not None


def test_links_between_the_docs_hold() -> None:
    for file in [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", file.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (file.parent / target).exists(), f"{file.name} points to {target}"


def test_the_readme_walk_runs(tmp_path: Path) -> None:
    """Run the Python example of the README on generated photographs."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    made = write_samples(tmp_path, "all", per_class=24)
    (tmp_path / "photographs").symlink_to(made["wells"])
    picture = next(iter(sorted(made["wells"].rglob("*.jpg"))))
    (tmp_path / "new.jpg").write_bytes(picture.read_bytes())
    plate = next(iter(sorted(made["plates"].rglob("plate-96-*.jpg"))))
    (tmp_path / "plate.jpg").write_bytes(plate.read_bytes())
    smears = write_samples(tmp_path / "real", "smear")["smear"]
    (tmp_path / "smears").mkdir()
    for photograph in sorted(smears.glob("*.jpg"))[:2]:
        (tmp_path / "smears" / photograph.name).write_bytes(photograph.read_bytes())
    before = (
        "import cytowell.runs.recipe\n"
        "cytowell.runs.recipe.default_learner = lambda: ('frozen', '')\n"
    )
    after = (
        "assert len(calls) == 1 and len(wells) == 96\n"
        "assert titres.layout.wells == 96 and len(titres.runs) == 1\n"
        "assert callable(app)\n"
        "assert counted.measures['all'].fields == 2\n"
    )
    subprocess.run(
        [sys.executable, "-c", before + found[1] + after], cwd=tmp_path, check=True, timeout=300
    )


@pytest.mark.parametrize("plate", ["valid", "refused"])
def test_the_example_plates_say_what_the_docs_print(plate: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cytowell.cli", "titre", f"docs/plates/{plate}.csv", "--layout",
         "favn"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == (0 if plate == "valid" else 1), "a refused run is no success"
    said = (DOCS / "titres.md").read_text(encoding="utf-8")
    assert done.stdout in said


def test_the_layout_in_the_docs_can_be_read(tmp_path: Path) -> None:
    said = (DOCS / "titres.md").read_text(encoding="utf-8")
    found = re.search(r"```toml\n(.*?)```", said, re.DOTALL)
    assert found is not None
    (tmp_path / "ours.toml").write_text(found[1], encoding="utf-8")
    layout = read_layout(tmp_path / "ours.toml")
    assert layout.limits.reference == (1.19, 1.67)
