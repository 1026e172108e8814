"""What a class is taken for, by its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytowell.evaluation.cell_kinds import TAKEN_FOR, in_words, is_immature, kind_of

KNOWN = {
    "erythroblast": (
        "nRBC", "nucleated red blood cell", "nucleated RBC", "erythroblast", "normoblast",
        "NucleatedRedBloodCell", "proerythroblast", "orthochromatic erythroblast", "ERB",
    ),
    "red cell": (
        "RBC", "red blood cell", "red-cell", "RedBloodCell", "erythrocyte", "sickle cell",
        "reticulocyte", "infected RBC", "target_cell",
    ),
    "platelet": (
        "platelet", "giant platelet", "GiantPlatelet", "thrombocyte", "PLT", "large thrombocyte",
        "platelet clump",
    ),
    "other": (
        "artifact", "artefact", "stain artefact", "smudge", "smudge cell", "SmudgeCell",
        "basket cell", "background", "debris", "unknown", "other", "not a cell",
    ),
    "white": (
        "neutrophil", "segmented neutrophil", "band", "Neutrophile", "eosinophil", "basophil",
        "monocyte", "atypical lymphocyte", "plasma cell", "blast", "myeloblast", "WBC",
        "white blood cell", "immature granulocyte", "ig", "promyelocyte", "metamyelocyte", "EO",
        "hairy cell", "leucocyte",
    ),
    "unknown": ("neuron", "scattered cell", "type A", "platelet on red cell", "non-neutrophil",
                "coloured cells", "3", ""),
}  # fmt: skip
PAIRS = [(name, kind) for kind, names in KNOWN.items() for name in names]


def plurals(name: str) -> list[str]:
    """Give the plurals that somebody might write."""
    found = [f"{name}s", f"{name}es"]
    return [*found, f"{name[:-1]}ies"] if name.lower().endswith("y") else found


def cases(name: str) -> list[str]:
    return [name.lower(), name.upper(), name.title(), name.swapcase(), name.capitalize()]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_names_are_taken_for_what_they_say_whatever_case_and_number(name: str, kind: str) -> None:
    assert kind_of(name) == kind
    for other in [*cases(name), *plurals(name), *(c for p in plurals(name) for c in cases(p))]:
        assert kind_of(other) == kind, other
        assert is_immature(other) == is_immature(name)
    for sign in "_-/  ":
        assert kind_of(name.replace(" ", sign)) == kind


@given(st.text(max_size=20) | st.sampled_from([n for n, _ in PAIRS]), st.data())
def test_a_plural_or_another_case_is_the_same_class(name: str, data: st.DataObject) -> None:
    other = data.draw(st.sampled_from([*cases(name), *plurals(name)]))
    assert kind_of(other) == kind_of(name)


def test_what_somebody_says_stands_above_the_name() -> None:
    assert kind_of("type A", {"type A": "white"}) == "white"
    assert kind_of("neutrophil", {"neutrophil": "other"}) == "other"
    assert set(KNOWN) == set(TAKEN_FOR)


def test_immature_granulocytes_are_known_in_every_number() -> None:
    assert all(is_immature(n) for n in ("IG", "IGs", "Promyelocytes", "immature granulocytes"))
    assert not any(is_immature(n) for n in ("neutrophils", "granulocytes", "monocytes", "big"))


def test_each_class_is_said_with_what_it_was_taken_for() -> None:
    said = in_words(["neutrophils", "RBCs", "blob"], {})
    assert said == "Taken for white cell: neutrophils; red cell: RBCs; not known: blob."
