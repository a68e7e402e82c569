"""What each `medq` command does. Heavy parts are imported when a command needs them, and not before."""

from __future__ import annotations

import json
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from medq_vlm.pipeline import EncodedImage, MedQ, Progress
    from medq_vlm.schema import Assessment, ImageSample

DONE, UNREADABLE, BELOW = 0, 3, 4
MANY_SLICES = 40  # from here on progress is shown in a log file too
REPORTS = (".pdf", ".html", ".json")
DEMO_DEGRADATION, DEMO_SEVERITY, DEMO_SEED = "ct_motion", 3.0, 1


class Assessed(NamedTuple):
    """One image, what the model says of it, and the model, which can be asked for more."""

    model: MedQ
    encoded: EncodedImage
    result: Assessment

    @property
    def sample(self) -> ImageSample:
        return self.encoded.sample


def assess(args: Namespace) -> int:
    """Assess every image behind the paths; text one by one, or JSON at the end."""
    from medq_vlm import report

    reader = Reader(args.paths)
    results: list[dict[str, Any]] = []
    below = []
    for _, _, result in assessed(reader, args):
        plain = result.to_dict()
        report.validate(plain)
        if args.fail_below is not None and (result.score is None or result.score < args.fail_below):
            below.append(result)
        if not args.json:
            print("\n" * bool(results) + as_text(result, not args.no_color), flush=True)
        results.append(plain)
    if args.json and (results or len(args.paths) > 1):
        one = len(args.paths) == 1 and len(results) == 1
        print(json.dumps(results[0] if one else results, indent=2, allow_nan=False))
    for result in below:
        words = "not assessable" if result.score is None else f"score {result.score:.2f}"
        say(f"{result.source['path']}: {words}, below {args.fail_below:g}.")
    if reader.failed:
        return UNREADABLE
    return BELOW if below else DONE


def report(args: Namespace) -> int:
    """Write the report of each image behind the path; several images give numbered files."""
    out = Path(args.out)
    if out.suffix.lower() not in REPORTS:
        raise usage(f"A report is written to {', '.join(REPORTS)}, and '{out}' ends with none of them.")
    reader = Reader([args.path])
    everything = list(assessed(reader, args))
    for number, one in enumerate(everything, start=1):
        path = out if len(everything) == 1 else out.with_stem(f"{out.stem}-{number}")
        write_report(one, path)
        print(path)
    return UNREADABLE if reader.failed else DONE


def degrade(args: Namespace) -> int:
    """Simulate a degradation on one image, write the image and the record of what was done."""
    if args.list:
        return list_kinds(args.modality)
    missing = [name for name in ("path", "kind", "severity", "out") if getattr(args, name) is None]
    if missing:
        raise usage(f"'medq degrade' also needs {', '.join(missing)}; 'medq degrade --help' shows how.")
    from medq_vlm import __version__, io
    from medq_vlm.degrade.sample import degrade_sample
    from medq_vlm.io.write import write

    samples = io.load(args.path)
    if len(samples) > 1:
        raise usage(f"'{args.path}' holds {len(samples)} images or series; give one of them.")
    sample = replace(samples[0], modality=args.modality or samples[0].modality)
    if sample.modality is None:
        raise usage(f"'{args.path}' does not say its modality; add --modality.")
    degraded, record = degrade_sample(sample, args.kind, args.severity, args.seed)
    note = f"Simulated {args.kind}, severity {args.severity:g} of 4, seed {args.seed}, MedQ {__version__}"
    source = {"path": sample.path, "sha256": sample.sha256}
    story = {"note": note, "source": source, "acquisition": sample.acquisition, "record": asdict(record)}
    out = Path(args.out)
    with writing(out):
        write(degraded, out, note)
        Path(f"{out}.json").write_text(json.dumps(story, indent=2) + "\n", encoding="utf-8")
    print(out)
    return DONE


def batch(args: Namespace) -> int:
    """Assess a folder into one table; an interrupted run goes on with --resume."""
    from tqdm import tqdm

    from medq_vlm import batch as table

    folder, out = Path(args.folder), Path(args.out)
    if not folder.is_dir():
        raise usage(f"'{folder}' is not a folder; 'medq assess' takes single files.")
    if out.suffix.lower() not in table.FORMATS:
        raise usage(f"A table is written to {', '.join(table.FORMATS)}, and '{out}' ends with none of them.")
    journal = table.journal_of(out)
    if (out.exists() or journal.exists()) and not args.resume:
        raise usage(f"'{out}' is there already, from an earlier or unfinished run; add --resume or give another name.")
    kept = table.kept_rows(out)
    done = {row["path"] for row in kept}
    work = [path for path in table.units(folder) if str(path) not in done]
    rows: list[dict[str, Any]] = []

    def assess_row(model: MedQ, sample: ImageSample) -> Assessment:
        return assess_one(model, sample, args).result

    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tqdm(total=len(work), unit="item", disable=None) as bar:
            seen = ""
            for row in table.run(lambda: load_model(args.preset), assess_row, work, journal):
                rows.append(row)
                bar.update(row["path"] != seen)
                seen = row["path"]
                if row["error"]:
                    say(row["error"])
        everything = [*kept, *rows]
        table.write(table.rank(everything) if args.rank_uncertain else everything, out)
        journal.unlink(missing_ok=True)
    failed = sum(row["error"] is not None for row in everything)
    counts = {word: sum(row["verdict"] == word for row in everything) for word in ("good", "usable", "reject")}
    words = ", ".join(f"{count} {word}" for word, count in counts.items())
    say(f"{out}: {len(everything)} rows, {words}, {failed} not read; {len(kept)} of them from before.")
    return UNREADABLE if any(row["error"] for row in rows) else DONE


