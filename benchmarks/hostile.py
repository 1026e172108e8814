"""Ten thousand requests, one in twenty hostile, while jobs and an inbox run.

    python benchmarks/hostile.py [--requests 10000] [--clients 8] [--seed 0]

Every answer about a good photograph, whether it was asked for, came in a job or lay in the inbox,
is compared with `cytowell predict` on the same files. Hostile are the files of the data set
`hostile`, changed copies of them, and what `attacks.py` makes. Ends with status 1 if an answer was
wrong or is missing, a hostile request was not refused or broke something (5xx), memory passed
1.5 GB, or the server does not live, is not ready or has a trail that does not hold at the end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

import cytowell
from attacks import EVERY, FORM, SECRETS, Attack, Image, form, hostile_files, mutated
from cytowell.serving.sittings import Sittings
from cytowell.serving.store import Store, url_of
from cytowell.sources.walk import walk

HOSTILE = 20
"""Of so many requests one is hostile."""

MEMORY = 1500
"""Megabytes that the server and its workers may take."""

IN_JOB = 8
"""Good photographs of a job; a hostile one comes with them."""

PATIENCE = 300.0
"""Seconds until what was acknowledged has to be done, after the last request."""


@dataclass
class Found:
    """What went on, and what was wrong with it."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    answered: int = 0
    jobs: list[str] = field(default_factory=list)
    peak: float = 0.0
    lock: Any = field(default_factory=threading.Lock)

    def note(self, kind: str, status: int, wrong: str = "") -> None:
        with self.lock:
            self.statuses.setdefault(kind, Counter())[status] += 1
            if wrong:
                self.wrong.append(f"{kind}: {wrong}")


@dataclass
class Server:
    """The server under test and what is right."""

    port: int
    process: subprocess.Popen[str]
    rows: dict[str, Any]
    found: Found


class Asker:
    """One client's connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.at = http.client.HTTPConnection("127.0.0.1", port, timeout=180)

    def ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Ask; once more where the connection was closed, and as often as there is no room."""
        failures = 0
        while True:
            try:
                self.at.request(method, path, body=body, headers=headers)
                answer = self.at.getresponse()
                status, said = answer.status, answer.read()
            except (http.client.HTTPException, OSError):
                self.at.close()
                failures += 1
                if failures > 2:
                    return 0, b""
                continue
            if status != 429:
                return status, said
            time.sleep(0.1)


def differs(told: dict[str, Any], row: dict[str, Any]) -> str:
    """Give what differs from the command line's row, "" for nothing."""
    for name in ("label", "decided", "error"):
        if str(told[name]).lower() != str(row[name]).lower():
            return f"{row['path']}: {name} {told[name]!r}, not {row[name]!r}"
    if abs(float(told["probability"]) - float(row["probability"])) > 1e-4:
        return f"{row['path']}: probability {told['probability']}, not {row['probability']}"
    return ""


def good(server: Server, asker: Asker, image: Image) -> None:
    status, said = asker.ask("POST", "/v1/predict", form([image]), FORM)
    wrong = f"{image[0]}: status {status} {said[:200]!r}"
    if status == 200:
        wrong = differs(json.loads(said)["results"][0], server.rows[image[0]])
    server.found.note("good", status, wrong)
    with server.found.lock:
        server.found.answered += not wrong


def hostile(server: Server, asker: Asker, attack: Attack) -> None:
    status, said = asker.ask(attack.method, attack.path, attack.body, attack.headers)
    wrong = ""
    if status >= 500 and status != 507:
        wrong = f"{attack.path}: status {status} {said[:200]!r}"
    elif any(secret in said for secret in SECRETS):
        wrong = f"{attack.path}: a file of the server was given out"
    elif attack.refused and attack.method == "POST" and not 400 <= status < 500 and status:
        wrong = f"{attack.path}: status {status}, not refused {attack.body[:100]!r}"
    elif attack.good and status == 200:
        results = {r["path"]: r for r in json.loads(said)["results"]}
        for name in attack.good:
            wrong = wrong or differs(results[name], server.rows[name])
    server.found.note(attack.kind, status, wrong)


