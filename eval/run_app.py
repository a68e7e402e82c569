"""How long the reading room lets a user wait, from outside: python -m eval.run_app [--out FILE]

Starts the app in a process of its own and asks it over HTTP, as gradio_client and the page do: from drop to score, a
slice of a long series, the heat map, the first words of an answer; then two users at once with ten questions each, who
must get answers about their own images without an error. Run it on an idle machine: the load is noted beside.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gradio_client import Client, handle_file

from eval import results
from eval.tables import Cell, table
from medq_vlm.io.examples import CT_HEAD, MR_ABDOMEN, example
from medq_vlm.io.write import write
from medq_vlm.phantoms import phantom_volume

ROOT = Path(__file__).resolve().parents[1]
START_S = 300.0
LIMITS_S = {"drop to score": 2.0, "slice of a series": 0.15, "first words": 2.0}  # issue 5, two idle cores
QUESTIONS = ("Why is it poor?", "What should I change at the scanner?", "Where is the problem?", "Is it sharp?",
             "Is it noisy?", "Is it good enough for reading?", "What is the score?", "Are there artefacts?",
             "What is the verdict?", "Should the scan be repeated?")  # fmt: skip
Study = dict[str, Any]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The app's address while it runs in a process of its own with `folder` as its temporary folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    with (folder / "log.txt").open("wb") as log:
        command = [sys.executable, "-m", "app", "--port", str(port)]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + START_S
        while not healthy(address):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"eval.run_app: the app did not start: {(folder / 'log.txt').read_text()}")
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def healthy(address: str) -> bool:
    """Whether the app answers."""
    try:
        return bool(urllib.request.urlopen(f"{address}/health", timeout=5).status == 200)
    except OSError:
        return False


def fetch(address: str) -> bytes:
    """What the page fetches for an image."""
    return bytes(urllib.request.urlopen(address, timeout=300).read())


def client(address: str) -> Client:
    """A user with a session of its own."""
    return Client(address, verbose=False, analytics_enabled=False, download_files=False)


def drop(user: Client, path: Path) -> Study:
    """Upload and assess one file."""
    answer = user.predict([handle_file(str(path))], "", api_name="/assess")
    if answer["problems"] or len(answer["studies"]) != 1:
        raise SystemExit(f"eval.run_app: {answer['problems']}")
    return dict(answer["studies"][0])


def first_words(user: Client, study: Study, question: str) -> tuple[float, float, str]:
    """Seconds to the first words, to the whole answer, and the answer."""
    begun, first, answer = time.perf_counter(), 0.0, ""
    for so_far in user.submit(study["id"], question, api_name="/ask"):
        first = first or time.perf_counter() - begun
        answer = str(so_far)
    return first, time.perf_counter() - begun, answer


def seconds(work: Callable[[], object], runs: int) -> list[float]:
    """Wall time of each of `runs` calls."""
    out = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        out.append(time.perf_counter() - begun)
    return out


def conversation(address: str, path: Path, questions: Sequence[str]) -> tuple[list[str], list[str]]:
    """One user asks one question after the other: the answers, and what went wrong."""
    user = client(address)
    study = drop(user, path)
    said = [first_words(user, study, question)[2] for question in questions]
    wrong = [one for one in said if not one or "went wrong" in one or "no study" in one]
    return said, wrong


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON; 1 when a median is over its limit or an answer was wrong."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="eval.run_app", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slices", type=int, default=300, help="of the long series")
    parser.add_argument("--questions", type=int, default=len(QUESTIONS), help="of each of two users")
    parser.add_argument("--out", type=Path, help="write the numbers to this JSON file")
    args = parser.parse_args(argv)
    load = os.getloadavg()[0]
    questions = QUESTIONS[: args.questions]
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as address:
        folder, user = Path(name), client(address)
        study = drop(user, example(CT_HEAD))  # warms the readers and the model
        first_words(user, study, questions[0] if questions else QUESTIONS[0])  # ... and the language model
        times = {"drop to score": seconds(lambda: drop(user, example(CT_HEAD)), args.runs)}
        answers = [first_words(user, study, QUESTIONS[n % len(QUESTIONS)]) for n in range(args.runs)]
        times["first words"] = [one[0] for one in answers]
        times["whole answer"] = [one[1] for one in answers]
        times |= series(address, folder, args.slices, args.runs)
        wrong, mixed = two_users(address, questions)
    numbers = {name: summary(all_runs) for name, all_runs in times.items()}
    print(report(numbers))
    print(f"two users, {len(questions)} questions each: {wrong} errors, {mixed} answers unlike those given alone")
    if args.out:
        answer = {"runs": args.runs, "slices": args.slices, "load_before": load, "load_after": os.getloadavg()[0],
                  "numbers": numbers, "limits_s": LIMITS_S,
                  "two_users": {"questions": len(questions), "errors": wrong, "mixed": mixed}}  # fmt: skip
        results.write(args.out, "eval.run_app", argv, answer)
    slow = [name for name, limit in LIMITS_S.items() if numbers[name]["median_s"] > limit]
    return int(bool(slow or wrong or mixed))


def series(address: str, folder: Path, slices: int, runs: int) -> dict[str, list[float]]:
    """Slices and heat maps of a long 512 x 512 series. Its assessment is measured too: nothing waits for it."""
    path = folder / "series.nii.gz"
    small = phantom_volume("ct", seed=1, slices=4, size=512)
    pixels = np.tile(small.pixels, (-(-slices // 4), 1, 1))[:slices]
    write(replace(small, pixels=pixels, valid=None), path)
    user = client(address)
    begun = time.perf_counter()
    study = drop(user, path)
    whole = time.perf_counter() - begun
    root = f"{address}/medq/study/{study['id']}"
    places = np.linspace(0, slices - 1, 10 * runs).astype(int)
    pictures = [seconds(lambda n=n: fetch(f"{root}/slice/{n}?c=40&w=400"), 1)[0] for n in places]  # type: ignore[misc]
    heat = [seconds(lambda n=n: fetch(f"{root}/heat/{n}?kind=noise"), 1)[0] for n in places[:runs]]  # type: ignore[misc]
    return {"series from drop to score": [whole], "slice of a series": pictures, "heat map": heat}


def two_users(address: str, questions: Sequence[str]) -> tuple[int, int]:
    """(errors, answers unlike those given alone) of two users who ask at the same time about different images.

    Decoding is greedy: a user alone is told the same, so that any other word came from the other user's image.
    """
    paths = [example(CT_HEAD), example(MR_ABDOMEN)]
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda path: conversation(address, path, questions), paths))
    apart = [conversation(address, path, questions)[0] for path in paths]
    mixed = sum(a != b for (said, _), alone in zip(both, apart, strict=True) for a, b in zip(said, alone, strict=True))
    return sum(len(wrong) for _, wrong in both), mixed


def summary(runs: Sequence[float]) -> dict[str, float]:
    """Median, shortest and longest seconds."""
    return {"median_s": statistics.median(runs), "min_s": min(runs), "max_s": max(runs), "runs": len(runs)}


def report(numbers: dict[str, dict[str, float]]) -> str:
    """One row per measurement, with its limit."""
    rows: list[list[Cell]] = [[name, *one.values(), LIMITS_S.get(name)] for name, one in numbers.items()]
    return table(("measured", "median s", "min s", "max s", "runs", "limit s"), rows)


if __name__ == "__main__":
    raise SystemExit(main())