def list_kinds(modality: str | None) -> int:
    """Print the degradation kinds with their plain names and modalities."""
    from medq_vlm import vocab

    for kind in vocab.KINDS:
        if modality is None or modality in kind.modalities:
            everywhere = kind.modalities == vocab.MODALITIES
            print(f"{kind.name:<20} {kind.plain} ({'any' if everywhere else ', '.join(kind.modalities)})")
    return DONE


def demo(args: Namespace) -> int:
    """Assess a real CT image, write its report, and show what simulated motion does to the score."""
    from medq_vlm import io, vocab
    from medq_vlm.io import examples

    model = load_model("nano", speaks=True)
    sample = io.load(examples.example(examples.CT_HEAD))[0]
    encoded = model.encode(sample)
    result = model.assess_encoded(encoded)
    result = replace(result, description="".join(model.describe(encoded, result)))
    print(as_text(result, colour=True), end="\n\n")
    out = Path(args.out)
    for ending in REPORTS:
        write_report(Assessed(model, encoded, result), out / f"report{ending}")
        print(f"wrote {out / f'report{ending}'}")
    from medq_vlm.degrade.sample import degrade_sample

    worse, _ = degrade_sample(sample, DEMO_DEGRADATION, DEMO_SEVERITY, DEMO_SEED)
    second = model.assess_sample(worse)
    named = ", ".join(vocab.KIND[finding.kind].plain for finding in second.findings) or "no finding"
    added = vocab.KIND[DEMO_DEGRADATION].plain
    print(f"\nThe image as it is:  {brief(result)}")
    print(f"With simulated {added}, severity {DEMO_SEVERITY:g} of 4:  {brief(second)}; named: {named}")
    program = Path(sys.executable).with_name("medq")
    shown = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    print(f"\nYour own image:  {shown} assess scan.dcm")
    print(f"Its report:      {shown} report scan.dcm -o report.pdf")
    return DONE


