"""What the server bears: throughput beside the command line, waiting, hostile requests, memory.

    python benchmarks/serve.py [--bundle blood] [--images 400] [--requests 10000] [--clients 8]

Client and server run side by side on this machine. Throughput is that of `POST /v1/predict` with
one image a request, as a share of `cytowell predict` on the same files in the same run. Then so
many requests, one in twenty hostile; every good answer is compared with the command line's.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from cytowell.sources.walk import walk
from machine import data_folder

EDGE = b"--edge"
JSON = {"content-type": "application/json"}
KIND = {"content-type": "multipart/form-data; boundary=edge"}


def form(name: str, data: bytes, field: str = "files") -> bytes:
    head = f'content-disposition: form-data; name="{field}"; filename="{name}"'.encode()
    return EDGE + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n" + EDGE + b"--\r\n"


HOSTILE: tuple[tuple[str, bytes, dict[str, str]], ...] = (
    ("/v1/predict", form("a.jpg", b"this is text"), KIND),
    ("/v1/predict", form("../../etc/passwd", b"\xff\xd8\xff" + b"\0" * 500), KIND),
    ("/v1/predict", form("a.jpg", b"x", "evil"), KIND),
    ("/v1/predict", b"--edge\r\n", KIND),
    ("/v1/predict?bundle=none", form("a.jpg", b"x"), KIND),
    ("/v1/predict", b"[" * 50_000, JSON),
    ("/v1/predict", b'{"images": [{"name": "a", "data": "***"}]}', JSON),
    ("/v1/predict", b"hello", {"content-type": "text/plain"}),
    ("/v1/titre", b'{"positives": [9], "counts": "infected", "replicates": 5}', JSON),
    ("/v1/../../etc/passwd", b"", {}),
)  # fmt: skip


@dataclass
class Seen:
    """What clients saw."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    answered: int = 0
    lock: Any = field(default_factory=threading.Lock)


def ask(
    at: http.client.HTTPConnection, path: str, body: bytes, kind: dict[str, str]
) -> tuple[int, bytes]:
    at.request("POST", path, body=body, headers=kind)
    answer = at.getresponse()
    return answer.status, answer.read()


