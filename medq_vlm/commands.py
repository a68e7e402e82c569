"""What each `medq` command does. Heavy parts are imported when a command needs them, and not before."""

from __future__ import annotations

import json
import os
import shutil
import sys
from argparse import Namespace
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from medq_vlm.console import BELOW, DONE, UNREADABLE, say, usage, writing
from medq_vlm.reading import Assessed, Reader, assessed, load_model

if TYPE_CHECKING:
    from medq_vlm.schema import Assessment

REPORTS = (".pdf", ".html", ".fhir.json", ".json", ".dcm")  # the first that a name ends with
DEMO_DEGRADATION, DEMO_SEVERITY, DEMO_SEED = "ct_motion", 3.0, 1


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
    from medq_vlm.io.files import refuse_existing, refuse_inputs

    out = Path(args.out)
    ending = report_ending(out)
    if not ending:
        raise usage(f"A report is written to {', '.join(REPORTS)}, and '{out}' ends with none of them.")
    if args.link_study and ending != ".fhir.json":
        raise usage(f"--link-study is for a report that ends with .fhir.json, and '{out}' does not.")
    refuse_inputs([out], [args.path])
    refuse_existing([out], args.force)
    reader = Reader([args.path])
    images = assessed(reader, args)
    first = list(islice(images, 2))  # the second one tells that there are several
    for number, one in enumerate(chain(first, images), 1):
        name, its_ending = out.name[: -len(ending)], out.name[-len(ending) :]
        path = out if len(first) == 1 else out.with_name(f"{name}-{number}{its_ending}")
        refuse_existing([path], args.force)
        write_report(one, path, args.link_study)
        print(path, flush=True)
        if path != out:
            say(f"{path.name} is of '{one.result.source['path']}'.")
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
    from medq_vlm.io.files import put, refuse_existing, refuse_inputs
    from medq_vlm.io.write import write
    from medq_vlm.schema import plain_path

    out, told = Path(args.out), Path(f"{args.out}.json")
    refuse_inputs([out, told], [args.path])
    refuse_existing([out, told], args.force)
    samples = io.load(args.path)
    if len(samples) > 1:
        raise usage(f"'{args.path}' holds {len(samples)} images or series; give one of them.")
    sample = replace(samples[0], modality=args.modality or samples[0].modality)
    if sample.modality is None:
        raise usage(f"'{args.path}' does not say its modality; add --modality.")
    degraded, record = degrade_sample(sample, args.kind, args.severity, args.seed)
    note = f"Simulated {args.kind}, severity {args.severity:g} of 4, seed {args.seed}, MedQ {__version__}"
    source = {"path": plain_path(sample.path), "sha256": sample.sha256}
    story = {"note": note, "source": source, "acquisition": sample.acquisition, "record": asdict(record)}
    with writing(out):
        write(degraded, out, note)
        put(told, json.dumps(story, indent=2).encode() + b"\n")
    print(out)
    return DONE


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
    for ending in (".pdf", ".html", ".json"):
        write_report(Assessed(model, encoded, result), out / f"report{ending}")
        print(f"wrote {out / f'report{ending}'}")
    from medq_vlm.degrade.sample import degrade_sample

    worse, _ = degrade_sample(sample, DEMO_DEGRADATION, DEMO_SEVERITY, DEMO_SEED)
    spoilt = model.encode(worse)
    second = model.assess_encoded(spoilt)
    for ending in (".pdf", ".html"):
        write_report(Assessed(model, spoilt, second), out / f"with-motion{ending}")
        print(f"wrote {out / f'with-motion{ending}'}")
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


def report_ending(path: Path) -> str:
    """One of REPORTS, "" for any other name."""
    return next((ending for ending in REPORTS if path.name.lower().endswith(ending)), "")


def write_report(one: Assessed, path: Path, link_study: bool = False) -> None:
    """A report in the format that the name of `path` ends with. Raises MedQError when it cannot be.

    link_study: a FHIR report names the DICOM study; a structured report belongs to it anyway, the others never do.
    """
    from medq_vlm import report
    from medq_vlm.illustrate import images
    from medq_vlm.io.files import put
    from medq_vlm.io.originals import Originals, referred

    def header() -> list[Any]:
        return referred(Originals(one.sample.path).of(one.sample))

    ending = report_ending(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if ending == ".json":
            put(path, (report.to_json(one.result) + "\n").encode("utf-8", "backslashreplace"))
        elif ending == ".fhir.json":
            from medq_vlm.report.fhir import to_fhir

            study = str(header()[0].StudyInstanceUID) if link_study else ""
            put(path, (to_fhir(one.result, study) + "\n").encode("utf-8", "backslashreplace"))
        elif ending == ".dcm":
            from medq_vlm.report.sr import to_sr

            put(path, to_sr(one.result, header()))
        elif ending == ".html":
            from medq_vlm.report.html import to_html

            put(path, to_html(one.result, images(one.model, one.sample, one.result)).encode())
        else:
            from medq_vlm.report.pdf import to_pdf

            with TemporaryDirectory() as folder:  # fpdf2 would leave half a file on a full disk
                made = Path(folder) / "report.pdf"
                to_pdf(one.result, images(one.model, one.sample, one.result), made)
                put(path, made.read_bytes())


def as_text(result: Assessment, colour: bool) -> str:
    """The result for a terminal of this width; colour only where it is wanted (https://no-color.org)."""
    from medq_vlm.report.text import to_text

    wanted = colour and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return to_text(result, wanted, shutil.get_terminal_size((100, 24)).columns)


def brief(result: Assessment) -> str:
    """Score and verdict in a few words."""
    from medq_vlm import vocab

    return result.reason if result.score is None else f"score {vocab.score_text(result.score)} of 4, {result.verdict}"