def job(server: Server, asker: Asker, images: list[Image], chance: random.Random) -> None:
    """Send a job of good photographs and a hostile file."""
    name, data = chance.choice(hostile_files())
    bad = ("hostile-" + name, mutated(data, chance) if chance.random() < 0.5 else data)
    sent = [*chance.sample(images, min(IN_JOB, len(images))), bad]
    chance.shuffle(sent)
    status, said = asker.ask("POST", "/v1/jobs", form(sent), FORM)
    server.found.note("jobs", status, "" if status == 202 else f"status {status} {said[:200]!r}")
    if status == 202:
        with server.found.lock:
            server.found.jobs.append(json.loads(said)["job"])


def client(server: Server, work: queue.Queue[Any], images: list[Image], seed: int) -> None:
    asker, chance = Asker(server.port), random.Random(seed)
    while True:
        try:
            one = work.get_nowait()
        except queue.Empty:
            return
        if one == "job":
            job(server, asker, images, chance)
        elif isinstance(one, Attack):
            hostile(server, asker, one)
        else:
            good(server, asker, one)


def watch(server: Server, ending: threading.Event) -> None:
    """Keep the highest memory of the server and what it started."""
    while not ending.wait(0.25):
        server.found.peak = max(server.found.peak, memory(server.process.pid))


def memory(pid: int) -> float:
    """Give megabytes of a process and its children, shared pages counted once."""
    total = 0.0
    for one in [pid, *children(pid)]:
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        line = next((x for x in text.splitlines() if x.startswith("Pss:")), "Pss: 0 kB")
        total += int(line.split()[1]) / 1024
    return total


def children(pid: int) -> list[int]:
    found = []
    for place in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            mine = [int(p) for p in place.read_text().split()]
        except OSError:
            continue
        found += [*mine, *(c for p in mine for c in children(p))]
    return found


def fill_inbox(inbox: Path, files: list[Path], ending: threading.Event, seed: int) -> None:
    """Put photographs into the inbox as a camera would, hostile files among them."""
    chance = random.Random(seed)
    for i, file in enumerate(files):
        if ending.is_set():
            return
        shutil.copyfile(file, inbox / file.name)
        if i % 5 == 0:
            name, data = chance.choice(hostile_files())
            (inbox / f"hostile-{i}-{name}").write_bytes(data)
        time.sleep(0.2)
    (inbox / "hostile-link.jpg").symlink_to("/etc/passwd")
    os.mkfifo(inbox / "hostile-pipe.jpg")


def finish_jobs(server: Server) -> int:
    """Wait for jobs; give how many answers of good photographs were there and right."""
    asker, right = Asker(server.port), 0
    end = time.monotonic() + PATIENCE
    for name in server.found.jobs:
        while True:
            status, said = asker.ask("GET", f"/v1/jobs/{name}", b"", {})
            told: dict[str, Any] = {"total": 1, "done": 0, "results": []}
            if status == 200:
                told = json.loads(said)
            if told["done"] == told["total"] or time.monotonic() > end:
                break
            time.sleep(0.5)
        if told["done"] != told["total"]:
            server.found.note("jobs", status, f"job {name} is not done: {told['done']}")
        for result in told["results"]:
            if not result["path"].startswith("hostile-"):
                wrong = differs(result, server.rows[result["path"]])
                right += not wrong
                if wrong:
                    server.found.note("jobs", status, wrong)
    return right


def finish_inbox(server: Server, data: Path, files: list[Path]) -> int:
    """Wait for the inbox; give how many good photographs were called, once and right."""
    store = Store(url_of(data), None)
    sittings = Sittings(store, data / "sittings")
    end, kept = time.monotonic() + PATIENCE, []
    wanted = {f.name for f in files}
    while time.monotonic() < end:
        kept = [k for s in sittings.listed() for k in sittings.calls(s.id) if k.name in wanted]
        if len(kept) >= len(wanted):
            break
        time.sleep(1)
    store.close()
    times = Counter(k.name for k in kept)
    for name in sorted(wanted):
        if times[name] != 1:
            server.found.note("inbox", 0, f"{name} was called {times[name]} times")
    right = 0
    for call in kept:
        wrong = differs(dict(call.row), server.rows[call.name])
        right += not wrong
        if wrong:
            server.found.note("inbox", 0, wrong)
    return right


def expected(files: list[Path], folder: Path, bundle: str) -> dict[str, Any]:
    """Give the command line's rows by name."""
    out = folder / "calls.csv"
    command = [sys.executable, "-m", "cytowell.cli", "predict", "--quiet", "--bundle", bundle]
    subprocess.run([*command, "--out", str(out), *map(str, files)], check=True)
    table = pd.read_csv(out, keep_default_na=False)
    return {Path(r["path"]).name: {str(k): v for k, v in r.items()}
            for r in table.to_dict("records")}  # fmt: skip


