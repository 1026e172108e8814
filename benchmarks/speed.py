"""How fast the plain install is: calls against the bare network, start-up, memory.

    python benchmarks/speed.py [--bundle B] [--views 4] [--images 1000] [--rounds 3]

Every figure is a ratio or a time measured side by side in this run. `predict` is the whole command,
files on disk to CSV, less its start-up; the bare forward pass is ONNX Runtime on the same network,
pixels already in memory, on as many threads; PyTorch eager is the same architecture, if installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cytowell
from cytowell.images import load, worker_count
from cytowell.runtime.pipeline import BATCH
from cytowell.sources.walk import walk
from cytowell.types import Sample


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bare(bundle: Any, pixels: Any, threads: int) -> Callable[[], object]:
    """Give the forward pass alone: one session on all threads, batches as they come."""

    def work() -> None:
        for i in range(0, len(pixels), 32):
            bundle.session.features(pixels[i : i + 32], threads)

    return work


def shared(bundle: Any, pixels: Any, threads: int) -> Callable[[], object]:
    """Give the forward pass alone, dealt to threads as `predict` does."""
    pool_type = importlib.import_module("concurrent.futures").ThreadPoolExecutor

    def work() -> None:
        with pool_type(threads) as pool:
            blocks = [pixels[i : i + BATCH] for i in range(0, len(pixels), BATCH)]
            list(pool.map(bundle.session.features, blocks))

    return work


def eager(bundle: Any, pixels: Any, views: int, last: bool = False) -> Callable[[], object] | None:
    """Give PyTorch's own forward pass of the same architecture, or None without PyTorch.

    As many passes as the bundle looks at mirror images. In the layout that its loaders give,
    channels first, or with channels last, which is faster.
    """
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    timm_body = importlib.import_module("cytowell.models.backbone").timm_body
    torch.set_num_threads(worker_count())
    body, _ = timm_body(bundle.facts.origin["architecture"])
    body.eval()

    def work() -> None:
        with torch.no_grad():
            for i in range(0, len(pixels), 32):
                block = torch.from_numpy(pixels[i : i + 32]).permute(0, 3, 1, 2)
                order = torch.channels_last if last else torch.contiguous_format
                ready = ((block.float() - 127) / 128).contiguous(memory_format=order)
                for _ in range(views):
                    body.forward_features(ready)

    return work


def command(bundle: str, files: list[str], out: Path) -> float:
    """Time `cytowell predict` on files, start-up included; the list goes in on stdin."""
    arguments = [sys.executable, "-m", "cytowell.cli", "predict", "-", "--quiet"]
    listed = "\n".join(files)
    start = time.perf_counter()
    subprocess.run(
        [*arguments, "--bundle", bundle, "--out", str(out)], input=listed, text=True, check=True
    )
    return time.perf_counter() - start


PEAK = """
import sys
from cytowell.cli import app
try:
    app(sys.argv[1:])
finally:
    print([x.split()[1] for x in open("/proc/self/status") if x.startswith("VmHWM")][0])
"""


def memory(bundle: str, files: list[str], out: Path) -> float:
    """Give the peak memory of `predict` in MB, as Linux knows it of that process alone."""
    arguments = ["predict", "-", "--quiet", "--bundle", bundle, "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments],
        input="\n".join(files),
        text=True,
        check=True,
        capture_output=True,
    )
    return float(done.stdout.split()[-1]) / 1024


def start_up(arguments: list[str]) -> float:
    return timed(lambda: subprocess.run(arguments, check=True, capture_output=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", default="blood")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--views", type=int, default=4, help="mirror images in the bundle's graph")
    parser.add_argument("--memory", type=int, default=0, help="files for the memory figure")
    given = parser.parse_args()
    root = Path(os.environ.get("CYTOWELL_DATA", "../shared/data")) / "pbc"
    files = [str(f) for f in walk(root) if f.suffix == ".jpg"]
    if not files:
        sys.exit(f"{root} holds no images: set CYTOWELL_DATA.")
    rng = np.random.default_rng(7)
    some = [files[i] for i in rng.permutation(len(files))[: given.images]]
    bundle = cytowell.load(given.bundle)
    pixels = np.stack([load(Sample(f), bundle.facts.preprocessing) for f in some[:256]])
    threads = worker_count()
    runs: dict[str, list[float]] = {"bare": [], "dealt": [], "eager": [], "last": [], "predict": []}
    torch_pass = eager(bundle, pixels, given.views)
    torch_last = eager(bundle, pixels, given.views, last=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "calls.csv"
        few, many = some[:16], some
        for work in (bare(bundle, pixels, threads), shared(bundle, pixels, threads)):
            work()
        for _ in range(given.rounds):
            runs["bare"].append(len(pixels) / timed(bare(bundle, pixels, threads)))
            runs["dealt"].append(len(pixels) / timed(shared(bundle, pixels, threads)))
            if torch_pass is not None:
                runs["eager"].append(len(pixels) / timed(torch_pass))
            if torch_last is not None:
                runs["last"].append(len(pixels) / timed(torch_last))
            start = command(given.bundle, few, out)
            whole = command(given.bundle, many, out)
            runs["predict"].append((len(many) - len(few)) / (whole - start))
        peak = 0.0
        if given.memory:
            listed = (files * (given.memory // len(files) + 1))[: given.memory]
            peak = memory(given.bundle, listed, out)
    middle = {k: statistics.median(v) for k, v in runs.items() if v}
    print(f"{threads} threads, {bundle.facts.preprocessing.size} px, {given.rounds} rounds")
    print(f"bare ONNX Runtime, one session on all threads  {middle['bare']:7.1f} images/s")
    print(f"bare ONNX Runtime, images dealt to threads     {middle['dealt']:7.1f} images/s")
    if "eager" in middle:
        print(f"PyTorch eager                                  {middle['eager']:7.1f} images/s")
        print(f"PyTorch eager, channels last                   {middle['last']:7.1f} images/s")
    print(f"predict, files to CSV                          {middle['predict']:7.1f} images/s")
    print(
        f"predict / bare                                 {middle['predict'] / middle['bare']:7.2f}"
    )
    print(
        f"predict / dealt                                {middle['predict'] / middle['dealt']:7.2f}"
    )
    if "eager" in middle:
        ratio = middle["predict"] / middle["eager"]
        print(f"predict / PyTorch eager                        {ratio:7.2f}")
        print(f"predict / PyTorch eager, channels last {middle['predict'] / middle['last']:15.2f}")
    if given.memory:
        print(f"peak memory of predict on {given.memory} files        {peak:7.0f} MB")
    imported = statistics.median(
        start_up([sys.executable, "-c", "import cytowell"]) for _ in range(5)
    )
    helped = statistics.median(
        start_up([sys.executable, "-m", "cytowell.cli", "--help"]) for _ in range(5)
    )
    print(f"python -c 'import cytowell'                    {imported:7.3f} s")
    print(f"cytowell --help                                {helped:7.3f} s")


if __name__ == "__main__":
    main()