def chat(args: Namespace) -> int:
    """Become the reading room of the clone this package belongs to."""
    root = Path(__file__).resolve().parents[1]
    if not (root / "app" / "__main__.py").is_file():
        raise usage("The reading room runs from the clone of the project: make chat.")
    logins = [word for one in args.auth or () for word in ("--auth", one)]
    words = ["--host", args.host, "--port", str(args.port), "--preset", args.preset, "--precision", args.precision]
    path = os.pathsep.join([str(root), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).rstrip(os.pathsep)
    # not a child process: a signal to a parent that waits would leave the server running
    os.execve(sys.executable, [sys.executable, "-m", "app", *words, *logins], {**os.environ, "PYTHONPATH": path})


def selftest(args: Namespace) -> int:
    """Check the weights and the golden scores. Raises ModelError (exit code 5) when one differs."""
    from medq_vlm.schema import ModelError
    from medq_vlm.selftest import TOLERANCE, run

    checks = run()
    print("weights: sha256 as shipped")
    for check in checks:
        found, expected = ("none" if value is None else f"{value:.4f}" for value in (check.found, check.expected))
        print(f"{check.name}: {found}, expected {expected}: {'ok' if check.passed else 'DIFFERENT'}")
    if not all(check.passed for check in checks):
        raise ModelError(f"A score differs by more than {TOLERANCE} from the shipped one; install MedQ again.")
    return DONE


def info(args: Namespace) -> int:
    """Versions, models and word lists, without loading any of them."""
    from medq_vlm.about import about

    facts = about()
    if args.json:
        print(json.dumps(facts, indent=2))
        return DONE
    print(f"medq {facts['version']}, Python {facts['python']}, {facts['platform']}")
    for name, version in facts["libraries"].items():
        print(f"  {name:<18} {version or 'not installed'}")
    for name, model in facts["models"].items():
        print(f"model {name}: {model['file']}, sha256 {model['sha256'][:16]}..., {model['folder']}")
        print("  " + ", ".join(f"{part} {size / 1e6:.1f} MB" for part, size in model["parts"].items()))
    base = facts["base_language_model"]
    print(f"base language model {base['name']}: {base['version'] or 'not installed, run medq download'}")
    print(f"modalities: {', '.join(facts['modalities'])}")
    print(f"degradation kinds: {len(facts['kinds'])} (medq degrade --list)")
    return DONE


def download(args: Namespace) -> int:
    """Fetch the base language model's file when it is missing, check it, and say where it is."""
    from medq_vlm.language.base import SMOLLM2, fetch

    path = fetch(SMOLLM2, Path(args.to) if args.to else None)
    print(f"{path}\n{SMOLLM2.size_bytes:,} bytes, sha256 {SMOLLM2.sha256}")
    return DONE


class Reader:
    """The images behind paths; what cannot be read is named on stderr and counted, and the rest goes on."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self.failed = 0

    def __iter__(self) -> Iterator[ImageSample]:
        from medq_vlm import io
        from medq_vlm.schema import IngestError

        for _, outcome in io.load_many(self.paths):
            if isinstance(outcome, IngestError):
                say(str(outcome))
                self.failed += 1
            else:
                yield from outcome


def assessed(samples: Reader, args: Namespace) -> Iterator[Assessed]:
    """Assess images as they come, with what the user said of them."""
    from medq_vlm import io  # noqa: F401  before the thread below starts: two threads must not import one module

    if not any(Path(path).exists() for path in samples.paths):
        for _ in samples:  # names each path that is not there; no model is needed for that
            pass
        return
    with ThreadPoolExecutor(1) as pool:
        # importing torch takes as long as the reader's process
        loading = pool.submit(load_model, args.preset, not args.no_text, getattr(args, "restores", False))
        for sample in samples:
            yield assess_one(loading.result(), sample, args)


def load_model(preset: str, speaks: bool = False, restores: bool = False) -> MedQ:
    """The model, its language part too when it `speaks`, its restorer when it `restores`; importing is the slow part.

    Raises ModelError.
    """
    from medq_vlm import memory

    with memory.unsearched():
        from medq_vlm.pipeline import MedQ

        model = MedQ.load(preset)
        if speaks:
            _ = model.talker  # loaded now, so that a missing part is said before any image is read
        if restores:
            _ = model.restorer
    return model


def assess_one(model: MedQ, sample: ImageSample, args: Namespace) -> Assessed:
    """Assess one image; what the user says of it counts more than its header."""
    sample = replace(sample, modality=args.modality or sample.modality, anatomy=args.anatomy or sample.anatomy)
    if args.acquisition is not None:
        sample = replace(sample, acquisition=args.acquisition)
    with progress_bar(sample) as progress:
        encoded = model.encode(sample, progress)
    result = model.assess_encoded(encoded, getattr(args, "prompt", ()))
    if args.modality:
        result = replace(result, modality=replace(result.modality, from_="user"))
    if args.anatomy:
        result = replace(result, anatomy=replace(result.anatomy, from_="user"))
    text = "" if args.no_text else "".join(model.describe(encoded, result))
    return Assessed(model, encoded, replace(result, description=text))


def write_report(one: Assessed, path: Path) -> None:
    """PDF, HTML or JSON by the ending of `path`. Raises MedQError when it cannot be written."""
    from medq_vlm import report
    from medq_vlm.illustrate import images

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".json":
            path.write_text(report.to_json(one.result) + "\n", encoding="utf-8")
        elif path.suffix.lower() == ".html":
            from medq_vlm.report.html import to_html

            path.write_text(to_html(one.result, images(one.model, one.sample, one.result)), encoding="utf-8")
        else:
            from medq_vlm.report.pdf import to_pdf

            to_pdf(one.result, images(one.model, one.sample, one.result), path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write to `path` into one sentence."""
    try:
        yield
    except OSError as error:
        raise usage(
            f"'{path}' cannot be written ({error.strerror or 'unknown reason'}); choose another place."
        ) from None


@contextmanager
def progress_bar(sample: ImageSample) -> Iterator[Progress | None]:
    """A bar on stderr over the slices of a volume: on a terminal always, elsewhere for many slices."""
    terminal = sys.stderr.isatty()
    if sample.slices == 1 or not (terminal or sample.slices >= MANY_SLICES):
        yield None
        return
    from tqdm import tqdm

    every_s = 0.1 if terminal else 10.0  # a log file is no place for an animation
    with tqdm(total=sample.slices, unit="slice", leave=False, file=sys.stderr, mininterval=every_s) as bar:

        def advance(done: int, total: int) -> None:
            bar.update(done - bar.n)

        yield advance


def as_text(result: Assessment, colour: bool) -> str:
    """The result for a terminal of this width; colour only where it is wanted (https://no-color.org)."""
    from medq_vlm.report.text import to_text

    wanted = colour and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return to_text(result, wanted, shutil.get_terminal_size((100, 24)).columns)


def brief(result: Assessment) -> str:
    """Score and verdict in a few words."""
    from medq_vlm import vocab

    return result.reason if result.score is None else f"score {vocab.score_text(result.score)} of 4, {result.verdict}"


def say(sentence: str) -> None:
    """One line on stderr, with control characters (a hostile file name) made visible."""
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in sentence)
    print(f"medq: {shown}", file=sys.stderr)


def usage(sentence: str) -> Exception:
    """A MedQError (exit code 2) to raise; its module loads numpy, so it is fetched only when it is needed."""
    from medq_vlm.schema import MedQError

    return MedQError(sentence)
