"""What a class of a blood count is, by its name: white cell, red cell, platelet, or none of them.

Names are matched by words, whatever their case, number, spelling (artefact, artifact) and spacing
(`red blood cells`, `RedBloodCell`). What is not known is said to be so and counted apart: to take
it for a white cell would put it into the denominator.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

TAKEN_FOR = {
    "white": "white cell",
    "erythroblast": "nucleated red cell",
    "red cell": "red cell",
    "platelet": "platelet",
    "other": "not a cell to count",
    "unknown": "not known",
}
"""What a count calls each kind."""

_ANYWHERE = {
    "erythroblast": "erythroblast normoblast rubriblast rubricyt megaloblast nucleatedred "
    "nucleatedrbc erythroid",
    "platelet": "platelet thrombocyt",
    "red cell": "erythrocyt redbloodcell reticulocyt spherocyt schistocyt dacryocyt dacrocyt "
    "acanthocyt echinocyt elliptocyt ovalocyt stomatocyt codocyt drepanocyt poikilocyt macrocyt "
    "microcyt normocyt discocyt",
    "other": "artefact artifact smudg debris background gumprecht precipitat megakaryo",
    "white": "neutrophil eosinophil basophil granulocyt lymphocyt monocyt leukocyt leucocyt "
    "myelocyt whitebloodcell plasmacell plasmocyt myeloblast lymphoblast monoblast macrophag "
    "histiocyt",
}
"""Parts of a name, long enough to be met in no other word."""

_AS_WORDS = {
    "erythroblast": "nrbc",
    "platelet": "plt",
    "red cell": "rbc redcell targetcell sicklecell burrcell teardrop teardropcell rouleau rouleaux",
    "other": "stain dirt dust bubble brokencell rupturedcell burstcell damagedcell basketcell "
    "parasite plasmodium plasmodia malaria trypanosome microfilaria",
    "white": "wbc whitecell blast plasmablast promonocyt band bandcell stab seg segmented "
    "segmentedcell polymorph pmn hairycell mastcell lymph mono neut eos baso sezarycell faggotcell",
}
"""Words, and words that follow one another."""

_WHOLE = {
    "erythroblast": "erb ebo peb",
    "platelet": "pl",
    "other": "other othercell unknown unknowncell none nothing notacell nocell noncell empty "
    "notidentifiable unidentified unidentifiedcell art ksc nif oth",
    "white": "ig sne bne ngs ngb neu eo ba ly lym lyt lya lyi mo mon my mmy pmy myo mob pmo pmb "
    "myb mmz bla plm hac fgc",
}
"""Whole names: short ones, and the codes of published data sets of blood and bone marrow cells."""

_NEGATION = frozenset({"no", "non", "not", "without"})

_IMMATURE_ANYWHERE = "immaturegranulocyt myelocyt"
_IMMATURE_WHOLE = "ig my mmy pmy pmo pmb myb mmz"


def kind_of(name: str, kinds: Mapping[str, str] | None = None) -> str:
    """Give what a class is, one of `TAKEN_FOR`: as somebody said, else by its name.

    A name that says two things (`platelet on red cell`), or says what it is not, is not known.

    Examples
    --------
    >>> [kind_of(n) for n in ("Red blood cells", "nRBCs", "Artifacts", "segmented neutrophils")]
    ['red cell', 'erythroblast', 'other', 'white']
    """
    if kinds and name in kinds:
        return kinds[name]
    words = _words(name)
    whole = _singular("".join(words))
    for kind, names in _WHOLE.items():
        if whole in _terms(names):
            return kind
    if _NEGATION & {_singular(w) for w in words}:
        return "unknown"
    found = {k for k in TAKEN_FOR if _met(words, _ANYWHERE.get(k, ""), _AS_WORDS.get(k, ""))}
    if "other" in found:
        return "other"
    if "erythroblast" in found:
        # "Nucleated red blood cell" and "erythroblast" hold a red cell's name and a blast's.
        found -= {"red cell", "white"}
    return found.pop() if len(found) == 1 else "unknown"


def is_immature(name: str) -> bool:
    """Whether a class is one of immature granulocytes, by its usual names."""
    words = _words(name)
    whole = _singular("".join(words))
    return whole in _terms(_IMMATURE_WHOLE) or _met(words, _IMMATURE_ANYWHERE, "")


def in_words(classes: Iterable[str], kinds: Mapping[str, str] | None = None) -> str:
    """Say of each class what it was taken for, kind by kind."""
    named = [(c, kind_of(c, kinds)) for c in classes]
    parts = []
    for kind, said in TAKEN_FOR.items():
        mine = [c for c, k in named if k == kind]
        if mine:
            parts.append(f"{said}: {', '.join(mine)}")
    return f"Taken for {'; '.join(parts)}."


def _words(name: str) -> list[str]:
    """Give the words of a name in small letters, without accents, numbers and signs."""
    plain = unicodedata.normalize("NFKD", name).upper().casefold()
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return re.findall("[a-z]+", plain)


def _singular(word: str) -> str:
    """Cut a word so that its singular and its plural are one: cells, patches, bodies."""
    return re.sub("i$", "y", re.sub("[es]+$", "", word))


def _terms(words: str) -> set[str]:
    return {_singular(w) for w in words.split()}


def _met(words: list[str], anywhere: str, as_words: str) -> bool:
    """Whether a name's words, written as one, hold a term, or some of them are one."""
    joined, terms = "".join(words), _terms(as_words)
    if any(term in joined for term in anywhere.split()):
        return True
    ends = range(1, len(words) + 1)
    return any(_singular("".join(words[i:j])) in terms for j in ends for i in range(j))
