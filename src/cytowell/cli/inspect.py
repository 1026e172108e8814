"""cytowell inspect: what a bundle is."""

from __future__ import annotations

import json

import cytowell
from cytowell.cli.options import BundleArgument, JsonOption

NAME = "inspect"


def command(bundle: BundleArgument, json_: JsonOption = False) -> None:
    """Print what a bundle tells apart, how sure it has to be, and where it came from."""
    loaded = cytowell.load(bundle)
    record = loaded.facts.to_json() | {
        "digest": loaded.digest,
        "features": loaded.head.weight.shape[1],
    }
    if json_:
        print(json.dumps(record, indent=1, ensure_ascii=False))
        return
    facts = loaded.facts
    origin = facts.origin
    print(f"{loaded.name}")
    if facts.synthetic:
        print("learnt from SYNTHETIC images")
    print(f"kind          {facts.kind}")
    print(f"classes       {', '.join(facts.classes)}")
    print(f"positive      {facts.positive or 'none'}")
    seen = facts.preprocessing
    if seen.cell is not None:
        view = seen.cell
        print(f"input         {seen.size} px, canonical view of a cell")
        print(
            f"window        {view.window:g} diameters of the nucleus"
            f"{', light divided out' * view.light}{', centred on the nucleus' * view.centre}"
        )
    else:
        print(f"input         {seen.size} px, crop {seen.crop:g}")
        print(
            f"boxes         middle {seen.middle_of_boxes:.0%}, margin {seen.margin:g}"
            f"{', square' * seen.square}{', round' * seen.round}"
        )
    if loaded.subclasses is not None:
        print(f"kinds         {', '.join(n for n, _ in loaded.subclasses.names)}")
    print(f"temperature   {facts.temperature:.3f}")
    print(f"threshold     {facts.threshold:.3f}")
    print(f"maps          {', '.join(m.name for m in facts.maps) or 'none'}")
    print(f"network       {origin.get('architecture')} from {origin.get('weights')}")
    print(f"licence       {origin.get('licence')}")
    print(
        f"learnt from   {origin.get('images', {}).get('train')} images, seed {origin.get('seed')}"
    )
    print(f"command       {origin.get('command')}")
    print(f"digest        {loaded.digest}")