def client(
    port: int, jobs: Sequence[tuple[str, bytes] | int], rows: dict[str, Any], seen: Seen
) -> None:
    """Send one client's requests over one connection, again where the server is full."""
    at = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for job in jobs:
        hostile = isinstance(job, int)
        path, body, kind = (
            HOSTILE[job // 20 % len(HOSTILE)]
            if isinstance(job, int)
            else ("/v1/predict", form(*job), KIND)
        )
        start = time.perf_counter()
        while True:
            try:
                status, said = ask(at, path, body, kind)
            except (http.client.HTTPException, ConnectionError):
                at.close()
                if hostile:
                    status, said = 0, b""
                    break
                continue
            if status != 429:
                break
            time.sleep(0.05)
        took = time.perf_counter() - start
        with seen.lock:
            seen.statuses[status] = seen.statuses.get(status, 0) + 1
            if hostile:
                continue
            seen.seconds.append(took)
            seen.answered += 1
            wrong = compared(said, status, rows[job[0]]) if not isinstance(job, int) else ""
            if wrong:
                seen.wrong.append(wrong)
    at.close()


def compared(said: bytes, status: int, row: Any) -> str:
    """Give what differs from the command line's row, "" for nothing."""
    if status != 200:
        return f"{row['path']}: status {status}"
    told = json.loads(said)["results"][0]
    for name in ("label", "decided", "reason", "error"):
        if told[name] != row[name]:
            return f"{row['path']}: {name} {told[name]!r}, not {row[name]!r}"
    if abs(told["probability"] - row["probability"]) > 1e-4:
        return f"{row['path']}: probability {told['probability']}, not {row['probability']}"
    return ""


def storm(port: int, work: list[Any], clients: int, rows: dict[str, Any]) -> tuple[Seen, float]:
    seen = Seen()
    threads = [
        threading.Thread(target=client, args=(port, work[i::clients], rows, seen))
        for i in range(clients)
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen, time.perf_counter() - start


def resident(process: subprocess.Popen[str]) -> float:
    text = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", text)
    return int(found[1]) / 1024 if found else float("nan")


def started(
    bundle: str, image: tuple[str, bytes]
) -> tuple[subprocess.Popen[str], int, float, float]:
    """Start a server; give it, its port, and seconds to the first answer and to the first page."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "cytowell.cli", "serve", bundle, "--port", "0"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith("http://"):
        if not line:
            sys.exit("the server did not start")
    address = line.split("/  ")[0]
    threading.Thread(target=lambda: [None for _ in process.stderr or ()], daemon=True).start()
    port = int(address.rsplit(":", 1)[1])
    while True:
        try:
            status, _ = ask(
                http.client.HTTPConnection("127.0.0.1", port), "/v1/predict", form(*image), KIND
            )
            assert status == 200
            break
        except ConnectionError:
            time.sleep(0.02)
    first = time.perf_counter() - begin
    with urllib.request.urlopen(address + "/", timeout=60) as page:
        page.read()
    return process, port, first, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", default="blood")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    given = parser.parse_args()
    root = data_folder("pbc")
    every = [f for f in walk(root) if f.suffix == ".jpg"]
    files = every[:: max(1, len(every) // given.images)][: given.images]
    images = [(f.name, f.read_bytes()) for f in files]
    process, port, first, page = started(given.bundle, images[0])
    try:
        measure(given, files, images, process, port)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    print(f"start to first answer                {first:8.2f} s")
    print(f"start to first page                  {page:8.2f} s")


def measure(
    given: argparse.Namespace,
    files: list[Path],
    images: list[tuple[str, bytes]],
    process: subprocess.Popen[str],
    port: int,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "calls.csv"
        command = [sys.executable, "-m", "cytowell.cli", "predict", "--quiet", "--bundle",
                   given.bundle, "--out", str(out)]  # fmt: skip
        begin = time.perf_counter()
        subprocess.run([*command, str(files[0])], check=True)
        alone = time.perf_counter() - begin
        begin = time.perf_counter()
        subprocess.run([*command, *map(str, files)], check=True)
        command_line = (len(files) - 1) / (time.perf_counter() - begin - alone)
        table = pd.read_csv(out, keep_default_na=False)
    rows = {Path(r["path"]).name: r for r in table.to_dict("records")}
    storm(port, [*images[:64]], given.clients, rows)
    seen, took = storm(port, [*images], given.clients, rows)
    served = len(images) / took
    p50, p99 = (statistics.quantiles(seen.seconds, n=100)[i] for i in (49, 98))
    print(f"cytowell predict                     {command_line:8.1f} images/s")
    print(f"POST /v1/predict, {given.clients} clients          {served:8.1f} images/s")
    print(f"served / predict                     {served / command_line:8.2f}")
    print(f"p50, p99                             {1000 * p50:8.0f} {1000 * p99:6.0f} ms")
    print(f"p99 / p50                            {p99 / p50:8.2f}")
    alone_seen, _ = storm(port, [*images[:100]], 1, rows)
    one = 1000 * statistics.median(alone_seen.seconds)
    print(f"one client, p50                      {one:8.1f} ms")
    before = resident(process)
    work: list[Any] = [i if i % 20 == 7 else images[i % len(images)] for i in range(given.requests)]
    many, took = storm(port, work, given.clients, rows)
    after = resident(process)
    good = sum(not isinstance(w, int) for w in work)
    print(f"requests, one in 20 hostile          {len(work):8d} in {took:.0f} s")
    print(f"good ones answered                   {many.answered:8d} of {good}")
    print(f"differing from the command line      {len(many.wrong) + len(seen.wrong):8d}")
    print(f"statuses                             {dict(sorted(many.statuses.items()))}")
    broken = sum(n for status, n in many.statuses.items() if status >= 500)
    print(f"5xx                                  {broken:8d}")
    print(f"resident memory                      {before:8.0f} MB before, {after:.0f} after")
    for line in [*seen.wrong, *many.wrong][:5]:
        print(f"  {line}")


if __name__ == "__main__":
    main()
