"""What decoding in processes with limits costs the service: images a second, with and without.

    python benchmarks/decoding.py [--images 64] [--rounds 4]

The two take turns on the same pictures, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import argparse
import statistics
import time

import cytowell
from cytowell.images import Encoded, decode
from cytowell.images.processes import DecodingProcesses
from cytowell.serving.desk import Desk
from cytowell.sources.walk import walk
from machine import data_folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    every = [f for f in walk(data_folder("pbc")) if f.suffix == ".jpg"]
    files = every[:: max(1, len(every) // given.images)][: given.images]
    images = [Encoded(f.name, f.read_bytes()) for f in files]
    desk = Desk({"blood": cytowell.load("blood")})
    pool = DecodingProcesses()

    def pace() -> float:
        begin = time.perf_counter()
        for waiting in desk.submit("blood", images):
            waiting.result()
        return len(images) / (time.perf_counter() - begin)

    here, elsewhere = [], []
    for _ in range(given.rounds + 1):
        here.append(pace())
        undo = decode.decode_with(pool)
        elsewhere.append(pace())
        undo()
    pool.close()
    desk.close()
    for name, found in (("in this process", here[1:]), ("in processes", elsewhere[1:])):
        rounds = " ".join(f"{v:.1f}" for v in found)
        print(f"{name:20} {statistics.median(found):7.1f} images/s ({rounds})")


if __name__ == "__main__":
    main()
