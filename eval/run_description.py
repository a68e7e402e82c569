"""What the language model writes, measured: lines, descriptions, closed and clinician questions, speed.

    python -m eval.run_description --manifest images/manifest.csv --limit 12 --out description.json
    python -m eval.run_description --written 20 --no-visual --out no_visual.json

Images come from a manifest (held-out sources, degraded here, through the whole product) or are written records.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eval import clinician, results, scope_questions
from eval.cases import clean_case, contents, degraded_cases
from eval.claims import named_kinds
from eval.description import CLEAN, axes, hallucinated, macro_f1, stated_verdict
from eval.description_questions import LEVELS, closed, drawn, right
from eval.manifest import clean_rows, read_manifest, split_rows, spread
from medq_vlm import talk, vocab
from medq_vlm.language import guard
from medq_vlm.language import line as lines
from medq_vlm.language.engine import TransformersEngine
from medq_vlm.language.talker import Subject, Talker
from medq_vlm.pipeline import MedQ
from medq_vlm.report.describe import describe

TRANSCRIPTS = 30


@dataclass(frozen=True)
class Seen:
    """One image to write about."""

    subject: Subject
    true: frozenset[str] | None  # kinds really applied, None for a written record


class Templates:
    """What the structured result says by itself: its description, and one sentence to every question."""

    def line(self, subject: Subject) -> lines.Line:
        return lines.from_assessment(subject.assessment)

    def describe(self, subject: Subject) -> Iterator[str]:
        yield describe(subject.assessment)

    def answer(self, subject: Subject, question: str, history: Sequence[tuple[str, str]] = ()) -> Iterator[str]:
        yield guard.replacement(lines.from_assessment(subject.assessment))


Writer = Talker | Templates


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments(argv)
    medq = MedQ.load(args.preset, args.precision)
    began = time.perf_counter()
    talker = medq.talker
    if args.before_lora:
        plain(talker)
    loading = time.perf_counter() - began
    seen = list(images(medq, args)) if args.manifest else list(records(args.seed, args.written))
    if args.no_visual:
        seen = [replace(s, subject=replace(s.subject, features=None)) for s in seen]
    writer = Templates() if args.templates else talker
    numbers: dict[str, Any] = {"images": len(seen), "loading_s": loading, "precision": args.precision}
    numbers["lines"] = judge_lines(writer, seen)
    numbers["descriptions"] = judge_descriptions(writer, seen)
    numbers["closed"] = judge_closed(writer, args)
    numbers["scope"] = judge_scope(writer, args.scope, scope_questions.HALVES[args.half])
    asked, transcripts = judge_clinician(writer, args)
    numbers["clinician"] = asked
    numbers["guard"] = vars(talker.tally)
    if not args.templates:
        numbers["speed"] = speed(talker, seen[0].subject)
        fast, talker.model.engine = talker.model.engine, TransformersEngine(talker.model.causal)
        numbers["speed through transformers"] = speed(talker, seen[0].subject)
        talker.model.engine = fast
    numbers["transcripts"] = transcripts
    results.write(args.out, "eval.run_description", list(argv if argv is not None else sys.argv[1:]), numbers)
    print({key: value for key, value in numbers.items() if key != "transcripts"})
    return 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--preset", default="nano")
    parse.add_argument("--precision", default="nf4")
    parse.add_argument("--manifest", type=Path, help="clean images; without it written records stand in")
    parse.add_argument("--split", choices=("held-out", "all"), default="held-out")
    parse.add_argument("--limit", type=int, default=12, help="clean images")
    parse.add_argument("--kinds", type=int, default=2, help="degradations of each image")
    parse.add_argument("--written", type=int, default=20, help="written records when there is no manifest")
    parse.add_argument("--closed", type=int, default=10, help="closed questions of each form and severity")
    parse.add_argument(
        "--clinician", type=int, default=200, help="of the written clinician questions, on which rules were tried"
    )
    parse.add_argument("--scope", type=int, default=60, help="held-out questions out of scope, and as many within")
    parse.add_argument("--half", choices=scope_questions.HALVES, default="test", help="of the held-out questions")
    parse.add_argument("--no-visual", action="store_true", help="ablation: the image's soft tokens are left out")
    parse.add_argument("--before-lora", action="store_true", help="ablation: the base model as it came")
    parse.add_argument("--templates", action="store_true", help="ablation: no language model, sentences of the result")
    parse.add_argument("--seed", type=int, default=7)
    parse.add_argument("--out", type=Path, required=True)
    return parse.parse_args(argv)


def plain(talker: Talker) -> None:
    """Switch the adapter off."""
    talker.model.causal.disable_adapter_layers()
    talker.model.engine = TransformersEngine(talker.model.causal)  # another engine has the adapter in its layers


def images(medq: MedQ, args: argparse.Namespace) -> Iterator[Seen]:
    """Held-out images, clean and degraded, through the whole product."""
    held_out = set(medq.checkpoint.meta.get("held_out_sources", ()))
    evaluated, _ = split_rows(clean_rows(read_manifest(args.manifest)), held_out, args.split)
    for row in spread(evaluated, args.limit, args.seed):
        for content in contents(row, 1):
            ladder = list(degraded_cases(content, args.seed, args.kinds, 0))
            for case in [clean_case(content), *ladder[1::2]]:  # steps 2 and 4 of each kind
                encoded = medq.encode(case.sample)
                assessment = medq.assess_encoded(encoded)
                true = frozenset(k for k, v in case.severities.items() if v >= vocab.SEVERITY_FROM[0])
                yield Seen(talk.subject(encoded, assessment), true)


def records(seed: int, count: int) -> Iterator[Seen]:
    """Written records: none, mild and severe in turn."""
    for number in range(count):
        severity = list(LEVELS.values())[number % len(LEVELS)]
        subject, _ = drawn(np.random.default_rng([seed, 99, number]), severity)
        yield Seen(subject, None)


def judge_lines(talker: Writer, seen: Sequence[Seen]) -> dict[str, Any]:
    """The line as the model writes it, before any check."""
    valid = swapped = 0
    pairs, heads, llm, words = [], [], [], []
    kept = [s for s in seen if s.subject.assessment.assessable]
    for number, one in enumerate(kept):
        line = talker.line(one.subject)
        truth = lines.from_assessment(one.subject.assessment)
        valid += lines.parse(line.text(), one.subject.modality).items == line.items
        named, reported = ({i.kind: i.severity for i in part.items} for part in (line, truth))
        pairs.append((set(named), set(reported)))
        words += [
            abs(vocab.SEVERITIES.index(named[k]) - vocab.SEVERITIES.index(reported[k])) for k in named if k in reported
        ]
        if one.true is not None:
            llm.append((set(named), set(one.true)))
            heads.append((set(reported), set(one.true)))
        others = [o for o in kept if o.subject.modality == one.subject.modality and o is not one]
        if others and one.subject.features is not None:
            other = others[number % len(others)]
            changed = talker.line(replace(one.subject, features=other.subject.features))
            same = {i.kind for i in lines.from_assessment(other.subject.assessment).items} == set(reported)
            swapped += changed.items != line.items or same
        else:
            swapped += one.subject.features is not None
    return {
        "count": len(kept), "json_valid": valid / len(kept), "macro_f1_with_scorer": macro_f1(pairs),
        "same_kinds_as_scorer": float(np.mean([a == b for a, b in pairs])),
        "severity_exact": float(np.mean([w == 0 for w in words])) if words else float("nan"),
        "severity_exact_or_adjacent": float(np.mean([w <= 1 for w in words])) if words else float("nan"),
        "macro_f1_of_line_against_truth": macro_f1(llm), "macro_f1_of_scorer_against_truth": macro_f1(heads),
        "swapping_the_image_changes_the_line": swapped / len(kept),
    }  # fmt: skip


def judge_descriptions(talker: Writer, seen: Sequence[Seen]) -> dict[str, Any]:
    """The description as a user gets it, after the guard."""
    rows, wrong, total, verdicts, clean = [], 0, 0, [], []
    for one in seen:
        assessment = one.subject.assessment
        if not assessment.assessable:
            continue
        text = "".join(talker.describe(one.subject))
        rows.append(axes(text, assessment))
        bad, count = hallucinated(text, assessment)
        wrong, total = wrong + bad, total + count
        verdicts.append(stated_verdict(text) == assessment.verdict)
        if not assessment.findings:
            clean.append(bool(CLEAN.search(text)) and not named_kinds(text))
    names = ("completeness", "preciseness", "consistency", "quality_accuracy", "total")
    return {
        "count": len(rows), **{f"proxy_{name}": float(np.mean([getattr(r, name) for r in rows])) for name in names},
        "hallucinated_sentences": wrong / max(1, total), "verdict_agreement": float(np.mean(verdicts)),
        "clean_described_as_clean": float(np.mean(clean)) if clean else float("nan"),
    }  # fmt: skip


def judge_closed(talker: Writer, args: argparse.Namespace) -> dict[str, Any]:
    """Multiple choice by severity, false premises, refusals, yes and no."""
    marks: dict[str, list[bool]] = defaultdict(list)
    for question in closed(args.seed, args.closed):
        subject = replace(question.subject, features=None) if args.no_visual else question.subject
        good = right(question, "".join(talker.answer(subject, question.words)))
        marks[question.form].append(good)
        if question.form == "multiple choice":
            marks[f"multiple choice, {question.split}"].append(good)
    return {form: {"right": float(np.mean(good)), "count": len(good)} for form, good in marks.items()}


def judge_scope(talker: Writer, count: int, path: Path) -> dict[str, Any]:
    """Held-out questions that must be declined, and others that must not; of a conversation the last answer counts."""
    subjects = [case.subject for case in clinician.read()]
    marks: dict[str, list[bool]] = {"declined": [], "answered": []}
    asked = scope_questions.read(path)
    history: list[tuple[str, str]]
    for outside, form in ((True, "declined"), (False, "answered")):
        for number, (words, _) in enumerate([row for row in asked if row[1] == outside][:count]):
            subject, history, said = replace(subjects[number % len(subjects)]), [], ""
            for turn in words.split(scope_questions.FOLLOWS):
                said = "".join(talker.answer(subject, turn, history))
                history = [*history, (turn, said)]
            declined = any(word in said.lower() for word in scope_questions.DECLINED)
            marks[form].append(declined == outside)
    return {form: {"right": float(np.mean(good)), "count": len(good)} for form, good in marks.items() if good}


def judge_clinician(talker: Writer, args: argparse.Namespace) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The written questions, judged by their committed rules."""
    history: list[tuple[str, str]] = []
    marks, transcripts = [], []
    chosen = clinician.read()[: args.clinician]
    every = max(1, len(chosen) // TRANSCRIPTS)
    for number, question in enumerate(chosen):
        history = history if question.follows else []
        subject = replace(question.subject, features=None) if args.no_visual else question.subject
        answer = "".join(talker.answer(subject, question.words, history))
        history = [*history, (question.words, answer)]
        verdict = clinician.judge(question, answer)
        marks.append(verdict)
        if number % every == 0:
            image = lines.from_assessment(question.subject.assessment).text()
            transcripts.append({"image": image, "question": question.words, "answer": answer, "passed": verdict.passed,
                                "faults": list(verdict.faults)})  # fmt: skip
    numbers = {
        "count": len(marks), "passed": float(np.mean([m.passed for m in marks])) if marks else float("nan"),
        "on_topic": float(np.mean([m.on_topic for m in marks])) if marks else float("nan"),
        "consistent": float(np.mean([m.consistent for m in marks])) if marks else float("nan"),
    }  # fmt: skip
    return numbers, transcripts[:TRANSCRIPTS]


def speed(talker: Talker, subject: Subject) -> dict[str, float]:
    """Seconds to the first words of answers, tokens a second while writing, peak memory of this process."""
    subject = replace(subject)  # with nothing read yet
    began = time.perf_counter()
    first, text = float("nan"), ""
    for piece in talker.answer(subject, "Why does the image have this score?"):
        first = first if text else time.perf_counter() - began
        text += piece
    whole = time.perf_counter() - began
    began = time.perf_counter()
    next(talker.answer(subject, "What should I change at the scanner?"))
    second = time.perf_counter() - began
    began = time.perf_counter()
    described = "".join(talker.describe(subject))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(p.numel() * p.element_size() for p in talker.model.causal.parameters()) / 2**20
    return {
        "first_sentence_s": first, "answer_s": whole, "first_sentence_of_a_second_answer_s": second,
        "description_tokens_per_s": len(talker.model.ids(described)) / seconds, "peak_rss_mib": peak,
        "language_weights_mib": size, "load_average": os.getloadavg()[0],
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
