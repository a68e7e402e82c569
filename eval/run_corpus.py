"""Every file of pydicom's own test set through `medq assess`: python -m eval.run_corpus [--out results.json]

Each file gets a fresh `medq assess FILE --json --no-text`. Allowed: an assessment, or exit code 3 with one
sentence. Anything else, above all a traceback, more than 2 GB or more than 20 s, is a fault and the exit code
is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from eval import results
from eval.processes import MEDQ, Measured, measure
from eval.tables import table

FOLDERS = ("test_files", "charset_files")
MEMORY_LIMIT_MIB, TIME_LIMIT_S = 2048.0, 20.0
NOT_DATA = (".py", ".pyc")


@dataclass(frozen=True)
class Verdict:
    """What one file got."""

    file: str
    outcome: str  # "assessed", "not assessable", "sentence" or "fault"
    said: str  # the sentence, or why it is a fault
    seconds: float
    peak_mib: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run all files, print the table, write the JSON; 1 when there is a fault."""
    argv = sys.argv[1:] if argv is None else list(argv)
    p = argparse.ArgumentParser(prog="eval.run_corpus", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--limit", type=int, help="only the first N files")
    p.add_argument("--out", type=Path, help="write all verdicts to this JSON file")
    args = p.parse_args(argv)
    verdicts = []
    for file in corpus()[: args.limit]:
        run = measure((*MEDQ, "assess", str(file), "--json", "--no-text"), timeout_s=3 * TIME_LIMIT_S)
        verdicts.append(judge(file.name, run))
        print(f"{verdicts[-1].outcome:15} {run.seconds:6.1f} s  {file.name}", file=sys.stderr)
    print(report(verdicts))
    counts = Counter(verdict.outcome for verdict in verdicts)
    if args.out:
        numbers = {"counts": dict(counts), "files": [asdict(verdict) for verdict in verdicts]}
        results.write(args.out, "eval.run_corpus", argv, numbers)
    return int(counts["fault"] > 0)


def corpus() -> list[Path]:
    """Every bundled data file of pydicom, readable or not; nothing is downloaded."""
    spec = find_spec("pydicom.data")
    assert spec is not None and spec.origin is not None, "pydicom is a dependency"
    root = Path(spec.origin).parent
    found = (path for folder in FOLDERS for path in sorted((root / folder).rglob("*")))
    return [path for path in found if path.is_file() and path.suffix not in NOT_DATA]


def judge(name: str, run: Measured) -> Verdict:
    """Sort one run into assessed, not assessable, sentence or fault."""
    outcome, said = _outcome(run)
    if run.seconds > TIME_LIMIT_S:
        outcome, said = "fault", f"took longer than {TIME_LIMIT_S:g} s"
    elif run.peak_mib > MEMORY_LIMIT_MIB:
        outcome, said = "fault", f"needed more than {MEMORY_LIMIT_MIB:g} MiB"
    return Verdict(name, outcome, said, round(run.seconds, 2), round(run.peak_mib))


def _outcome(run: Measured) -> tuple[str, str]:
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    if "Traceback" in run.stderr or "Traceback" in run.stdout:
        return "fault", f"traceback: {lines[-1] if lines else ''}"
    if run.code == 3:
        return ("sentence", lines[0]) if len(lines) == 1 else ("fault", f"{len(lines)} lines, not one sentence")
    if run.code in (0, 4):
        try:
            answer = json.loads(run.stdout)
        except json.JSONDecodeError:
            return "fault", "the output is not JSON"
        answers = answer if isinstance(answer, list) else [answer]
        if any(item["assessable"] for item in answers):
            return "assessed", ""
        return "not assessable", "; ".join(sorted({item["reason"] for item in answers}))
    return "fault", f"exit code {run.code}: {lines[-1] if lines else 'nothing said'}"


def report(verdicts: Sequence[Verdict]) -> str:
    """Counts and extremes, then every sentence and fault."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    rows = [(outcome, count) for outcome, count in sorted(counts.items())]
    slowest = max(verdicts, key=lambda verdict: verdict.seconds)
    largest = max(verdicts, key=lambda verdict: verdict.peak_mib)
    said = [(v.file, v.outcome, v.said) for v in verdicts if v.outcome != "assessed"]
    return "\n\n".join([
        f"{len(verdicts)} files of pydicom's test set",
        table(("outcome", "files"), rows),
        f"slowest: {slowest.file}, {slowest.seconds:.1f} s",
        f"largest: {largest.file}, {largest.peak_mib:.0f} MiB",
        table(("file", "outcome", "said"), said),
    ])  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