def started(bundle: str, data: Path, inbox: Path) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "cytowell.cli", "serve", bundle, "--port", "0"]
    process = subprocess.Popen(
        [*command, "--data", str(data), "--inbox", str(inbox)],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith("http://"):
        if not line:
            sys.exit("the server did not start")
    words = process.stderr
    threading.Thread(target=lambda: [None for _ in words], daemon=True).start()
    port = int(line.split("/  ")[0].rsplit(":", 1)[1])
    end = time.monotonic() + 120
    while Asker(port).ask("GET", "/readyz", b"", {})[0] != 200:
        if time.monotonic() > end:
            sys.exit("the server was not ready in two minutes")
        time.sleep(0.1)
    return process, port


def storm(server: Server, given: argparse.Namespace, images: list[Image]) -> float:
    chance = random.Random(given.seed)
    work: queue.Queue[Any] = queue.Queue()
    for i in range(given.requests):
        if i % HOSTILE == 7:
            work.put(chance.choice(EVERY)(images, chance))
        else:
            work.put(images[i % len(images)])
        if i % 100 == 50:
            work.put("job")
    threads = [
        threading.Thread(target=client, args=(server, work, images, given.seed + i))
        for i in range(given.clients)
    ]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", default="blood")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cytowell-hostile-") as folder:
        sys.exit(measure(given, Path(folder)))


def measure(given: argparse.Namespace, folder: Path) -> int:
    made = cytowell.write_samples(folder / "samples", "cells", per_class=-(-given.images // 5))
    # Names of their own: those of the sets repeat.
    files = []
    cells = [f for f in sorted(walk(made["cells"])) if f.suffix == ".jpg"]
    for i, file in enumerate(cells[: given.images]):
        files.append(folder / f"good-{i:03}{file.suffix}")
        shutil.copyfile(file, files[-1])
    images = [(f.name, f.read_bytes()) for f in files]
    rows = expected(files, folder, given.bundle)
    data, inbox = folder / "data", folder / "inbox"
    inbox.mkdir()
    process, port = started(given.bundle, data, inbox)
    server = Server(port, process, rows, Found())
    ending = threading.Event()
    threads = [
        threading.Thread(target=watch, args=(server, ending)),
        threading.Thread(target=fill_inbox, args=(inbox, files, ending, given.seed)),
    ]
    for thread in threads:
        thread.start()
    try:
        took = storm(server, given, images)
        threads[1].join()
        in_jobs = finish_jobs(server)
        in_inbox = finish_inbox(server, data, files)
        ready = Asker(port).ask("GET", "/readyz", b"", {})[0]
        alive = process.poll() is None
    finally:
        ending.set()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        for thread in threads:
            thread.join()
    command = [sys.executable, "-m", "cytowell.cli", "audit", "verify", "--data", str(data)]
    audit = subprocess.run(command, capture_output=True, text=True, check=False)
    if not (alive and ready == 200):
        server.found.note("server", ready, f"alive {alive}, ready {ready} at the end")
    if audit.returncode:
        server.found.note("audit", audit.returncode, audit.stdout[-300:])
    if server.found.peak > MEMORY:
        server.found.note("server", ready, f"{server.found.peak:.0f} MB")
    print(f"requests                             {given.requests:8d} in {took:.0f} s")
    for kind, statuses in sorted(server.found.statuses.items()):
        print(f"  {kind:34} {sum(statuses.values()):8d} {dict(sorted(statuses.items()))}")
    print(f"good ones answered right             {server.found.answered:8d}")
    print(f"right answers in jobs                {in_jobs:8d} of {len(server.found.jobs)} jobs")
    print(f"right calls in the inbox             {in_inbox:8d} of {len(files)}")
    print(f"highest memory                       {server.found.peak:8.0f} MB")
    print(f"alive, ready at the end              {alive!s:>8} {ready}")
    print(f"audit verify                         {audit.stdout.splitlines()[:1]}")
    print(f"wrong                                {len(server.found.wrong):8d}")
    for line in server.found.wrong[:20]:
        print(f"  {line}")
    return int(bool(server.found.wrong))


if __name__ == "__main__":
    main()
